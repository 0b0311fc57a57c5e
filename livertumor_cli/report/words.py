"""The report in words: what the page for the browser and the page for the printer both say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from livertumor_cli.report.run_record import SegmentsBy
from livertumor_cli.report.tables import (
    MISSING,
    cell,
    main_segments,
    segment_name,
    with_columns,
)

FLAG_WORDS = {
    "below_measurable": "below measurable",
    "touches_border": "at scan border",
    "borderline": "borderline",
}

TABLE_COLUMNS: tuple[str, ...] = (
    "Lesion",
    "Longest × perp. mm",
    "3D mm",
    "Volume ml (range)",
    "Slice",
    "HU",
    "To liver HU",
    "To capsule mm",
    "To vessel mm",
    "Segment",
    "Prob.",
    "Flags",
)

ORIENTATION = (
    "R, L, A, P, S, I: the patient's right, left, front, back, head and feet. Axial pictures are "
    "seen from the feet. Green: liver. Orange: tumor. Blue: vessels."
)

SEGMENT_NOTES = {
    SegmentsBy.NETWORK: (
        "Told by a network: borders may lie many millimeters beside those that an expert draws "
        "along the vessels. No basis for planning a resection."
    ),
    SegmentsBy.FILE: "As the file tells them, inside the liver's label. Nothing was checked here.",
}
"""By `segments_by` of the report."""

LESION_CAPTION = (
    "For each lesion the slice of its longest axial diameter: left as it is, right with its "
    "outline (just outside it), the longest diameter (yellow) and the perpendicular (white). "
    "Window -75 to 175 HU. Slices count from 0 in the stored order."
)


def lesion_caption(shown: int, *, count: int) -> str:
    """What stands above the pictures of lesions.

    Args:
        shown: How many lesions have a picture.
        count: How many there are.
    """
    if shown == count:
        return LESION_CAPTION
    return f"{LESION_CAPTION} Only the {shown} largest of {count} lesions have a picture."


def lesion_table(report: Mapping[str, Any]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Titles and cells of the lesions.

    Args:
        report: From `build_report`.
    """
    return with_columns(report, TABLE_COLUMNS, _table_rows(report))


