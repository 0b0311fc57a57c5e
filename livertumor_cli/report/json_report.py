"""The report of one case as a JSON document; `report.schema.json` beside this file describes it."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from importlib.metadata import version
from importlib.resources import files
from typing import Any

from livertumor_cli.findings import Axis, CaseFindings, Lesion
from livertumor_cli.geometry import Geometry
from livertumor_cli.report.run_record import RunRecord
from livertumor_cli.volume import Source

SCHEMA_VERSION = "1.0"
"""Grows by 0.1 when a key is added, by 1 when a key changes its meaning or goes."""

DISCLAIMER = "Research use only, not a medical device."

METHOD: dict[str, object] = {
    "lesion_connectivity": 26,
    "end_points": "pixel corners",
    "longest_axial_diameter": (
        "longest distance between two outline points in one axial slice, over all slices"
    ),
    "perpendicular_diameter": (
        "longest line at right angles to it in the same slice, within the outline"
    ),
    "max_3d_diameter": "longest distance between two voxel corners",
    "liver_volume": "liver, tumor and vessel labels together",
    "tumor_burden": "tumor volume in percent of the liver volume",
    "positions": "patient coordinates (left, posterior, superior) in mm",
    "slice_index": "counted from 0 along the stored axis closest to the head-foot direction",
}
"""How the numbers are defined, in every report beside them."""


def build_report(
    findings: CaseFindings, *, source: Source, geometry: Geometry, record: RunRecord
) -> dict[str, Any]:
    """The report of one case: plain dicts, lists, strings, numbers and None.

    Values that do not exist (mean density without a liver) are None, never NaN. Nothing names the
    patient: of the path only a file's name is kept, of a DICOM folder not even that.

    Args:
        findings: The measurements.
        source: Where the scan came from.
        geometry: The scan's grid.
        record: How the result was made.
    """
    return {
        "schema_version": SCHEMA_VERSION,
        "program": {"name": "livertumor", "version": version("livertumor")},
        "disclaimer": DISCLAIMER,
        "input": _input(source, geometry),
        **_run(record),
        "method": dict(METHOD),
        "liver": {
            "volume_ml": _rounded(findings.liver_volume_ml, 3),
            "mean_hu": _rounded(findings.liver_mean_hu, 1),
        },
        "tumor": {
            "volume_ml": _rounded(findings.tumor_volume_ml, 3),
            "burden_percent": _rounded(findings.tumor_burden_percent, 2),
            "count": len(findings.lesions),
        },
        "vessel": {"volume_ml": _rounded(findings.vessel_volume_ml, 3)},
        "lesions": lesion_entries(findings, source=source),
    }


def lesion_entries(findings: CaseFindings, *, source: Source) -> list[dict[str, Any]]:
    """The `lesions` of the report, one dict per lesion.

    Args:
        findings: The measurements.
        source: Where the scan came from; DICOM sources name the instance of each slice.
    """
    return [_lesion(lesion, _instance_uid(lesion, findings, source)) for lesion in findings.lesions]


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
    # Archives export DICOM into folders named after the patient; the series UID identifies them.
    name = "" if source.kind == "dicom" else source.path.name
    return {
        "file_name": name or None,
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
