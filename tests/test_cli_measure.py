"""`livertumor measure`: the report of a mask from a file."""

import hashlib
import json

import jsonschema
import numpy as np
import pytest
from pydicom import dcmread
from segment_runs import GEOMETRY, assert_refused, names
from toy_recipe import Patient

from livertumor_cli.case_files import RESULT_FILES, SEGMENTS
from livertumor_cli.cli.app import run
from livertumor_cli.geometry import Geometry
from livertumor_cli.io.dicom_ct import write_ct_series
from livertumor_cli.io.dicom_results import DICOM_FILES
from livertumor_cli.io.formats import write_label_map
from livertumor_cli.report.json_report import load_schema
from livertumor_cli.volume import LabelMap


@pytest.fixture
def mask(tmp_path):
    path = tmp_path / "corrected.nii.gz"
    write_label_map(path, LabelMap(Patient().truth(GEOMETRY), GEOMETRY))
    return path


NO_SEGMENTS = ("--segments", "none")


def report_in(folder):
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    jsonschema.validate(report, load_schema())
    return report


def test_results_appear_beside_the_mask(scan, mask, capsys):
    assert run(["measure", str(scan), str(mask), *NO_SEGMENTS]) == 0
    folder = mask.parent / "corrected_measured"
    assert names(folder) == RESULT_FILES
    out, err = capsys.readouterr()
    assert out.splitlines()[-1] == str(folder)
    assert "Measuring" in err
    report = report_in(folder)
    truth = Patient().truth(GEOMETRY)
    assert report["tumor"]["count"] == 1
    assert report["lesions"][0]["volume_ml"] == pytest.approx(
        (truth == 2).sum() * GEOMETRY.voxel_ml, abs=1e-3
    )
    assert report["lesions"][0]["mean_probability"] is None
    assert report["recipe"]["files"] == {mask.name: hashlib.sha256(mask.read_bytes()).hexdigest()}
    assert report["flags"][0] == "The labels come from a file; no network ran."
    keys = ("device", "engine", "precision", "scales", "segments", "segments_by")
    assert [report[key] for key in keys] == ["", "", "", [], None, None]
    assert report["recipe"]["title"] == "Labels read from a file"


