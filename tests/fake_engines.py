"""Engines made of a function, for tests that need no network."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from livertumor_cli.engine.engine import AxisSizes, Device, EngineInfo, EngineKind, Precision


class FunctionEngine:
    """Runs `function` on each batch (1, 1, ...) and remembers how many there were."""

    def __init__(self, function: Callable[[np.ndarray], np.ndarray]) -> None:
        self.function = function
        self.runs = 0
        self.shapes: set[tuple[int, ...]] = set()

    info = EngineInfo(
        device=Device.CPU,
        kind=EngineKind.ONNXRUNTIME,
        version="0",
        precision=Precision.F32,
        device_name="none",
        threads=1,
    )
    input_shape: AxisSizes = ()
    output_shape: AxisSizes = ()

    def run(self, batch: np.ndarray) -> np.ndarray:
        self.runs += 1
        self.shapes.add(batch.shape)
        return self.function(batch)

    def run_many(self, batches: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        return map(self.run, batches)

    def free_buffers(self) -> None:
        """A function holds none."""


def logits_of_image() -> FunctionEngine:
    """Two classes; the probability of the second is the input, which lies between 0 and 1."""

    def logits(batch: np.ndarray) -> np.ndarray:
        share = np.clip(batch.astype(np.float64), 1e-6, 1 - 1e-6)
        return np.concatenate([np.zeros_like(share), np.log(share / (1 - share))], axis=1).astype(
            np.float32
        )

    return FunctionEngine(logits)


def constant_logits(*values: float) -> FunctionEngine:
    """The same logits in every voxel."""

    def logits(batch: np.ndarray) -> np.ndarray:
        column = np.array(values, dtype=np.float32).reshape(1, -1, *[1] * (batch.ndim - 2))
        return np.broadcast_to(column, (1, len(values), *batch.shape[2:])).copy()

    return FunctionEngine(logits)
