"""ONNX Runtime: on NVIDIA GPUs through CUDA, and on every CPU."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np

from livertumor_cli.arrays import FloatArray
from livertumor_cli.engine.cuda import CUDA_PROVIDER, find_gpu
from livertumor_cli.engine.engine import (
    AxisSizes,
    Device,
    EngineInfo,
    EngineKind,
    EngineRequest,
    Precision,
)
from livertumor_cli.engine.faults import check_batch, check_ports, opening_fault, running_fault
from livertumor_cli.engine.hardware import cpu_name, physical_cores
from livertumor_cli.errors import BackendError

_CPU_PROVIDER = "CPUExecutionProvider"

_SILENT = 4
"""Only fatal messages: below this ONNX Runtime writes banners, some of them on stdout."""


class OnnxRuntimeEngine:
    """One ONNX file in one session."""

    def __init__(self, request: EngineRequest) -> None:
        """Open the file on the CPU or on CUDA, as `request.device` says; AUTO must be resolved.

        Raises:
            BackendError: If ONNX Runtime is missing, CUDA was asked and the session landed on the
                CPU, or memory ran out.
            ModelContractError: If the file is no model with one float32 input and output.
        """
        self._runtime = _import_onnxruntime()
        self._file = request.file
        self._device = request.device
        self._threads = request.threads or physical_cores()
        self._session = self._open_session(request)
        self._check_provider()
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        check_ports(
            self._file,
            inputs=[_type_name(port.type) for port in inputs],
            outputs=[_type_name(port.type) for port in outputs],
        )
        self._input, self._output = inputs[0], outputs[0]
        self._info = self._describe(request.precision)
        self._device_input: Any = None

    @property
    def info(self) -> EngineInfo:
        """What was obtained."""
        return self._info

    @property
    def input_shape(self) -> AxisSizes:
        """Sizes of the input's axes; None where open."""
        return _sizes(self._input.shape)

    @property
    def output_shape(self) -> AxisSizes:
        """Sizes of the output's axes; None where open."""
        return _sizes(self._output.shape)

    def run(self, batch: FloatArray) -> FloatArray:
        """Run the model once; see `Engine.run`."""
        check_batch(self._file, batch.shape, self.input_shape)
        batch = np.ascontiguousarray(batch, dtype=np.float32)
        try:
            if self._device is Device.CUDA:
                return self._run_bound(batch)
            result: FloatArray = self._session.run([self._output.name], {self._input.name: batch})[
                0
            ]
            return result
        except _failures(self._runtime) as error:
            raise running_fault(
                self._file, error, shape=batch.shape, device=self._device
            ) from error

    def run_many(self, batches: Iterable[FloatArray]) -> Iterator[FloatArray]:
        """Run the model over batches one after the other."""
        return map(self.run, batches)

    def free_buffers(self) -> None:
        """Let the input's buffer on the device go; a session keeps its own until it is closed."""
        self._device_input = None

    def _run_bound(self, batch: FloatArray) -> FloatArray:
        # The buffer on the device is kept as long as the shape stays, which saves an allocation
        # per window.
        place = str(self._device)
        if self._device_input is None or tuple(self._device_input.shape()) != batch.shape:
            self._device_input = self._runtime.OrtValue.ortvalue_from_numpy(batch, place, 0)
        else:
            self._device_input.update_inplace(batch)
        binding = self._session.io_binding()
        binding.bind_ortvalue_input(self._input.name, self._device_input)
        binding.bind_output(self._output.name, "cpu")
        self._session.run_with_iobinding(binding)
        result: FloatArray = binding.copy_outputs_to_cpu()[0]
        return result

    def _open_session(self, request: EngineRequest) -> Any:
        options = self._runtime.SessionOptions()
        options.log_severity_level = _SILENT
        options.intra_op_num_threads = self._threads
        # Between two windows the caller needs the cores; measured, waiting threads that do not
        # spin cost nothing.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            return self._runtime.InferenceSession(
                str(self._file),
                options,
                providers=_providers(request),
                # The fallback of the Python layer prints on stdout.
                enable_fallback=0,
            )
        except _failures(self._runtime) as error:
            raise opening_fault(self._file, error) from error

    def _check_provider(self) -> None:
        obtained = self._session.get_providers()[0]
        if self._device is Device.CUDA and obtained != CUDA_PROVIDER:
            raise BackendError(
                f"CUDA was asked for, and ONNX Runtime opened {self._file.name} on {obtained}.",
                hint="Run 'livertumor doctor' to see what is missing, or use --device cpu.",
            )

    def _describe(self, asked: Precision) -> EngineInfo:
        gpu = find_gpu() if self._device is Device.CUDA else None
        uses_tf32 = gpu is not None and gpu.has_tf32 and asked is Precision.FP16
        return EngineInfo(
            device=self._device,
            kind=EngineKind.ONNXRUNTIME,
            version=self._runtime.__version__,
            precision=Precision.TF32 if uses_tf32 else Precision.F32,
            device_name=cpu_name() if gpu is None else gpu.name,
            threads=self._threads,
        )


@cache
def _import_onnxruntime() -> ModuleType:
    try:
        import onnxruntime
    except ImportError as error:
        raise BackendError(
            f"ONNX Runtime cannot be used: {error}.", hint="Install livertumor again."
        ) from error
    if not hasattr(onnxruntime, "InferenceSession"):
        # What is left when one of the two packages that share this folder was removed.
        raise BackendError(
            "the installation of ONNX Runtime is damaged.",
            hint="pip uninstall onnxruntime onnxruntime-gpu, then install livertumor again.",
        )
    onnxruntime.set_default_logger_severity(_SILENT)
    onnxruntime.disable_telemetry_events()  # the Windows build would send events
    module: ModuleType = onnxruntime
    return module


def _providers(request: EngineRequest) -> list[Any]:
    if request.device is not Device.CUDA:
        return [_CPU_PROVIDER]
    options = {
        # Trying all algorithms of each layer does not pay back within the windows of one case,
        # and may choose another one, with other last digits, on the next run.
        "cudnn_conv_algo_search": "HEURISTIC",
        "arena_extend_strategy": "kSameAsRequested",
        # A file in float32 cannot run in fp16. TF32 has the same mantissa and more range, so a
        # recipe that allows fp16 allows it; all others get true float32.
        "use_tf32": "1" if request.precision is Precision.FP16 else "0",
    }
    return [(CUDA_PROVIDER, options), _CPU_PROVIDER]


@cache
def _failures(runtime: ModuleType) -> tuple[type[Exception], ...]:
    state = runtime.capi.onnxruntime_pybind11_state
    kinds = [kind for kind in vars(state).values() if isinstance(kind, type)]
    own = [kind for kind in kinds if issubclass(kind, Exception)]
    return (*own, RuntimeError, ValueError)


def _type_name(onnx_type: str) -> str:
    name = onnx_type.removeprefix("tensor(").removesuffix(")")
    return "float32" if name == "float" else name


def _sizes(shape: list[int | str | None]) -> AxisSizes:
    return tuple(size if isinstance(size, int) else None for size in shape)