def test_what_was_segmented_measures_the_same(segment, scan, tmp_path, capsys):
    assert segment(scan, "-o", str(tmp_path / "one"), "-q") == 0
    mask = tmp_path / "one" / "mask.nii.gz"
    two = ["-o", str(tmp_path / "two"), "-q", *NO_SEGMENTS]
    assert run(["measure", str(scan), str(mask), *two]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(tmp_path / "two")
    one, two = (report_in(tmp_path / name) for name in ("one", "two"))
    assert set(one) == set(two)
    for lesion in (one["lesions"][0], two["lesions"][0]):
        lesion.pop("mean_probability")
    for key in ("liver", "tumor", "vessel", "lesions", "input", "method"):
        assert one[key] == two[key]


def test_a_mask_without_vessels_tells_nothing_of_them(scan, tmp_path, capsys):
    labels = Patient(vessel=None).truth(GEOMETRY)
    write_label_map(tmp_path / "tumors.nii.gz", LabelMap(labels, GEOMETRY))
    assert run(["measure", str(scan), str(tmp_path / "tumors.nii.gz"), *NO_SEGMENTS]) == 0
    report = report_in(tmp_path / "tumors_measured")
    assert report["vessel"] == {"volume_ml": None, "mean_hu": None}
    (lesion,) = report["lesions"]
    assert (lesion["vessel_distance_mm"], lesion["vessel_contact_mm2"]) == (None, None)
    assert capsys.readouterr().out.count("not labeled") == 1


def test_a_series_and_json(tmp_path, mask, capsys):
    write_ct_series(tmp_path / "series", Patient().scan(GEOMETRY), seed="toy")
    target = tmp_path / "out"
    arguments = ["measure", str(tmp_path / "series"), str(mask), "-o", str(target), "--json"]
    assert run([*arguments, *NO_SEGMENTS]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == report_in(target)
    assert err == ""
    assert names(target) == RESULT_FILES
    assert json.loads(out)["lesions"][0]["sop_instance_uid"]


def test_dicom_objects_of_a_corrected_mask(tmp_path, mask, capsys):
    write_ct_series(tmp_path / "series", Patient().scan(GEOMETRY), seed="toy")
    target = tmp_path / "out"
    arguments = ["measure", str(tmp_path / "series"), str(mask), "-q", "-o", str(target)]
    assert run([*arguments, "--dicom", "seg,sr,rtstruct"]) == 0
    assert names(target) == RESULT_FILES | {SEGMENTS} | set(DICOM_FILES.values())
    seg, sr, structures = (dcmread(target / name) for name in DICOM_FILES.values())
    first = dcmread(tmp_path / "series" / "slice0001.dcm")
    assert {one.PatientID for one in (seg, sr, structures)} == {first.PatientID}
    assert {one.SegmentAlgorithmType for one in seg.SegmentSequence} == {"SEMIAUTOMATIC"}
    [family] = (
        seg.SegmentSequence[0]
        .SegmentationAlgorithmIdentificationSequence[0]
        .AlgorithmFamilyCodeSequence
    )
    assert family.CodeMeaning == "Manual Processing"
    generated = {one.ROIGenerationAlgorithm for one in structures.StructureSetROISequence}
    assert generated == {"SEMIAUTOMATIC"}
    # The SEG reads back as the mask that it was made of.
    again = ["measure", str(tmp_path / "series"), str(target / "segmentation.dcm"), "--json"]
    # By default a network tells the segments; it draws none of the labels.
    capsys.readouterr()
    assert run([*again, "-o", str(tmp_path / "again")]) == 0
    assert json.loads(capsys.readouterr().out)["lesions"] == report_in(target)["lesions"]


def test_a_folder_named_after_the_patient_is_told_if_asked_for(tmp_path, mask):
    write_ct_series(tmp_path / "Zylberstein_Xaver", Patient().scan(GEOMETRY), seed="toy")
    arguments = ["measure", str(tmp_path / "Zylberstein_Xaver"), str(mask), "-q", *NO_SEGMENTS]
    assert run([*arguments, "-o", str(tmp_path / "one")]) == 0
    assert run([*arguments, "-o", str(tmp_path / "two"), "--keep-identity"]) == 0
    assert report_in(tmp_path / "one")["input"]["file_name"] is None
    assert report_in(tmp_path / "two")["input"]["file_name"] == "Zylberstein_Xaver"


def test_auto_means_seg_and_sr(tmp_path, mask):
    write_ct_series(tmp_path / "series", Patient().scan(GEOMETRY), seed="toy")
    target = tmp_path / "out"
    arguments = ["measure", str(tmp_path / "series"), str(mask), "-q", "-o", str(target)]
    assert run([*arguments, "--dicom", "auto", "--seg-type", "labelmap"]) == 0
    written = RESULT_FILES | {SEGMENTS, "segmentation.dcm", "measurements.dcm"}
    assert names(target) == written
    assert dcmread(target / "segmentation.dcm").SegmentationType == "LABELMAP"


def test_dicom_objects_of_a_scan_that_is_no_dicom_are_refused(scan, mask, capsys):
    assert run(["measure", str(scan), str(mask), "--dicom", "seg"]) == 2
    assert_refused(capsys, "DICOM results need a DICOM scan")
    assert run(["measure", str(scan), str(mask), "--dicom", "auto", "-q"]) == 0


def test_pdf_on_request(scan, mask, tmp_path):
    target = tmp_path / "out"
    assert (
        run(["measure", str(scan), str(mask), "-o", str(target), "--pdf", "-q", *NO_SEGMENTS]) == 0
    )
    assert names(target) == RESULT_FILES | {"report.pdf"}
    assert (target / "report.pdf").read_bytes().startswith(b"%PDF-")


def test_another_grid_is_refused(scan, tmp_path, capsys):
    geometry = Geometry.from_spacing((10, 10, 10), spacing_mm=(3.0, 2.5, 2.5))
    other = tmp_path / "other.nii.gz"
    write_label_map(other, LabelMap(np.ones((10, 10, 10), np.uint8), geometry))
    assert run(["measure", str(scan), str(other)]) == 3
    assert_refused(capsys, "different grids")
    assert not (tmp_path / "other_measured").exists()


def test_an_earlier_result_is_kept(scan, mask, tmp_path, capsys):
    arguments = ["measure", str(scan), str(mask), "-o", str(tmp_path / "out"), "-q", *NO_SEGMENTS]
    assert run(arguments) == 0
    capsys.readouterr()
    assert run(arguments) == 6
    assert_refused(capsys, "exists already")
    assert run([*arguments, "--overwrite"]) == 0


def test_options_reach_the_reader(scan, mask, capsys):
    assert run(["measure", str(scan), str(mask), "--series", "1", "-q"]) == 2
    assert "no DICOM" in capsys.readouterr().err
