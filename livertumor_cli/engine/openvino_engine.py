"""OpenVINO: the fastest engine on x86-64 CPUs."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.util import find_spec
from types import ModuleType
from typing import Any, cast

import numpy as np

from livertumor_cli.arrays import FloatArray
from livertumor_cli.engine.engine import (
    AxisSizes,
    Device,
    EngineInfo,
    EngineKind,
    EngineRequest,
    Precision,
)
from livertumor_cli.engine.faults import check_batch, check_ports, opening_fault, running_fault
from livertumor_cli.errors import BackendError

_X86_64 = ("x86_64", "AMD64")

_CONVERTER = "openvino.tools.ovc"
"""OpenVINO's model converter, which imports a telemetry client."""

_PRECISIONS = {"f32": Precision.F32, "bf16": Precision.BF16, "f16": Precision.FP16}
"""By the names of OpenVINO's element types."""


def is_openvino_installed() -> bool:
    """Whether OpenVINO is there and at home on this processor; does not import it."""
    return platform.machine() in _X86_64 and find_spec("openvino") is not None


@cache
def has_bf16() -> bool:
    """Whether OpenVINO finds bfloat16 instructions on this CPU.

    Raises:
        BackendError: If OpenVINO is missing.
    """
    capabilities = _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return "BF16" in capabilities


class OpenVinoEngine:
    """One ONNX file compiled for the CPU."""

    def __init__(self, request: EngineRequest) -> None:
        """Compile the file.

        Raises:
            BackendError: If OpenVINO is missing or memory runs out.
            ModelContractError: If the file is no model with one float32 input and output.
        """
        self._file = request.file
        core = _core()
        try:
            model = core.read_model(str(request.file))
            compiled = core.compile_model(model, "CPU", _properties(request))
        except RuntimeError as error:
            raise opening_fault(request.file, error) from error
        check_ports(
            request.file,
            inputs=[_type_name(port) for port in compiled.inputs],
            outputs=[_type_name(port) for port in compiled.outputs],
        )
        self._compiled = compiled
        self._request = compiled.create_infer_request()
        self._input_shape = _sizes(compiled.inputs[0].get_partial_shape())
        self._output_shape = _sizes(compiled.outputs[0].get_partial_shape())
        self._info = _describe(core, compiled)

    @property
    def info(self) -> EngineInfo:
        """What was obtained."""
        return self._info

    @property
    def input_shape(self) -> AxisSizes:
        """Sizes of the input's axes; None where open."""
        return self._input_shape

    @property
    def output_shape(self) -> AxisSizes:
        """Sizes of the output's axes; None where open."""
        return self._output_shape

    def run(self, batch: FloatArray) -> FloatArray:
        """Run the model once; see `Engine.run`."""
        self._start(batch)
        return self._finish(batch)

    def run_many(self, batches: Iterable[FloatArray]) -> Iterator[FloatArray]:
        """Run the model over batches; each runs while the caller has the result before it."""
        running: FloatArray | None = None
        try:
            for batch in batches:
                finished = None if running is None else self._finish(running)
                running = None
                self._start(batch)
                running = batch
                if finished is not None:
                    yield finished
            if running is not None:
                last, running = running, None
                yield self._finish(last)
        finally:
            # A caller that stops early must not leave a run behind in the one request.
            if running is not None:
                self._request.wait()

    def free_buffers(self) -> None:
        """Give back what a run needs; see `Engine.free_buffers`."""
        self._compiled.release_memory()

    def _start(self, batch: FloatArray) -> None:
        check_batch(self._file, batch.shape, self._input_shape)
        self._request.start_async({0: np.ascontiguousarray(batch, dtype=np.float32)})

    def _finish(self, batch: FloatArray) -> FloatArray:
        try:
            self._request.wait()
        except RuntimeError as error:
            raise running_fault(self._file, error, shape=batch.shape, device=Device.CPU) from error
        # A copy: the next run writes into the same memory.
        return np.array(self._request.get_output_tensor(0).data, dtype=np.float32)


@cache
def _core() -> Any:
    return _import_openvino().Core()


def _import_openvino() -> ModuleType:
    # `import openvino` tries to import its converter and goes on without it where that fails.
    # None in sys.modules makes that one import fail: no telemetry client is loaded, and the import
    # takes half the time.
    blocks_converter = "openvino" not in sys.modules and _CONVERTER not in sys.modules
    if blocks_converter:
        sys.modules[_CONVERTER] = cast("ModuleType", None)
    try:
        import openvino
    except ImportError as error:
        raise BackendError(
            f"OpenVINO cannot be used: {error}.",
            hint="pip install openvino, or use --engine onnxruntime.",
        ) from error
    finally:
        if blocks_converter:
            del sys.modules[_CONVERTER]
    module: ModuleType = openvino
    return module


def _properties(request: EngineRequest) -> dict[str, str | int | bool]:
    asks_bf16 = request.precision is Precision.BF16
    properties: dict[str, str | int | bool] = {
        "PERFORMANCE_HINT": "LATENCY",
        # Without this OpenVINO chooses bfloat16 by itself where the CPU has it. Where the CPU has
        # not, it would imitate it slowly, so it is asked first.
        "INFERENCE_PRECISION_HINT": "bf16" if asks_bf16 and has_bf16() else "f32",
        # Pinned threads of two processes would share some cores and leave others idle; measured,
        # pinning gains nothing.
        "ENABLE_CPU_PINNING": False,
    }
    if request.threads is not None:
        properties["INFERENCE_NUM_THREADS"] = request.threads
    return properties


def _describe(core: Any, compiled: Any) -> EngineInfo:
    precision = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
    return EngineInfo(
        device=Device.CPU,
        kind=EngineKind.OPENVINO,
        version=_import_openvino().__version__.split("-")[0],
        precision=_PRECISIONS[precision],
        device_name=core.get_property("CPU", "FULL_DEVICE_NAME"),
        threads=int(compiled.get_property("INFERENCE_NUM_THREADS")),
    )


def _type_name(port: Any) -> str:
    name: str = port.get_element_type().get_type_name()
    return "float32" if name == "f32" else name


def _sizes(shape: Any) -> AxisSizes:
    return tuple(None if axis.is_dynamic else axis.get_length() for axis in shape)
