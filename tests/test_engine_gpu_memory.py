"""A GPU whose memory runs out: once more there, then on the CPU, and never in silence."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fake_engines import FunctionEngine

from livertumor_cli.engine.engine import Device, Engine, EngineKind, EngineRequest, Precision
from livertumor_cli.engine.faults import opening_fault, running_fault
from livertumor_cli.engine.gpu_memory import GpuMemoryEngine
from livertumor_cli.engine.open_engine import steps_down
from livertumor_cli.errors import BackendError, DeviceMemoryError, ModelContractError

BATCH = np.arange(4, dtype=np.float32).reshape(1, 1, 1, 2, 2)
GPU = EngineRequest(file=Path("network.onnx"), device=Device.CUDA)


class RuntimeOutOfMemory(Exception):
    """What the program below says; its traceback holds the session."""


class FullEngine(FunctionEngine):
    """As `OnnxRuntimeEngine` fails: the runtime's own error is the cause."""

    def run(self, batch: np.ndarray) -> np.ndarray:
        try:
            raise RuntimeOutOfMemory
        except RuntimeOutOfMemory as error:
            raise DeviceMemoryError("memory ran out while running network.onnx.") from error


def full(batch: np.ndarray) -> np.ndarray:
    raise AssertionError("a full engine fails before")


def doubled(batch: np.ndarray) -> np.ndarray:
    return 2 * batch


class Machine:
    """Opens engines as its GPU and its CPU behave, and remembers what it was asked for."""

    def __init__(self, *on_gpu: Callable[[np.ndarray], np.ndarray] | Exception) -> None:
        self.on_gpu = list(on_gpu)
        self.asked: list[Device] = []
        self.opened: list[weakref.ref[Engine]] = []
        self.alive_at_opening: list[int] = []

    def create(self, request: EngineRequest) -> Engine:
        self.asked.append(request.device)
        self.alive_at_opening.append(sum(engine() is not None for engine in self.opened))
        behavior = doubled if request.device is Device.CPU else self.on_gpu.pop(0)
        if isinstance(behavior, Exception):
            raise behavior
        engine = (FullEngine if behavior is full else FunctionEngine)(behavior)
        engine.info = replace(engine.info, device=request.device, device_name=f"a {request.device}")
        self.opened.append(weakref.ref(engine))
        return engine


def opened(machine: Machine, request: EngineRequest) -> GpuMemoryEngine:
    steps = steps_down(request, on_cpu=EngineKind.ONNXRUNTIME)
    return GpuMemoryEngine(steps, create=machine.create)


def test_a_gpu_with_room_is_opened_once_and_has_no_note() -> None:
    machine = Machine(doubled)
    engine = opened(machine, replace(GPU, goes_on_cpu=True))
    np.testing.assert_array_equal(engine.run(BATCH), 2 * BATCH)
    assert machine.asked == [Device.CUDA]
    assert engine.info.note == ""


def test_a_new_session_on_the_gpu_is_tried_before_the_cpu(caplog: pytest.LogCaptureFixture) -> None:
    machine = Machine(full, doubled)
    engine = opened(machine, replace(GPU, goes_on_cpu=True))
    with caplog.at_level(logging.WARNING):
        np.testing.assert_array_equal(engine.run(BATCH), 2 * BATCH)
    assert machine.asked == [Device.CUDA, Device.CUDA]
    assert engine.info.device is Device.CUDA
    assert engine.info.note == ""
    assert caplog.messages == ["The memory of a cuda ran out; trying once more."]


def test_the_cpu_goes_on_with_the_same_window_and_the_note_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    machine = Machine(full, full)
    engine = opened(machine, replace(GPU, goes_on_cpu=True))
    with caplog.at_level(logging.WARNING):
        results = list(engine.run_many([BATCH, BATCH + 1]))
    np.testing.assert_array_equal(results, [2 * BATCH, 2 * (BATCH + 1)])
    assert machine.asked == [Device.CUDA, Device.CUDA, Device.CPU]
    assert engine.info.device is Device.CPU
    assert engine.info.note == "The memory of a cuda ran out: a network went on on the CPU."
    assert engine.info.note in caplog.messages
    # The memory of a session is free before the next one asks for some.
    assert machine.alive_at_opening == [0, 0, 0]


def test_memory_that_runs_out_at_the_opening() -> None:
    fault = DeviceMemoryError("memory ran out while opening network.onnx.")
    machine = Machine(fault, fault)
    engine = opened(machine, replace(GPU, goes_on_cpu=True))
    np.testing.assert_array_equal(engine.run(BATCH), 2 * BATCH)
    assert engine.info.device is Device.CPU
    assert engine.info.note == "The memory of the GPU ran out: a network went on on the CPU."


@pytest.mark.parametrize(
    "request_",
    [
        GPU,
        replace(GPU, goes_on_cpu=True, precision=Precision.FP16, requires_precision=True),
    ],
    ids=["the user insists on the gpu", "the user insists on its precision"],
)
def test_what_the_user_insists_on_is_an_error_where_it_cannot_be(request_: EngineRequest) -> None:
    machine = Machine(full, full)
    engine = opened(machine, request_)
    with pytest.raises(BackendError, match="memory ran out"):
        engine.run(BATCH)
    assert machine.asked == [Device.CUDA, Device.CUDA]


def test_other_faults_are_not_tried_again() -> None:
    def broken(batch: np.ndarray) -> np.ndarray:
        raise ModelContractError("the shape is wrong.")

    machine = Machine(broken)
    engine = opened(machine, replace(GPU, goes_on_cpu=True))
    with pytest.raises(ModelContractError):
        engine.run(BATCH)
    assert machine.asked == [Device.CUDA]


def test_a_shortage_that_passes_does_not_end_a_batch() -> None:
    machine = Machine(full, full, doubled)
    engine = opened(machine, GPU)
    with pytest.raises(BackendError, match="memory ran out"):
        engine.run(BATCH)
    engine.free_buffers()
    np.testing.assert_array_equal(engine.run(BATCH), 2 * BATCH)
    assert engine.info.device is Device.CUDA
    assert engine.info.note == ""


def test_the_engine_that_the_user_asked_for_goes_on_on_the_cpu() -> None:
    steps = steps_down(replace(GPU, goes_on_cpu=True), on_cpu=EngineKind.ONNXRUNTIME)
    assert [(step.device, step.kind) for step in steps[2:]] == [
        (Device.CPU, EngineKind.ONNXRUNTIME)
    ]


@pytest.mark.parametrize(
    "words", ["CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED"]
)
def test_libraries_of_the_gpu_say_it_in_their_own_words(words: str) -> None:
    error = RuntimeError(words)
    fault = running_fault(Path("n.onnx"), error, shape=(1,), device=Device.CUDA)
    assert isinstance(fault, DeviceMemoryError)
    assert isinstance(opening_fault(Path("n.onnx"), error), DeviceMemoryError)
