"""The JSON report: complete, valid, finite, and silent about the patient."""

import json
import math
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from report_cases import DICOM, FINDINGS, GEOMETRY, NIFTI, RECORD, SEGMENTED, lesion

from livertumor_cli.findings import CaseFindings
from livertumor_cli.geometry import Geometry
from livertumor_cli.report.json_report import build_report, load_schema, report_text
from livertumor_cli.report.stored_report import report_fault
from livertumor_cli.volume import Source

LESION_KEYS = {
    "id",
    "volume_ml",
    "longest_axial_diameter_mm",
    "perpendicular_diameter_mm",
    "slice_index",
    "sop_instance_uid",
    "longest_axis_lps_mm",
    "perpendicular_axis_lps_mm",
    "max_3d_diameter_mm",
    "centroid_lps_mm",
    *("mean_hu", "sd_hu", "min_hu", "max_hu", "median_hu", "contrast_to_liver_hu"),
    *("volume_range_ml", "volume_range_scales_ml", "equivalent_sphere_diameter_mm"),
    *("capsule_distance_mm", "vessel_distance_mm", "vessel_contact_mm2"),
    *("couinaud_shares", "mean_probability", "flags"),
}
KEYS = {
    "schema_version",
    "program",
    "disclaimer",
    "input",
    "recipe",
    "device",
    "engine",
    "precision",
    "scales",
    "timings_s",
    "peak_memory_mb",
    "flags",
    "method",
    "liver",
    "tumor",
    "vessel",
    "reference_tissue",
    "segments",
    "segments_by",
    "lesions",
}


def report_of(findings=FINDINGS, source=NIFTI, geometry=GEOMETRY, record=RECORD):
    return build_report(findings, source=source, geometry=geometry, record=record)


@pytest.fixture(scope="module")
def validator():
    schema = load_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


NO_LIVER = CaseFindings(0.0, 0.0, 0.0, math.nan, ())


@pytest.mark.parametrize("source", [NIFTI, DICOM, Source(Path(), "memory")])
@pytest.mark.parametrize("findings", [FINDINGS, SEGMENTED, replace(FINDINGS, lesions=()), NO_LIVER])
def test_report_is_valid(validator, findings, source):
    report = json.loads(report_text(report_of(findings, source)))
    validator.validate(report)
    assert set(report) == KEYS
    assert set(report["lesions"][0] if report["lesions"] else LESION_KEYS) == LESION_KEYS


def test_segments_have_names_volumes_and_tumors():
    segments = report_of(SEGMENTED)["segments"]
    assert len(segments) == 8
    assert segments[3] == {"number": 4, "name": "IV", "volume_ml": 200.0, "tumor_ml": 0.0}
    assert segments[7] == {"number": 8, "name": "VIII", "volume_ml": 400.0, "tumor_ml": 0.926}


def test_values_are_rounded_and_in_their_places():
    report = report_of()
    liver = {"volume_ml": 1500.123, "without_tumor_ml": 1485.123, "mean_hu": 110.0}
    assert report["liver"] == liver
    assert report["tumor"] == {
        **{"volume_ml": 15.0, "burden_percent": 1.0, "count": 1, "largest_diameter_mm": 14.14},
        **{f"count_over_{limit}_mm": 0 for limit in (20, 30, 50)},
        **{"candidate_target_ids": [1], "candidate_target_sum_mm": 14.14},
    }
    assert report["vessel"] == {"volume_ml": 20.0, "mean_hu": None}
    assert report["segments"] is None
    (entry,) = report["lesions"]
    assert entry["volume_ml"] == 1.235
    assert entry["longest_axial_diameter_mm"] == 14.14
    assert entry["mean_hu"] == 61.3
    assert entry["contrast_to_liver_hu"] == -48.8
    assert entry["volume_range_ml"] == [1.1, 1.4]
    assert entry["volume_range_scales_ml"] is None
    assert entry["equivalent_sphere_diameter_mm"] == 13.31
    assert (entry["capsule_distance_mm"], entry["vessel_distance_mm"]) == (12.35, None)
    assert entry["couinaud_shares"] == {"8": 0.75, "5": 0.25}
    assert entry["mean_probability"] == 0.876
    assert entry["flags"] == ["touches_border", "borderline"]
    assert entry["longest_axis_lps_mm"] == [[0, 0, 5], [10, 10, 5]]
    assert report["input"]["shape_zyx"] == [5, 8, 9]
    assert report["input"]["spacing_mm"] == [2.5, 0.7, 0.7]
    assert report["input"]["affine_lps"][0] == [0.7, 0, 0, -1]
    assert report["input"]["axis_codes"] == "SPL"
    assert report["timings_s"] == {"read": 0.512, "liver": 3.0}
    assert report["peak_memory_mb"] == 1234.6
    assert report["recipe"]["files"] == {"liver.onnx": "0" * 64}
    assert report["method"]["lesion_connectivity"] == 26
    assert report["disclaimer"] == "Research use only, not a medical device."


