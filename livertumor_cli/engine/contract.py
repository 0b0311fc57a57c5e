"""Whether a model's input and output are what the caller is going to feed and expect."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from livertumor_cli.engine.engine import AxisSizes
from livertumor_cli.errors import ModelContractError


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelContract:
    """What the caller expects of a model.

    Attributes:
        patch: Spatial axes of the network's input: (z, y, x), or (y, x) for a 2D network.
        classes: Channels of the output.
        channels: Channels of the input.
    """

    patch: tuple[int, ...]
    classes: int
    channels: int = 1


def check_contract(
    file: Path, contract: ModelContract, *, input_shape: AxisSizes, output_shape: AxisSizes
) -> None:
    """Compare a model's declared shapes with what is expected; an open axis fits every size.

    Raises:
        ModelContractError: If one differs.
    """
    expected_input = (None, contract.channels, *contract.patch)
    expected_output = (None, contract.classes, *contract.patch)
    for side, expected, declared in (
        ("input", expected_input, input_shape),
        ("output", expected_output, output_shape),
    ):
        if not _fits(declared, expected):
            raise ModelContractError(
                f"the {side} of {file.name} is {_words(declared)}, "
                f"and its recipe makes it {_words(expected)}.",
                hint="Correct patch, dimensions or classes in the recipe, or export again.",
            )


def _fits(declared: AxisSizes, expected: AxisSizes) -> bool:
    if len(declared) != len(expected):
        return False
    pairs = zip(declared, expected, strict=True)
    return all(None in (has, wants) or has == wants for has, wants in pairs)


def _words(shape: AxisSizes) -> str:
    return f"({', '.join('any' if size is None else str(size) for size in shape)})"
