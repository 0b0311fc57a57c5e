"""`livertumor inspect PATH`: what the program reads from a scan, or why it refuses it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from livertumor_cli.cli.console import stdout_console, warn, write_json
from livertumor_cli.cli.options import PATH, scan_options
from livertumor_cli.errors import InputError

if TYPE_CHECKING:
    from livertumor_cli.volume import Volume


@click.command()
@click.argument("path", type=PATH)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
@scan_options
def inspect(path: Path, as_json: bool, series: str, resample_irregular: bool) -> None:
    """Show grid and Hounsfield values of the scan at PATH, or the reason why it is refused.

    PATH is a .nii, .nii.gz, .mha or .nrrd file, a DICOM folder, file or DICOMDIR, or a zip.

    Example: livertumor inspect scan.nii.gz --json
    """
    from livertumor_cli.io.formats import read_volume

    try:
        volume = read_volume(path, series=series, resample_irregular=resample_irregular)
    except InputError as error:
        if as_json:
            write_json(_refusal(error))
        raise
    document = describe(volume)
    if as_json:
        write_json(document)
        return
    for note in volume.source.notes:
        warn(note)
    _print_table(path, document, axes=volume.geometry.axis_codes())


def _refusal(error: InputError) -> dict[str, object]:
    return {
        "status": "refused",
        "reason": str(error.reason),
        "message": error.message,
        "hint": error.hint,
    }


def describe(volume: Volume) -> dict[str, object]:
    """The facts of a scan as JSON values; lengths in mm, positions in LPS mm.

    Args:
        volume: As the readers give it.
    """
    from livertumor_cli.io.statistics import summarize

    geometry = volume.geometry
    summary = summarize(volume)
    return {
        "status": "ok",
        "reason": "",
        "format": volume.source.kind,
        "series_uid": volume.source.series_uid,
        "shape_zyx": list(geometry.shape),
        "spacing_mm": [round(size, 6) for size in geometry.spacing_mm],
        "affine_lps": geometry.affine_lps.tolist(),
        "hu_min": summary.minimum,
        "hu_max": summary.maximum,
        "hu_mean": round(summary.mean, 4),
        "body_centroid_lps": [round(value, 3) for value in summary.body_centroid_lps_mm],
        "notes": list(volume.source.notes),
    }


def _print_table(path: Path, document: dict[str, object], *, axes: str) -> None:
    from rich.table import Table

    def numbers(key: str, digits: int) -> str:
        values = document[key]
        return " x ".join(f"{value:.{digits}f}" for value in values)  # type: ignore[attr-defined]

    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    rows = {
        "Scan": f"{path.name} ({document['format']})",
        "Series": document["series_uid"],
        "Voxels z, y, x": numbers("shape_zyx", 0),
        "Voxel size z, y, x": numbers("spacing_mm", 3) + " mm",
        "Axes z, y, x": f"toward {', '.join(axes)}",
        "HU": f"{document['hu_min']:g} to {document['hu_max']:g}, mean {document['hu_mean']:.1f}",
        "Body center LPS": numbers("body_centroid_lps", 1).replace(" x ", ", ") + " mm",
    }
    for name, text in rows.items():
        if text:
            table.add_row(name, str(text))
    stdout_console().print(table)
