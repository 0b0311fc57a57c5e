"""Findings as rows: a CSV file for spreadsheets, and cells for a table in the terminal."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import Any

from livertumor_cli.findings import CaseFindings
from livertumor_cli.report.json_report import lesion_entries
from livertumor_cli.volume import Source

CSV_COLUMNS: tuple[str, ...] = (
    "id",
    "volume_ml",
    "longest_axial_diameter_mm",
    "perpendicular_diameter_mm",
    "max_3d_diameter_mm",
    "mean_hu",
    "slice_index",
    "sop_instance_uid",
    "centroid_x_lps_mm",
    "centroid_y_lps_mm",
    "centroid_z_lps_mm",
    *(
        f"{axis}_end_{end}_{letter}_lps_mm"
        for axis in ("longest", "perpendicular")
        for end in (1, 2)
        for letter in "xyz"
    ),
)

TERMINAL_COLUMNS: tuple[str, ...] = (
    "Lesion",
    "Volume ml",
    "Longest mm",
    "Perpend. mm",
    "3D mm",
    "Slice",
    "Mean HU",
)

MISSING = "-"
"""Shown where a value does not exist."""


def lesions_csv(findings: CaseFindings, *, source: Source) -> str:
    """One row per lesion with the numbers of the JSON report; only the header without lesions.

    Fields are separated by commas and decimals by a dot, whatever the locale.

    Args:
        findings: The measurements.
        source: Where the scan came from; DICOM sources name the instance of each slice.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for entry in lesion_entries(findings, source=source):
        cells = _csv_cells(entry)
        writer.writerow(["" if cells[name] is None else cells[name] for name in CSV_COLUMNS])
    return text.getvalue()


def summary_rows(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Name and value of the whole-liver measurements, ready to print.

    Args:
        report: From `build_report`.
    """
    liver, tumor, vessel = report["liver"], report["tumor"], report["vessel"]
    return [
        ("Liver volume, tumors and vessels included", _cell(liver["volume_ml"], 1, "ml")),
        ("Liver mean density", _cell(liver["mean_hu"], 0, "HU")),
        ("Tumor volume", _cell(tumor["volume_ml"], 1, "ml")),
        ("Tumor burden", _cell(tumor["burden_percent"], 1, "%")),
        ("Vessel volume", _cell(vessel["volume_ml"], 1, "ml")),
        ("Lesions", str(tumor["count"])),
    ]


def lesion_rows(report: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Cells of each lesion in the order of TERMINAL_COLUMNS, ready to print.

    Args:
        report: From `build_report`.
    """
    return [
        (
            f"{lesion['id']}",
            _cell(lesion["volume_ml"], 2),
            _cell(lesion["longest_axial_diameter_mm"], 1),
            _cell(lesion["perpendicular_diameter_mm"], 1),
            _cell(lesion["max_3d_diameter_mm"], 1),
            f"{lesion['slice_index']}",
            _cell(lesion["mean_hu"], 0),
        )
        for lesion in report["lesions"]
    ]


def _csv_cells(entry: Mapping[str, Any]) -> dict[str, Any]:
    cells = dict(entry)
    for letter, value in zip("xyz", entry["centroid_lps_mm"], strict=True):
        cells[f"centroid_{letter}_lps_mm"] = value
    for axis in ("longest", "perpendicular"):
        for number, end in enumerate(entry[f"{axis}_axis_lps_mm"], start=1):
            for letter, value in zip("xyz", end, strict=True):
                cells[f"{axis}_end_{number}_{letter}_lps_mm"] = value
    return cells


def _cell(value: float | None, digits: int, unit: str = "") -> str:
    if value is None:
        return MISSING
    return f"{value:.{digits}f} {unit}".rstrip()
