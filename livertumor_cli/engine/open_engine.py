"""Open a model on the best engine that this machine truly has."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import cache

from livertumor_cli.engine.contract import ModelContract, check_contract
from livertumor_cli.engine.create_engine import create_engine
from livertumor_cli.engine.cuda import find_gpu
from livertumor_cli.engine.engine import (
    Device,
    Engine,
    EngineInfo,
    EngineKind,
    EngineRequest,
    Precision,
)
from livertumor_cli.engine.gpu_memory import GpuMemoryEngine
from livertumor_cli.engine.openvino_engine import is_openvino_installed
from livertumor_cli.engine.probe import Probe, probe
from livertumor_cli.errors import BackendError, ConfigError, ModelNotFoundError

_log = logging.getLogger(__name__)


def open_engine(request: EngineRequest, *, contract: ModelContract | None = None) -> Engine:
    """Open a model.

    AUTO is CUDA where a model runs there, else OpenVINO on x86-64 CPUs, else ONNX Runtime.

    Args:
        request: What is asked for. Its file's SHA-256 must have been checked.
        contract: What the model's shapes must be; not checked when None.

    Returns:
        The engine; its `info` tells what was obtained.

    Raises:
        BackendError: If the device, engine or required precision cannot be had, or memory ran out.
        ConfigError: If engine and device exclude each other, or the thread count is below 1.
        ModelNotFoundError: If the file is missing.
        ModelContractError: If it is no model, or its shapes are not those of the contract.
    """
    if request.threads is not None and request.threads < 1:
        raise ConfigError(f"the number of threads must be 1 or more, not {request.threads}.")
    if not request.file.is_file():
        raise ModelNotFoundError(f"the model {request.file} does not exist.")
    device = resolve_device(request.device, kind=request.kind)
    kind = _resolve_kind(request.kind, device)
    resolved = replace(request, device=device, kind=kind)
    if device is Device.CUDA:
        on_cpu = _resolve_kind(request.kind, Device.CPU)
        engine: Engine = GpuMemoryEngine(steps_down(resolved, on_cpu=on_cpu), create=create_engine)
    else:
        engine = create_engine(resolved)
    if request.requires_precision:
        _check_precision(request.precision, engine.info)
    if contract is not None:
        check_contract(
            request.file,
            contract,
            input_shape=engine.input_shape,
            output_shape=engine.output_shape,
        )
    return engine


def steps_down(request: EngineRequest, *, on_cpu: EngineKind) -> tuple[EngineRequest, ...]:
    """Ways to open a network on a GPU, each for when the memory of the one before runs out.

    Args:
        request: On CUDA.
        on_cpu: What runs it on the CPU.
    """
    on_gpu = (request, request)
    if not request.goes_on_cpu or request.requires_precision:
        return on_gpu
    return (*on_gpu, replace(request, device=Device.CPU, kind=on_cpu))


def resolve_device(device: Device, *, kind: EngineKind = EngineKind.AUTO) -> Device:
    """CPU or CUDA: what `device` comes to, so that the precision can be chosen before opening.

    Args:
        device: What the user asks for.
        kind: The engine that the user asks for.

    Raises:
        BackendError: If CUDA is asked for and cannot be used.
        ConfigError: If the engine does not run on the device.
    """
    if kind is EngineKind.OPENVINO:
        if device is Device.CUDA:
            raise ConfigError(
                "OpenVINO runs on the CPU only, and the device is 'cuda'.",
                hint="Use --engine onnxruntime with --device cuda.",
            )
        return Device.CPU
    if device is Device.CUDA:
        result = _probe_cuda()
        if not result.works:
            raise BackendError(
                f"CUDA cannot be used: {result.fault}.",
                hint=f"{result.cure}; or use --device cpu.",
            )
        return Device.CUDA
    if device is Device.CPU or find_gpu() is None:
        return Device.CPU
    return Device.CUDA if _has_working_cuda() else Device.CPU


def _resolve_kind(kind: EngineKind, device: Device) -> EngineKind:
    if kind is not EngineKind.AUTO:
        return kind
    if device is Device.CPU and is_openvino_installed():
        return EngineKind.OPENVINO
    return EngineKind.ONNXRUNTIME


def _check_precision(asked: Precision, obtained: EngineInfo) -> None:
    # TF32 is what fp16 comes to on NVIDIA GPUs: a file in float32 has the same mantissa there.
    accepted = (asked, Precision.TF32) if asked is Precision.FP16 else (asked,)
    if obtained.precision not in accepted:
        raise BackendError(
            f"{asked} was asked for, and {obtained.engine} computes in {obtained.precision} on "
            f"this {'GPU' if obtained.device is Device.CUDA else 'CPU'}.",
            hint="Use --precision auto, or 'livertumor doctor' to see what each engine has here.",
        )


@cache
def _probe_cuda() -> Probe:
    return probe(EngineKind.ONNXRUNTIME, Device.CUDA)


@cache
def _has_working_cuda() -> bool:
    # Cached, so that a GPU that cannot be used is mentioned once.
    result = _probe_cuda()
    if not result.works:
        _log.warning(
            "An NVIDIA GPU is present and cannot be used (%s); running on the CPU. To use it: %s.",
            result.fault,
            result.cure,
        )
    return result.works
