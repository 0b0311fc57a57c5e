"""The learning curve of a run: `curve.csv`, one line per step."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from livertumor_cli.io.atomic import output_error, write_text

STRUCTURES = ("liver", "tumor", "vessel")


def forget_after(path: Path, step: int) -> None:
    """Remove the lines of later steps: a run that was killed takes them again.

    Args:
        path: The curve; may be missing.
        step: The last step of the state that the run goes on from.

    Raises:
        OutputError: If the file cannot be written.
    """
    if not path.is_file():
        return
    lines = path.read_text(encoding="utf-8").splitlines()
    kept = lines[:1] + [line for line in lines[1:] if _is_of(line, step, header=lines[0])]
    if kept != lines:
        write_text(path, "".join(f"{line}\r\n" for line in kept))


def _is_of(line: str, step: int, *, header: str) -> bool:
    """Whether it is of a step up to this one; a kill may have cut a line short."""
    number = line.partition(",")[0]
    return line.count(",") == header.count(",") and number.isdigit() and int(number) <= step


def note_step(
    path: Path,
    *,
    step: int,
    trained_s: float,
    loss: float,
    dice: Mapping[str, float],
    structures: Sequence[str] = STRUCTURES,
) -> None:
    """Append one line; its Dice columns are empty between validations.

    Args:
        path: The curve; begun with a header where it is missing.
        step: Steps taken so far.
        trained_s: Seconds spent in them.
        loss: Loss of the step.
        dice: Validation Dice by structure; may be empty.
        structures: The Dice columns, the same for all lines.

    Raises:
        OutputError: If the file cannot be written.
    """
    try:
        is_new = not path.is_file()
        with path.open("a", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            if is_new:
                columns = [f"dice_{name}" for name in structures]
                writer.writerow(["step", "trained_s", "loss", *columns])
            values = [f"{dice[name]:.4f}" if name in dice else "" for name in structures]
            writer.writerow([step, f"{trained_s:.1f}", f"{loss:.5f}", *values])
    except OSError as error:
        raise output_error(error, path=path) from error