def test_vessels_not_labeled_are_null(validator):
    unlabeled = replace(
        lesion(), surroundings=replace(lesion().surroundings, vessel_contact_mm2=None)
    )
    report = report_of(replace(FINDINGS, vessel_volume_ml=None, lesions=(unlabeled,)))
    validator.validate(report)
    assert report["vessel"] == {"volume_ml": None, "mean_hu": None}
    assert report["lesions"][0]["vessel_contact_mm2"] is None
    assert report_fault(report) == ""


def test_no_negative_zero():
    assert "-0.0" not in report_text(report_of()).replace("-0.00", "")


def test_what_does_not_exist_is_null():
    record = replace(RECORD, peak_memory_mb=None)
    report = report_of(replace(FINDINGS, liver_mean_hu=math.nan), record=record)
    assert report["liver"]["mean_hu"] is None
    assert report["peak_memory_mb"] is None
    assert report["lesions"][0]["sop_instance_uid"] is None
    assert "NaN" not in report_text(report)


def test_dicom_instances_are_named_by_slice():
    assert report_of(source=DICOM)["lesions"][0]["sop_instance_uid"] == "1.2.3.3"
    assert report_of(source=DICOM)["input"]["series_uid"] == "1.2.3"


def test_slices_across_the_stored_ones_have_no_instance():
    report = report_of(replace(FINDINGS, axial_axis=1), source=DICOM)
    assert report["lesions"][0]["sop_instance_uid"] is None


@pytest.mark.parametrize("source", [NIFTI, DICOM])
def test_nothing_names_the_patient(source):
    text = report_text(report_of(source=source))
    assert "MUELLER" not in text
    assert "1950" not in text
    assert "archive" not in text


def test_only_a_file_name_is_kept():
    assert report_of()["input"]["file_name"] == "scan.nii.gz"
    assert report_of(source=DICOM)["input"]["file_name"] is None
    for kind in ("dicom", "zip"):
        named = replace(DICOM, kind=kind, path=Path("archive/MUELLER_1950"))
        assert report_of(source=named)["input"]["file_name"] is None
        kept = report_of(source=replace(named, keeps_identity=True))
        assert kept["input"]["file_name"] == "MUELLER_1950"


def test_schema_refuses_unknown_keys_and_nan(validator):
    report = report_of()
    report["lesions"][0]["stage"] = "T2"
    assert not validator.is_valid(report)
    report = report_of()
    report["extra"] = 1
    assert not validator.is_valid(report)
    with pytest.raises(ValueError, match="JSON"):
        report_text({"value": math.nan})


def test_oblique_grid_is_written_in_full():
    affine = np.eye(4)
    affine[:3, :3] = [[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1 / 3]]
    report = report_of(geometry=Geometry((5, 8, 9), affine))
    assert np.allclose(report["input"]["affine_lps"], affine, atol=1e-9)
