"""The table of the comparison with other programs."""

from __future__ import annotations

from dataclasses import dataclass

LEAST_DICE = 0.99
CASCADE = "livertumor-cascade"


@dataclass(frozen=True)
class Size:
    """Scan, grid, network and steps of its teaching."""

    pixels: int
    slice_mm: float
    width: int
    spacing_mm: tuple[float, float, float]
    patch: tuple[int, int, int]
    steps: int


@dataclass(frozen=True)
class Row:
    """One program's medians.

    Attributes:
        dice: With the first program's mask, of all that is liver or tumor.
        cascade_dice: The same with the cascade's mask; None where that did not run.
    """

    network: str
    slices: int
    program: str
    wall_s: float
    work_s: float
    peak_mb: float
    dice: float
    cascade_dice: float | None
    dice_of_class: dict[str, float]
    steps_s: dict[str, float]


def print_rows(rows: list[Row], *, size: Size) -> None:
    """The table of one network and scan; the first row is what the others are compared with."""
    own = rows[0]
    print(f"\n{own.network}, width {size.width}, {size.pixels} x {size.pixels} x {own.slices}")
    print(f"{'':20}{'process s':>10}{'x':>7}{'work s':>9}{'x':>7}{'MB':>7}{'x':>6}  Dice (classes)")
    for row in rows:
        classes = ", ".join(f"{name} {value:.4f}" for name, value in row.dice_of_class.items())
        doubt = "" if row.dice > LEAST_DICE else "  NOT COMPARABLE"
        print(
            f"{row.program:20}{row.wall_s:10.1f}{row.wall_s / own.wall_s:7.2f}{row.work_s:9.1f}"
            f"{row.work_s / own.work_s:7.2f}{row.peak_mb:7.0f}{row.peak_mb / own.peak_mb:6.2f}"
            f"  {row.dice:.4f} ({classes}){doubt}"
        )
    print_against_cascade(rows)
    for row in rows:
        steps = ", ".join(f"{step} {seconds:.1f}" for step, seconds in row.steps_s.items())
        print(f"  {row.program}: {steps}")


def print_against_cascade(rows: list[Row]) -> None:
    """What is saved by those who would else take another program, where both drew the same."""
    own = next((row for row in rows if row.program == CASCADE), None)
    for row in rows:
        if own is None or row.cascade_dice is None or row.program.startswith("livertumor"):
            continue
        if row.cascade_dice > LEAST_DICE:
            print(
                f"  {CASCADE} is {row.wall_s / own.wall_s:.1f} times as fast as {row.program} and "
                f"takes {own.peak_mb / row.peak_mb:.2f} of its memory (Dice {row.cascade_dice:.4f})"
            )
        else:
            print(f"  {CASCADE} and {row.program}: NOT COMPARABLE (Dice {row.cascade_dice:.4f})")
