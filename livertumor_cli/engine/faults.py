"""What engines say when they fail, turned into the program's own errors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from livertumor_cli.engine.engine import AxisSizes, Device
from livertumor_cli.errors import (
    BackendError,
    DeviceMemoryError,
    LiverTumorError,
    ModelContractError,
)

_MEMORY_WORDS = (
    *("out of memory", "failed to allocate", "bad_alloc", "bad allocation", "bfcarena"),
    "alloc_failed",  # of cuBLAS and cuDNN
)


def opening_fault(file: Path, error: Exception) -> LiverTumorError:
    """The error for a model that an engine could not open."""
    if _is_about_memory(error):
        return _memory_fault(f"opening {file.name}")
    return ModelContractError(
        f"{file} is not a model that can be run: {_first_telling_line(error)}",
        hint="Run 'livertumor models verify', or try the other engine with --engine.",
    )


def running_fault(
    file: Path, error: Exception, *, shape: Sequence[int], device: Device
) -> LiverTumorError:
    """The error for a model that failed on one batch."""
    if _is_about_memory(error):
        return _memory_fault(f"running {file.name} on a batch of {tuple(shape)}")
    message = f"{file.name} failed on a batch of {tuple(shape)}: {_first_telling_line(error)}"
    if device is Device.CUDA:
        return BackendError(message, hint="Retry with --device cpu, or run 'livertumor doctor'.")
    return ModelContractError(message, hint="The recipe's patch may not fit the network's strides.")


def check_batch(file: Path, shape: Sequence[int], declared: AxisSizes) -> None:
    """Compare a batch with a model's declared input before an engine sees it.

    Raises:
        ModelContractError: If it does not fit.
    """
    fits = len(shape) == len(declared) and all(
        wanted is None or size == wanted for size, wanted in zip(shape, declared, strict=True)
    )
    if not fits:
        raise ModelContractError(f"{file.name} takes {declared}, not a batch of {tuple(shape)}.")


def check_ports(file: Path, *, inputs: Sequence[str], outputs: Sequence[str]) -> None:
    """Check that a model has one float32 input and one float32 output.

    Args:
        file: The model.
        inputs: Element type of each input.
        outputs: Element type of each output.

    Raises:
        ModelContractError: If it has not.
    """
    for side, types in (("input", inputs), ("output", outputs)):
        if list(types) != ["float32"]:
            raise ModelContractError(
                f"{file.name} must have one float32 {side}, not: {', '.join(types) or 'none'}.",
                hint="Export the network again with one input and one output in float32.",
            )


def _memory_fault(while_doing: str) -> DeviceMemoryError:
    return DeviceMemoryError(
        f"memory ran out while {while_doing}.",
        hint="Close other programs on this device, or retry with --device cpu.",
    )


def _is_about_memory(error: Exception) -> bool:
    text = str(error).lower()
    return any(word in text for word in _MEMORY_WORDS)


def _first_telling_line(error: Exception) -> str:
    # OpenVINO begins with the places in its source from which the message came.
    lines = (line.strip() for line in str(error).splitlines())
    telling = (line for line in lines if line and "Exception from " not in line)
    return next(telling, type(error).__name__)
