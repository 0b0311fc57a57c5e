"""The report of one case as a JSON document; `report.schema.json` beside this file describes it."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from importlib.metadata import version
from importlib.resources import files
from typing import Any

from livertumor_cli.anatomy import SEGMENT_NUMERALS
from livertumor_cli.findings import Axis, CaseFindings, Lesion, Surroundings
from livertumor_cli.geometry import Geometry
from livertumor_cli.report.run_record import RunRecord, SegmentsBy
from livertumor_cli.volume import Source

SCHEMA_VERSION = "1.3"
"""Grows by 0.1 when a key is added or may be null from now on, by 1 when a key changes its meaning
or goes."""

DISCLAIMER = "Research use only, not a medical device."

METHOD: dict[str, object] = {
    "lesion_connectivity": 26,
    "end_points": "pixel corners",
    "longest_axial_diameter": (
        "longest distance between two points of one outline in one axial slice, over all slices; "
        "pieces that do not touch in a slice are measured each for itself"
    ),
    "perpendicular_diameter": (
        "longest line at right angles to it in the same slice, within the same outline"
    ),
    "max_3d_diameter": "longest distance between two voxel corners",
    "volume_range": (
        "surface moved half a voxel in and out: half way to the mask without its outermost layer "
        "of voxels, and to the mask with one more (layers by faces)"
    ),
    "volume_range_scales": (
        "smallest and largest volume of what one scale alone calls tumor and what overlaps the "
        "lesion; what overlaps several lesions is divided, each voxel to the nearest"
    ),
    "capsule_distance": "shortest, from lesion surface to liver surface, between voxel corners",
    "vessel_distance": "shortest, from lesion surface to the surface of any labeled vessel",
    "vessel_contact": "area of voxel faces shared with vessels; slanted ones count up to 1.7 times",
    "mean_probability": "mean of the network's tumor probability over the lesion's voxels",
    "below_measurable": "longest axial diameter below 10 mm or below twice the slice distance",
    "borderline": "longest axial diameter within one pixel of 10, 20, 30 or 50 mm",
    "candidate_targets": "the at most two longest measurable lesions; the choice is the reader's",
    "liver_volume": "liver, tumor and vessel labels together",
    "tumor_burden": "tumor volume in percent of the liver volume",
    "reference_tissue": (
        "median inside the aorta and inside the spleen at the levels of the liver, found by shape "
        "and place without a network; null where not found with certainty"
    ),
    "positions": "patient coordinates (left, posterior, superior) in mm",
    "slice_index": "counted from 0 along the stored axis closest to the head-foot direction",
}
"""How the numbers are defined, in every report beside them."""

SEGMENT_METHODS: dict[SegmentsBy, str] = {
    SegmentsBy.NETWORK: (
        "approximate: as a network tells them; its borders may lie many millimeters beside those "
        "that an expert draws along the vessels"
    ),
    SegmentsBy.FILE: "as a file tells them, inside the liver's label",
}
"""Added as `couinaud_segments` where the liver's segments were told."""


def program_identity() -> dict[str, str]:
    """Which program wrote a document, by which its folder is known as a result."""
    return {"name": "livertumor", "version": version("livertumor")}


def build_report(
    findings: CaseFindings, *, source: Source, geometry: Geometry, record: RunRecord
) -> dict[str, Any]:
    """The report of one case: plain dicts, lists, strings, numbers and None.

    Values that do not exist (mean density without a liver) are None, never NaN. Nothing names the
    patient: of the path only a file's name is kept, of a DICOM folder or zip not even that.

    Args:
        findings: The measurements.
        source: Where the scan came from.
        geometry: The scan's grid.
        record: How the result was made.
    """
    return {
        "schema_version": SCHEMA_VERSION,
        "program": program_identity(),
        "disclaimer": DISCLAIMER,
        "input": _input(source, geometry),
        **_run(record),
        "method": {**METHOD, **_segment_method(findings, record)},
        "liver": {
            "volume_ml": _rounded(findings.liver_volume_ml, 3),
            "without_tumor_ml": _rounded(findings.liver_without_tumor_ml, 3),
            "mean_hu": _rounded(findings.liver_mean_hu, 1),
        },
        "tumor": _tumor(findings),
        "vessel": {
            "volume_ml": _rounded(findings.vessel_volume_ml, 3),
            "mean_hu": _rounded(findings.vessel_mean_hu, 1),
        },
        "reference_tissue": {
            "aorta_hu": _rounded(findings.reference.aorta_hu, 1),
            "spleen_hu": _rounded(findings.reference.spleen_hu, 1),
        },
        "segments": _segments(findings),
        "segments_by": None if findings.segments is None else str(record.segments_by),
        "lesions": lesion_entries(findings, source=source),
    }


def lesion_entries(findings: CaseFindings, *, source: Source) -> list[dict[str, Any]]:
    """The `lesions` of the report, one dict per lesion.

    Args:
        findings: The measurements.
        source: Where the scan came from; DICOM sources name the instance of each slice.
    """
    return [
        {
            **_lesion(lesion, _instance_uid(lesion, findings, source)),
            "contrast_to_liver_hu": _rounded(findings.contrast_hu(lesion), 1),
        }
        for lesion in findings.lesions
    ]


