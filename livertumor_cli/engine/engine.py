"""The contract of an engine: what is asked for, what was obtained, and one call to run it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from livertumor_cli.arrays import FloatArray

AxisSizes = tuple[int | None, ...]
"""Sizes along the axes of a model's input or output; None where the model leaves one open."""


class Device(StrEnum):
    """What the user asks for."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


class EngineKind(StrEnum):
    """The program that runs the model."""

    AUTO = "auto"
    ONNXRUNTIME = "onnxruntime"
    OPENVINO = "openvino"


class Precision(StrEnum):
    """Arithmetic inside the model; input and output are always float32."""

    F32 = "f32"
    BF16 = "bf16"
    FP16 = "fp16"
    TF32 = "tf32"
    """Obtained, never asked for: the mantissa of fp16 with the range of f32, on NVIDIA GPUs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineRequest:
    """What is asked for.

    Attributes:
        file: An ONNX file whose SHA-256 the caller has checked.
        device: Where to run.
        kind: Which program runs it.
        precision: The lowest precision that is allowed; more is obtained where the device lacks it.
        requires_precision: Whether to refuse instead where the device lacks it.
        threads: CPU threads; None leaves the choice to the engine.
        goes_on_cpu: Whether a network whose GPU runs out of memory may go on on the CPU.
    """

    file: Path
    device: Device = Device.AUTO
    kind: EngineKind = EngineKind.AUTO
    precision: Precision = Precision.F32
    requires_precision: bool = False
    threads: int | None = None
    goes_on_cpu: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineInfo:
    """What was obtained.

    Attributes:
        device: CPU or CUDA, never AUTO.
        kind: The program, never AUTO.
        version: Its version.
        precision: Arithmetic that is really used.
        device_name: Model of the CPU or GPU.
        threads: CPU threads.
        note: What the reader of a result must know of it, as a sentence; mostly empty.
    """

    device: Device
    kind: EngineKind
    version: str
    precision: Precision
    device_name: str
    threads: int
    note: str = ""

    @property
    def engine(self) -> str:
        """Program and version in one text, for reports."""
        return f"{self.kind} {self.version}"


class Engine(Protocol):
    """One model on one device; may be used from one thread at a time."""

    @property
    def info(self) -> EngineInfo:
        """What was obtained."""

    @property
    def input_shape(self) -> AxisSizes:
        """Sizes (N, C, z, y, x) or (N, C, y, x) of the input."""

    @property
    def output_shape(self) -> AxisSizes:
        """Sizes of the output, in the same form."""

    def run(self, batch: FloatArray) -> FloatArray:
        """Run the model once.

        Args:
            batch: Shape (N, C, z, y, x), or (N, C, y, x) for a 2D model.

        Returns:
            A new array of shape (N, classes, z, y, x) or (N, classes, y, x).

        Raises:
            BackendError: If the device runs out of memory.
            ModelContractError: If the model refuses the shape.
        """

    def run_many(self, batches: Iterable[FloatArray]) -> Iterator[FloatArray]:
        """Run the model over batches, results in their order.

        An engine that can runs one batch while the caller works on the result before it; so the
        caller must not change a batch that it has handed over.
        """

    def free_buffers(self) -> None:
        """Give back the memory in which a network computes, as far as the engine can.

        The network stays open, and its next run takes what it needs again.
        """
