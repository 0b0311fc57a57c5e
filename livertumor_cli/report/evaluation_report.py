"""Figures of an evaluation as rows for a terminal of 80 columns, as CSV, and their definitions."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from livertumor_cli.report.tables import MISSING

STRUCTURES = ("liver", "tumor", "vessel")

DEFINITIONS = {
    "liver": "All labels from 1 on: liver, tumors and vessels.",
    "vessel": "Label 3, in cases whose reference has it; elsewhere vessels count as liver.",
    "empty": (
        "Two empty masks have Dice 1, an empty and a non-empty one 0. Distances to an empty mask "
        "do not exist: they are null, left out of means, and counted beside them."
    ),
    "dice_global": "Twice the common voxels of all cases per voxels of both sides of all cases.",
    "voe": "1 - Jaccard index.",
    "rvd": "(prediction - reference) / reference; rvd_lits: (reference - prediction) / prediction.",
    "surface": (
        "Voxels that an erosion with the 18-neighborhood removes; distances run between voxel "
        "centers, and the edge of the array is surface."
    ),
    "assd_mm": "Mean distance of all surface voxels of both masks to the other surface.",
    "rmsd_mm": "Root mean square of the same distances.",
    "hd95_mm": "The larger of the 95th percentiles of the two directions.",
    "msd_mm": "Largest distance (Hausdorff).",
    "detection_plain": (
        "26-connected lesions, each predicted one with one reference lesion, IoU above 0.5."
    ),
    "detection_lits": (
        "6-connected lesions; pieces that share a partner are joined first, IoU of the joined "
        "lesions above 0.5, and each of them then counts. lits_any_overlap: IoU above 0."
    ),
    "matched_lesions": "Lesions of all cases that detection_lits matches; joined ones count once.",
    "burden_percent": (
        "Tumor voxels per liver voxels; error is prediction - reference in percentage points."
    ),
    "lesions_by_size": (
        "By longest axial diameter between voxel corners; predicted lesions by their own."
    ),
}

CASE_COLUMNS = ("Dice", "VOE", "RVD %", "ASSD", "RMSD", "HD95", "Max")
"""Of one structure; distances in mm."""

_LESION_FIELDS = ("id", "volume_ml", "longest_axial_diameter_mm")


def structure_cells(scores: Mapping[str, float | None]) -> list[str]:
    """Scores of one structure under CASE_COLUMNS."""
    rvd = scores["rvd"]
    return [
        number(scores["dice"], 3),
        number(scores["voe"], 3),
        number(None if rvd is None else 100 * rvd, 1),
        *(number(scores[name], 2) for name in ("assd_mm", "rmsd_mm", "hd95_mm", "msd_mm")),
    ]


def mean_cells(part: Mapping[str, Any]) -> list[str]:
    """Global Dice and means of one structure, under "Global" and CASE_COLUMNS.

    A star marks a mean that lacks cases in which the score does not exist.
    """
    means = part["means"]
    cells = structure_cells({name: mean["mean"] for name, mean in means.items()})
    order = ("dice", "voe", "rvd", "assd_mm", "rmsd_mm", "hd95_mm", "msd_mm")
    stars = ["*" if means[name]["undefined"] else "" for name in order]
    return [
        number(part["dice_global"], 3),
        *(f"{cell}{star}" for cell, star in zip(cells, stars, strict=True)),
    ]


def case_cells(case: Mapping[str, Any]) -> list[str]:
    """One case of many: its name, Dice by structure, tumor HD95, lesions, error of the burden."""
    structures = case["structures"]
    detection = case["detection"]["plain"]
    dice = [number(structures.get(name, {}).get("dice"), 3) for name in STRUCTURES]
    found = detection["true_positives"]
    return [
        case["case"],
        *dice,
        number(structures["tumor"]["hd95_mm"], 1),
        f"{found} of {found + detection['false_negatives']}",
        str(detection["false_positives"]),
        number(case["burden_percent"]["error"], 1),
    ]


def size_cells(one: Mapping[str, Any]) -> list[str]:
    """One class of sizes: limits, lesions, found, recall, covered, predicted, right, precision."""
    return [
        size_words(one),
        str(one["count"]),
        str(one["found"]),
        number(one["recall"], 2),
        number(None if one["covered"] is None else 100 * one["covered"], 0),
        str(one["predicted"]),
        str(one["right"]),
        number(one["precision"], 2),
    ]


def size_words(one: Mapping[str, Any]) -> str:
    """Limits of a class of sizes in words."""
    low, high = one["from_mm"], one["below_mm"]
    if high is None:
        return f"{low:g} mm and more"
    if high == 0:
        return "no tumor"
    return f"{low:g} to {high:g} mm" if low else f"under {high:g} mm"


def number(value: float | None, digits: int) -> str:
    """A number ready to read; MISSING where it does not exist."""
    return MISSING if value is None else f"{value:.{digits}f}"


def cases_csv(cases: Sequence[Mapping[str, Any]]) -> str:
    """One row per case with everything but the lesions; empty where a value does not exist."""
    rows = [_case_row(case) for case in cases]
    return _csv(list(rows[0]), rows)


def lesions_csv(cases: Sequence[Mapping[str, Any]]) -> str:
    """One row per lesion of either side of every case."""
    rows = []
    for case in cases:
        for side, lesions, verdict in (
            ("reference", case["lesions"], "is_found"),
            ("prediction", case["predicted_lesions"], "is_right"),
        ):
            for lesion in lesions:
                row = {"case": case["case"], "side": side}
                row |= {name: lesion[name] for name in _LESION_FIELDS}
                row["is_matched"] = int(lesion[verdict])
                row["covered_fraction"] = lesion.get("found_fraction")
                rows.append(row)
    columns = ["case", "side", *_LESION_FIELDS, "is_matched", "covered_fraction"]
    return _csv(columns, rows)


def _case_row(case: Mapping[str, Any]) -> dict[str, Any]:
    row: dict[str, Any] = {"case": case["case"]}
    for name in STRUCTURES:
        scores = case["structures"].get(name, {})
        # Every case has a liver, and with it the names of all scores.
        for score in case["structures"]["liver"]:
            row[f"{name}_{score}"] = scores.get(score)
    for side, value in case["burden_percent"].items():
        row[f"burden_{side}_percent"] = value
    for matching, detection in case["detection"].items():
        for score, value in detection.items():
            row[f"{matching}_{score}"] = value
    return row


def _csv(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow(["" if row[name] is None else row[name] for name in columns])
    return text.getvalue()