def report_text(report: dict[str, Any]) -> str:
    """The report as JSON text, ending with a line break.

    Args:
        report: From `build_report`.

    Raises:
        ValueError: If a number is not finite.
    """
    return json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def load_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of the report, as installed with the program."""
    text = files("livertumor_cli.report").joinpath("report.schema.json").read_text("utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def _input(source: Source, geometry: Geometry) -> dict[str, Any]:
    return {
        "file_name": source.shown_name or None,
        "kind": source.kind,
        "series_uid": source.series_uid or None,
        "shape_zyx": list(geometry.shape),
        "spacing_mm": [_rounded(size, 6) for size in geometry.spacing_mm],
        "affine_lps": [[_rounded(value, 9) for value in row] for row in geometry.affine_lps],
        "axis_codes": geometry.axis_codes(),
        "notes": list(source.notes),
    }


def _run(record: RunRecord) -> dict[str, Any]:
    recipe = record.recipe
    return {
        "recipe": {
            "name": recipe.name,
            "version": recipe.version,
            "title": recipe.title,
            "license": recipe.license,
            "files": dict(recipe.files),
        },
        "device": record.device,
        "engine": record.engine,
        "precision": record.precision,
        "scales": [_rounded(scale, 4) for scale in record.scales],
        "timings_s": {stage: _rounded(time, 3) for stage, time in record.timings_s.items()},
        "peak_memory_mb": _rounded(record.peak_memory_mb, 1),
        "flags": list(record.flags),
    }


def _lesion(lesion: Lesion, instance_uid: str | None) -> dict[str, Any]:
    return {
        "id": lesion.id,
        "volume_ml": _rounded(lesion.volume_ml, 3),
        "longest_axial_diameter_mm": _rounded(lesion.longest_axis.length_mm, 2),
        "perpendicular_diameter_mm": _rounded(lesion.perpendicular_axis.length_mm, 2),
        "slice_index": lesion.slice_index,
        "sop_instance_uid": instance_uid,
        "longest_axis_lps_mm": _ends(lesion.longest_axis),
        "perpendicular_axis_lps_mm": _ends(lesion.perpendicular_axis),
        "max_3d_diameter_mm": _rounded(lesion.max_3d_diameter_mm, 2),
        "centroid_lps_mm": _position(lesion.centroid_lps_mm),
        "mean_hu": _rounded(lesion.mean_hu, 1),
        "sd_hu": _rounded(lesion.density.sd_hu, 1),
        "min_hu": _rounded(lesion.density.min_hu, 1),
        "max_hu": _rounded(lesion.density.max_hu, 1),
        "median_hu": _rounded(lesion.density.median_hu, 1),
        "volume_range_ml": _range(lesion.volume_range_ml),
        "volume_range_scales_ml": _range(lesion.scale_range_ml),
        "equivalent_sphere_diameter_mm": _rounded(lesion.equivalent_sphere_diameter_mm, 2),
        **_surroundings(lesion.surroundings),
        "mean_probability": _rounded(lesion.mean_probability, 3),
        "flags": [str(flag) for flag in lesion.flags],
    }


def _surroundings(surroundings: Surroundings) -> dict[str, Any]:
    shares = surroundings.couinaud_shares
    return {
        "capsule_distance_mm": _rounded(surroundings.capsule_distance_mm, 2),
        "vessel_distance_mm": _rounded(surroundings.vessel_distance_mm, 2),
        "vessel_contact_mm2": _rounded(surroundings.vessel_contact_mm2, 1),
        "couinaud_shares": (
            None
            if shares is None
            else {str(segment): _rounded(part, 3) for segment, part in shares}
        ),
    }


def _segments(findings: CaseFindings) -> list[dict[str, Any]] | None:
    if findings.segments is None:
        return None
    return [
        {
            "number": segment.number,
            "name": SEGMENT_NUMERALS[segment.number - 1],
            "volume_ml": _rounded(segment.volume_ml, 3),
            "tumor_ml": _rounded(segment.tumor_ml, 3),
        }
        for segment in findings.segments
    ]


def _segment_method(findings: CaseFindings, record: RunRecord) -> dict[str, str]:
    if findings.segments is None:
        return {}
    return {"couinaud_segments": SEGMENT_METHODS[record.segments_by]}


def _range(ends: tuple[float, float] | None) -> list[float | None] | None:
    return None if ends is None else [_rounded(end, 3) for end in ends]


def _tumor(findings: CaseFindings) -> dict[str, Any]:
    targets = findings.candidate_targets
    return {
        "volume_ml": _rounded(findings.tumor_volume_ml, 3),
        "burden_percent": _rounded(findings.tumor_burden_percent, 2),
        "count": len(findings.lesions),
        "largest_diameter_mm": _rounded(findings.largest_diameter_mm, 2),
        "count_over_20_mm": findings.count_longer_than(20.0),
        "count_over_30_mm": findings.count_longer_than(30.0),
        "count_over_50_mm": findings.count_longer_than(50.0),
        "candidate_target_ids": [lesion.id for lesion in targets],
        "candidate_target_sum_mm": _rounded(
            sum(lesion.longest_axis.length_mm for lesion in targets), 2
        ),
    }


def _instance_uid(lesion: Lesion, findings: CaseFindings, source: Source) -> str | None:
    """The DICOM instance of the slice the diameters lie in, if the slices are the stored ones."""
    if findings.axial_axis != 0 or lesion.slice_index >= len(source.sop_instance_uids):
        return None
    return source.sop_instance_uids[lesion.slice_index]


def _ends(axis: Axis) -> list[list[float | None]]:
    return [_position(end) for end in axis.ends_lps_mm]


def _position(point: Sequence[float]) -> list[float | None]:
    return [_rounded(value, 2) for value in point]


def _rounded(value: float | None, digits: int) -> float | None:
    if value is None or not math.isfinite(value):
        return None
    return round(float(value), digits) + 0.0  # + 0.0 turns -0.0 into 0.0