def _table_rows(report: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Cells of each lesion in the order of TABLE_COLUMNS."""
    return [
        (
            str(lesion["id"]),
            diameters(lesion).removesuffix(" mm"),
            cell(lesion["max_3d_diameter_mm"], 1),
            volume(lesion).replace(" ml", ""),
            str(lesion["slice_index"]),
            cell(lesion["mean_hu"], 0),
            cell(lesion["contrast_to_liver_hu"], 0),
            cell(lesion["capsule_distance_mm"], 1),
            cell(lesion["vessel_distance_mm"], 1),
            "/".join(main_segments(lesion)) or MISSING,
            cell(lesion["mean_probability"], 2),
            ", ".join(FLAG_WORDS[flag] for flag in lesion["flags"]),
        )
        for lesion in report["lesions"]
    ]


def diameters(lesion: Mapping[str, Any]) -> str:
    """Both axial diameters, such as "34.2 × 22.1 mm"."""
    longest, perpendicular = (
        cell(lesion[f"{name}_diameter_mm"], 1) for name in ("longest_axial", "perpendicular")
    )
    return f"{longest} × {perpendicular} mm"


def volume(lesion: Mapping[str, Any]) -> str:
    """Volume with its range, such as "12.3 ml (11.0 to 13.6)"."""
    digits = 1 if lesion["volume_ml"] >= 10 else 2 if lesion["volume_ml"] >= 0.1 else 3
    text = cell(lesion["volume_ml"], digits, "ml")
    if lesion["volume_range_ml"] is None:
        return text
    low, high = (cell(end, digits) for end in lesion["volume_range_ml"])
    return f"{text} ({low} to {high})"


def lesion_facts(lesion: Mapping[str, Any], *, segments_by: str | None) -> list[tuple[str, str]]:
    """Name and value of what stands beside a lesion's picture.

    Args:
        lesion: One of the report's.
        segments_by: The report's.
    """
    is_approximate = segments_by == SegmentsBy.NETWORK
    # A run is one network at one scale.
    runs = lesion["volume_range_scales_ml"]
    facts = [
        ("Slice", f"{lesion['slice_index']}, at {_height(lesion)}"),
        ("Volume", volume(lesion)),
        ("Volume of single runs", "" if runs is None else f"{runs[0]:.2f} to {runs[1]:.2f} ml"),
        ("Maximum 3D", cell(lesion["max_3d_diameter_mm"], 1, "mm")),
        ("Equal sphere", cell(lesion["equivalent_sphere_diameter_mm"], 1, "mm")),
        ("Density", f"{cell(lesion['mean_hu'], 0)} ± {cell(lesion['sd_hu'], 0)} HU"),
        ("To the liver", cell(lesion["contrast_to_liver_hu"], 0, "HU")),
        ("Capsule", _distance(lesion["capsule_distance_mm"])),
        ("Nearest vessel", _vessel(lesion)),
        (
            "Segments (approximate)" if is_approximate else "Segments",
            _segments(lesion["couinaud_shares"]),
        ),
        ("Mean probability", cell(lesion["mean_probability"], 2)),
    ]
    return [(name, text) for name, text in facts if text not in ("", MISSING)]


def _height(lesion: Mapping[str, Any]) -> str:
    """Where the slice lies, as viewers name it: S above the scanner's zero, I below."""
    height_mm = lesion["longest_axis_lps_mm"][0][2]
    return f"{'I' if height_mm < 0 else 'S'} {abs(height_mm):.1f} mm"


def _distance(distance_mm: float | None) -> str:
    if distance_mm is None:
        return MISSING
    return "touches" if distance_mm == 0 else f"{distance_mm:.1f} mm away"


def _vessel(lesion: Mapping[str, Any]) -> str:
    contact = lesion["vessel_contact_mm2"]
    if contact:
        return f"touches, {contact:.0f} mm²"
    return _distance(lesion["vessel_distance_mm"])


def _segments(shares: Mapping[str, float] | None) -> str:
    if not shares:
        return ""
    percents = {segment_name(key): f"{100 * share:.0f}" for key, share in shares.items()}
    return ", ".join(f"{name} ({text} %)" for name, text in percents.items() if text != "0")


def origin_rows(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What was measured, by what, and on what terms.

    Args:
        report: From `build_report`.
    """
    scan, recipe, program = report["input"], report["recipe"], report["program"]
    rows = [
        ("Scan", scan["file_name"] or ""),
        ("Series", scan["series_uid"] or ""),
        ("Voxels", voxels(scan)),
        ("Program", f"{program['name']} {program['version']}"),
        ("Model", " ".join(part for part in (recipe["name"], recipe["version"]) if part)),
        ("", recipe["title"]),
        ("License of the weights", recipe["license"]),
        (
            "Run on",
            ", ".join(report[key] for key in ("device", "engine", "precision") if report[key]),
        ),
        ("Scales", ", ".join(f"{scale:g}" for scale in report["scales"])),
        *((f"SHA-256 of {name}", digest) for name, digest in recipe["files"].items()),
    ]
    return [(name, text) for name, text in rows if text]


def voxels(scan: Mapping[str, Any]) -> str:
    """How many voxels of which size, such as "512 × 512 × 90 of 0.7 × 0.7 × 2.5 mm".

    Args:
        scan: The `input` of a report.
    """
    z, y, x = scan["shape_zyx"]
    depth, height, width = scan["spacing_mm"]
    return f"{x} × {y} × {z} of {width:.3g} × {height:.3g} × {depth:.3g} mm"


def method_rows(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The definitions of the report, with readable names."""
    return [
        (name.replace("_", " ").capitalize().replace(" 3d ", " 3D "), str(text))
        for name, text in report["method"].items()
    ]
