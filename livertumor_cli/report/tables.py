"""Findings as rows: a CSV file for spreadsheets, and cells for a table in the terminal."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from livertumor_cli.anatomy import SEGMENT_NUMERALS
from livertumor_cli.findings import CaseFindings
from livertumor_cli.report.json_report import lesion_entries
from livertumor_cli.report.run_record import SegmentsBy
from livertumor_cli.volume import Source

CSV_COLUMNS: tuple[str, ...] = (
    "id",
    "volume_ml",
    "longest_axial_diameter_mm",
    "perpendicular_diameter_mm",
    "max_3d_diameter_mm",
    "mean_hu",
    "sd_hu",
    "min_hu",
    "max_hu",
    "median_hu",
    "contrast_to_liver_hu",
    "volume_range_low_ml",
    "volume_range_high_ml",
    "volume_range_scales_low_ml",
    "volume_range_scales_high_ml",
    "equivalent_sphere_diameter_mm",
    "capsule_distance_mm",
    "vessel_distance_mm",
    "vessel_contact_mm2",
    "couinaud_shares",
    "mean_probability",
    "flags",
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
    "No.",
    "ml",
    "Longest",
    "Perp.",
    "3D",
    "Capsule",
    "Vessel",
    "Segm.",
    "Slice",
    "HU",
    "Flags",
)

TERMINAL_LEGEND = (
    "Lengths and distances in mm. Flags: s below measurable size, e at the edge of",
    "the scan, b within one pixel of 10, 20, 30 or 50 mm.",
)

SEGMENT_LEGEND = "Segm.: the segment with most of the lesion, + where another has a tenth of it."
"""Explains the columns; each line fits a terminal of 80 columns."""

FLAG_LETTERS = {"below_measurable": "s", "touches_border": "e", "borderline": "b"}

SEGMENT_COLUMNS = ("Segm.", "Segment")
"""Shown only where a map of the segments exists."""

VESSEL_COLUMNS = ("Vessel", "To vessel mm")
"""Shown only where vessels were labeled."""

SEGMENT_HEADINGS = {
    SegmentsBy.NETWORK: "Couinaud segments (approximate)",
    SegmentsBy.FILE: "Couinaud segments (from a file)",
}
"""By `segments_by` of the report."""

LEAST_SHARE = 0.1
"""Less of a lesion in a segment is within what the borders of approximate segments are off."""

MISSING = "-"
"""Shown where a value does not exist."""

NOT_LABELED = "not labeled"
"""Shown, once, as the volume of a structure that nobody looked for: it is not 0 ml."""


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
        ("Liver volume, tumors and vessels included", cell(liver["volume_ml"], 1, "ml")),
        ("Liver volume without tumors", cell(liver["without_tumor_ml"], 1, "ml")),
        ("Liver mean density", cell(liver["mean_hu"], 0, "HU")),
        *_reference_rows(report["reference_tissue"]),
        ("Tumor volume", cell(tumor["volume_ml"], 1, "ml")),
        ("Tumor burden", cell(tumor["burden_percent"], 1, "%")),
        ("Vessel volume", _volume_or_unknown(vessel["volume_ml"])),
        ("Lesions", str(tumor["count"])),
        *_size_rows(tumor),
    ]


def _volume_or_unknown(volume_ml: float | None) -> str:
    return NOT_LABELED if volume_ml is None else cell(volume_ml, 1, "ml")


def _reference_rows(reference: Mapping[str, Any]) -> list[tuple[str, str]]:
    """By what a reader judges the contrast phase; nothing where neither was found."""
    densities = (reference["aorta_hu"], reference["spleen_hu"])
    if densities == (None, None):
        return []
    aorta, spleen = (cell(density, 0) for density in densities)
    return [("Density of aorta / spleen", f"{aorta} / {spleen} HU")]


def _size_rows(tumor: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Facts on sizes; nothing without a lesion."""
    if not tumor["count"]:
        return []
    counts = " / ".join(str(tumor[f"count_over_{limit}_mm"]) for limit in (20, 30, 50))
    names = " and ".join(str(number) for number in tumor["candidate_target_ids"])
    word = "lesions" if len(tumor["candidate_target_ids"]) > 1 else "lesion"
    targets = f"Candidate targets ({word} {names}), sum" if names else "Candidate targets, sum"
    return [
        ("Longest diameter", cell(tumor["largest_diameter_mm"], 1, "mm")),
        ("Lesions longer than 2 / 3 / 5 cm", counts),
        (targets, cell(tumor["candidate_target_sum_mm"], 1, "mm") if names else MISSING),
    ]


