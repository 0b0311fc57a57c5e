"""`livertumor evaluate`: compare a predicted label map with a reference."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from livertumor_cli.cli.console import stdout_console, write_json
from livertumor_cli.errors import GeometryError, Reason

if TYPE_CHECKING:
    from livertumor_cli.measure.comparison import CaseAgreement, StructureAgreement
    from livertumor_cli.measure.detection import Detection
    from livertumor_cli.volume import LabelMap

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)

_UNDEFINED = "-"


@click.command()
@click.argument("prediction", type=_FILE)
@click.argument("reference", type=_FILE)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of tables.")
def evaluate(prediction: Path, reference: Path, as_json: bool) -> None:
    """Compare the label map PREDICTION with the label map REFERENCE.

    Both are .nii or .nii.gz files on the same grid, with 1 liver, 2 tumor, 3 vessel. Liver means
    all three together. Values that do not exist, such as the distance to an empty mask, are shown
    as "-" and null in JSON.

    Example: livertumor evaluate results/scan01/mask.nii.gz references/scan01.nii.gz
    """
    from livertumor_cli.io.label_maps import read_label_map
    from livertumor_cli.measure.comparison import compare_case

    predicted, expected = read_label_map(prediction), read_label_map(reference)
    _require_same_grid(predicted, expected)
    agreement = compare_case(
        predicted.labels.astype("uint8", copy=False),
        expected.labels.astype("uint8", copy=False),
        geometry=expected.geometry,
    )
    document = {
        "prediction": prediction.name,
        "reference": reference.name,
        **_document(agreement),
    }
    if as_json:
        write_json(document)
    else:
        _print_tables(document)


def _require_same_grid(prediction: LabelMap, reference: LabelMap) -> None:
    if not prediction.geometry.is_same_grid(reference.geometry):
        sizes = " and ".join(
            f"{grid.shape} at {tuple(round(size, 3) for size in grid.spacing_mm)} mm"
            for grid in (prediction.geometry, reference.geometry)
        )
        raise GeometryError(
            f"The two label maps lie on different grids: {sizes} (z, y, x).",
            reason=Reason.GRIDS_DIFFER,
            hint="Compare masks of the same scan on its own grid; nothing is resampled here.",
        )
    if not reference.geometry.is_rectangular:
        raise GeometryError(
            "The voxel axes of the label maps do not stand at right angles.",
            reason=Reason.SHEARED,
            hint="Surface distances need a rectangular grid.",
        )


def _document(agreement: CaseAgreement) -> dict[str, Any]:
    """Everything measured, as plain values; None where a value does not exist."""
    return {
        "structures": {part.name: _scores(part) for part in agreement.structures},
        "detection": {
            "plain": _detection(agreement.detection_plain),
            "lits": _detection(agreement.detection_lits),
        },
        "recall_by_size": [
            {
                "from_mm": size.from_mm,
                "below_mm": _rounded(size.below_mm, 2),
                "count": size.count,
                "found": size.found,
                "recall": _rounded(size.recall, 4),
            }
            for size in agreement.recall_by_size
        ],
        "lesions": [
            {
                "id": lesion.id,
                "volume_ml": _rounded(lesion.volume_ml, 3),
                "longest_axial_diameter_mm": _rounded(lesion.longest_axial_diameter_mm, 2),
                "found_fraction": _rounded(lesion.found_fraction, 4),
                "is_found": lesion.is_found,
            }
            for lesion in agreement.lesions
        ],
    }


def _scores(part: StructureAgreement) -> dict[str, float | None]:
    return {
        "dice": _rounded(part.overlap.dice, 4),
        "jaccard": _rounded(part.overlap.jaccard, 4),
        "voe": _rounded(part.overlap.voe, 4),
        "rvd": _rounded(part.overlap.rvd, 4),
        "rvd_lits": _rounded(part.overlap.rvd_lits, 4),
        "assd_mm": _rounded(part.surface.assd_mm, 3),
        "rmsd_mm": _rounded(part.surface.rmsd_mm, 3),
        "hd95_mm": _rounded(part.surface.hd95_mm, 3),
        "msd_mm": _rounded(part.surface.msd_mm, 3),
    }


def _detection(detection: Detection) -> dict[str, Any]:
    return {
        "true_positives": detection.true_positives,
        "false_positives": detection.false_positives,
        "false_negatives": detection.false_negatives,
        "recall": _rounded(detection.recall, 4),
        "precision": _rounded(detection.precision, 4),
    }


def _rounded(value: float, digits: int) -> float | None:
    return round(value, digits) if math.isfinite(value) else None


def _print_tables(document: dict[str, Any]) -> None:
    from rich.table import Table

    console = stdout_console()
    table = Table("Structure", "Dice", "ASSD mm", "HD95 mm")
    for name, scores in document["structures"].items():
        cells = (scores["dice"], scores["assd_mm"], scores["hd95_mm"])
        table.add_row(name, *(_cell(value) for value in cells))
    console.print(table)
    lesions = Table("Reference lesion", "Volume ml", "Longest mm", "Covered %", "Found")
    for lesion in document["lesions"]:
        lesions.add_row(
            str(lesion["id"]),
            f"{lesion['volume_ml']:.2f}",
            f"{lesion['longest_axial_diameter_mm']:.1f}",
            f"{100 * lesion['found_fraction']:.0f}",
            "yes" if lesion["is_found"] else "no",
        )
    if document["lesions"]:
        console.print(lesions)
    else:
        console.print("The reference has no tumor.")
    plain = document["detection"]["plain"]
    console.print(
        f"Lesions found: {plain['true_positives']} of {len(document['lesions'])}; "
        f"predicted lesions that match none: {plain['false_positives']} (IoU above 0.5)."
    )


def _cell(value: float | None) -> str:
    return _UNDEFINED if value is None else f"{value:.3f}"
