"""What an engine can really do here: run a tiny model on it and compare every number.

`probe.onnx` is one 3 x 3 x 3 convolution with the weights 0..26 and a ReLU on a 5 x 5 x 5 grid;
`tests/test_engine.py` builds it again and compares. One voxel of 1 in its middle gives the weights
back in reverse, exactly in every precision.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from livertumor_cli.arrays import FloatArray
from livertumor_cli.engine.create_engine import create_engine
from livertumor_cli.engine.cuda import EXTRA_HINT, find_lacks
from livertumor_cli.engine.engine import (
    Device,
    EngineInfo,
    EngineKind,
    EngineRequest,
    Precision,
)
from livertumor_cli.errors import LiverTumorError

PROBE_FILE = Path(__file__).with_name("probe.onnx")

_SIZE = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """How one engine did on one device.

    Attributes:
        kind: The engine.
        device: The device asked for.
        info: What was obtained; None where the engine did not open.
        fault: Why it cannot be used; empty where it works.
        cure: What the user can do about it.
    """

    kind: EngineKind
    device: Device
    info: EngineInfo | None = None
    fault: str = ""
    cure: str = ""

    @property
    def works(self) -> bool:
        """Whether the engine gave the right numbers."""
        return not self.fault


def probe(kind: EngineKind, device: Device, *, precision: Precision = Precision.F32) -> Probe:
    """Run the tiny model on one engine.

    Args:
        kind: ONNXRUNTIME or OPENVINO.
        device: CPU or CUDA.
        precision: The lowest precision that is allowed.
    """
    if device is Device.CUDA:
        lacks = find_lacks()
        if lacks:
            fault = "; ".join(lack.what for lack in lacks)
            cure = "; ".join(dict.fromkeys(lack.cure for lack in lacks))
            return Probe(kind=kind, device=device, fault=fault, cure=cure)
    request = EngineRequest(file=PROBE_FILE, device=device, kind=kind, precision=precision)
    try:
        engine = create_engine(request)
        result = engine.run(_impulse())
    except LiverTumorError as error:
        return Probe(kind=kind, device=device, fault=error.message.rstrip("."), cure=error.hint)
    if not np.array_equal(result, _expected()):
        return Probe(
            kind=kind,
            device=device,
            info=engine.info,
            fault="it computes wrong numbers",
            cure=EXTRA_HINT if device is Device.CUDA else "install livertumor again",
        )
    return Probe(kind=kind, device=device, info=engine.info)


def _impulse() -> FloatArray:
    batch = np.zeros((1, 1, _SIZE, _SIZE, _SIZE), dtype=np.float32)
    batch[..., _SIZE // 2, _SIZE // 2, _SIZE // 2] = 1
    return batch


def _expected() -> FloatArray:
    result = np.zeros((1, 1, _SIZE, _SIZE, _SIZE), dtype=np.float32)
    result[0, 0, 1:-1, 1:-1, 1:-1] = np.arange(27, dtype=np.float32)[::-1].reshape(3, 3, 3)
    return result