def segment_rows(report: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Name, volume and tumors of the segments, a column each; none without a map of them.

    Args:
        report: From `build_report`.
    """
    segments = report["segments"]
    if segments is None:
        return []
    return [
        ("Segment", *(segment["name"] for segment in segments)),
        ("Volume ml", *(cell(segment["volume_ml"], 0) for segment in segments)),
        ("Tumors ml", *(cell(segment["tumor_ml"], 1) for segment in segments)),
    ]


def main_segments(lesion: Mapping[str, Any]) -> list[str]:
    """The segments that hold most of a lesion, such as VIII and V, the largest share first."""
    shares = lesion["couinaud_shares"] or {}
    return [segment_name(key) for key, share in shares.items() if share >= LEAST_SHARE]


def _main_segment(lesion: Mapping[str, Any]) -> str:
    """The first of them, with a plus where there are more."""
    names = main_segments(lesion)
    return f"{names[0]}{'+' * (len(names) > 1)}" if names else MISSING


def segment_name(key: str) -> str:
    """Couinaud's numeral of a segment's number."""
    return SEGMENT_NUMERALS[int(key) - 1]


def with_columns(
    report: Mapping[str, Any], columns: Sequence[str], rows: Sequence[tuple[str, ...]]
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """A table without the columns of segments or vessels where the report has none.

    Args:
        report: From `build_report`.
        columns: All titles.
        rows: Their cells.
    """
    left_out = (
        *(SEGMENT_COLUMNS if report["segments"] is None else ()),
        *(VESSEL_COLUMNS if report["vessel"]["volume_ml"] is None else ()),
    )
    kept = [place for place, title in enumerate(columns) if title not in left_out]
    return tuple(columns[place] for place in kept), [
        tuple(row[place] for place in kept) for row in rows
    ]


def lesion_table(report: Mapping[str, Any]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Titles and cells of the lesions, ready to print.

    Args:
        report: From `build_report`.
    """
    return with_columns(report, TERMINAL_COLUMNS, _lesion_rows(report))


def _lesion_rows(report: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Cells of each lesion in the order of TERMINAL_COLUMNS."""
    return [
        (
            f"{lesion['id']}",
            cell(lesion["volume_ml"], 2),
            cell(lesion["longest_axial_diameter_mm"], 1),
            cell(lesion["perpendicular_diameter_mm"], 1),
            cell(lesion["max_3d_diameter_mm"], 1),
            cell(lesion["capsule_distance_mm"], 1),
            cell(lesion["vessel_distance_mm"], 1),
            _main_segment(lesion),
            f"{lesion['slice_index']}",
            cell(lesion["mean_hu"], 0),
            "".join(FLAG_LETTERS[flag] for flag in lesion["flags"]) or MISSING,
        )
        for lesion in report["lesions"]
    ]


def _csv_cells(entry: Mapping[str, Any]) -> dict[str, Any]:
    cells = dict(entry)
    for name in ("volume_range", "volume_range_scales"):
        low, high = entry[f"{name}_ml"] or (None, None)
        cells[f"{name}_low_ml"], cells[f"{name}_high_ml"] = low, high
    shares = entry["couinaud_shares"]
    if shares is not None:
        cells["couinaud_shares"] = " ".join(f"{name}:{share}" for name, share in shares.items())
    cells["flags"] = " ".join(entry["flags"])
    for letter, value in zip("xyz", entry["centroid_lps_mm"], strict=True):
        cells[f"centroid_{letter}_lps_mm"] = value
    for axis in ("longest", "perpendicular"):
        for number, end in enumerate(entry[f"{axis}_axis_lps_mm"], start=1):
            for letter, value in zip("xyz", end, strict=True):
                cells[f"{axis}_end_{number}_{letter}_lps_mm"] = value
    return cells


def cell(value: float | None, digits: int, unit: str = "") -> str:
    """A number ready to read; MISSING where it does not exist."""
    if value is None:
        return MISSING
    return f"{value:.{digits}f} {unit}".rstrip()
