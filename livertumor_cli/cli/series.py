"""`livertumor series PATH`: what a study holds, and which series would be segmented."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import click

from livertumor_cli.cli.console import write_json
from livertumor_cli.cli.options import PATH
from livertumor_cli.cli.rows import WIDTH

if TYPE_CHECKING:
    from livertumor_cli.io.series_list import SeriesList, SeriesRow

_COLUMNS = ("Series", "Slices", "Plane", "Pixels, step (mm)", "Thick", "Kernel", "Phase")
_WIDTHS = (6, 6, 9, 20, 5, 12, 9)
"""With the two blanks between them 79 columns."""

_RIGHT = {0, 1, 3, 4}
_INDENT = 14


@click.command()
@click.argument("path", type=PATH)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
def series(path: Path, as_json: bool) -> None:
    """Show every series at PATH, which one 'segment' takes, and why not the others.

    PATH is a DICOM folder (with all folders in it), a zip of one, a DICOMDIR or a DICOM file. Only
    headers are read, no pixels. Nothing here is changed.

    Example: livertumor series study/ --json
    """
    from livertumor_cli.io.series_list import list_series

    found = list_series(path)
    if as_json:
        write_json(describe(found))
        return
    click.echo(_line(_COLUMNS))
    for row in found.rows:
        _print_row(row, found)
    if found.not_dicom:
        click.echo(f"{found.not_dicom} files are no DICOM images and were passed over.")
    for sentence in found.damaged:
        click.echo(f"Not readable, and in the way of 'segment': {sentence}")


def describe(found: SeriesList) -> dict[str, object]:
    """The list as JSON values; lengths in mm.

    Args:
        found: From `io.series_list.list_series`.
    """
    taken = [row.series.uid for row in found.rows if row.taken]
    return {
        "status": "ok",
        "taken": taken[0] if taken else None,
        "not_dicom": found.not_dicom,
        "damaged": list(found.damaged),
        "series": [_entry(row) for row in found.rows],
    }


def _entry(row: SeriesRow) -> dict[str, object]:
    one = row.series
    spacing = row.pixel_spacing_mm
    return {
        "number": one.about.number,
        "uid": one.uid or None,
        "description": one.about.description,
        "modality": row.modality,
        "slices": row.images,
        "orientation": one.orientation or None,
        "pixel_spacing_mm": list(spacing) if spacing else None,
        "step_mm": round(one.step_mm, 4) or None,
        "thickness_mm": row.thickness_mm or None,
        "coverage_mm": round(one.coverage_mm, 2) or None,
        "kernel": one.about.kernel or None,
        "phase": str(row.phase) or None,
        "taken": row.taken,
        "reason": str(row.reason) if row.reason else None,
        "why": row.why,
    }


def _print_row(row: SeriesRow, found: SeriesList) -> None:
    one = row.series
    spacing = row.pixel_spacing_mm
    lengths = [f"{size:.2f}" for size in (*(spacing or ()), one.step_mm) if size]
    cells = (
        "-" if one.about.number is None else str(one.about.number),
        str(row.images),
        one.orientation or "-",
        " x ".join(lengths) or "-",
        f"{row.thickness_mm:.2f}" if row.thickness_mm else "-",
        one.about.kernel or "-",
        str(row.phase) or "-",
    )
    click.echo(_line(cells))
    numbers = [other.series.about.number for other in found.rows]
    # What --series needs where the number does not tell this series from the others.
    if one.uid and (one.about.number is None or numbers.count(one.about.number) > 1):
        _print_under(one.uid)
    _print_under(one.about.description)
    _print_under(f"{'TAKEN' if row.taken else 'left out'}: {row.why}")


def _line(cells: tuple[str, ...]) -> str:
    parts = [
        text[:width].rjust(width) if index in _RIGHT else text[:width].ljust(width)
        for index, (text, width) in enumerate(zip(cells, _WIDTHS, strict=True))
    ]
    return "  ".join(parts).rstrip()


def _print_under(text: str) -> None:
    for line in textwrap.wrap(text, WIDTH - _INDENT - 1):
        click.echo(" " * _INDENT + line)
