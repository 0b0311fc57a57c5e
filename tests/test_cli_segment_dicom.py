"""`livertumor segment` on DICOM: which objects appear, which requests are refused, who is named."""

from __future__ import annotations

import gzip
import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest
from pydicom import dcmread
from segment_runs import GEOMETRY, Capture, assert_refused, names
from toy_recipe import Patient

from livertumor_cli import case_files, pipeline, segment_setup
from livertumor_cli.cli.app import run
from livertumor_cli.io.dicom_ct import ct_datasets, write_ct_series, write_datasets
from livertumor_cli.report.json_report import load_schema

NAME, PATIENT_ID = "Zylberstein^Xaver", "QX-77812"
SEG, SR, RTSTRUCT = "segmentation.dcm", "measurements.dcm", "structures.dcm"


@pytest.fixture
def series(tmp_path: Path) -> Path:
    scan = Patient().scan(GEOMETRY)
    write_ct_series(tmp_path / "series", scan, patient_name=NAME, patient_id=PATIENT_ID, seed="s")
    return tmp_path / "series"


@pytest.mark.parametrize(
    ("asked", "written"),
    [
        ([], {SEG, SR}),
        (["--dicom", "auto"], {SEG, SR}),
        (["--dicom", "none"], set()),
        (["--dicom", "sr"], {SEG, SR}),
        (["--dicom", "rtstruct"], {RTSTRUCT}),
        (["--dicom", "seg,sr,rtstruct"], {SEG, SR, RTSTRUCT}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_objects_of_a_dicom_scan(
    segment: Callable[..., int], series: Path, tmp_path: Path, asked: list[str], written: set[str]
) -> None:
    assert segment(series, "-q", "-o", str(tmp_path / "out"), *asked) == 0
    assert names(tmp_path / "out") == case_files.RESULT_FILES | written
    for name in written:
        dataset = dcmread(tmp_path / "out" / name)
        assert (dataset.PatientName, dataset.PatientID) == (NAME, PATIENT_ID)


def test_seg_type_chooses_how_segments_are_stored(
    segment: Callable[..., int], series: Path, tmp_path: Path
) -> None:
    for kind in ("binary", "labelmap"):
        out = tmp_path / kind
        assert segment(series, "-q", "-o", str(out), "--dicom", "seg", "--seg-type", kind) == 0
        assert dcmread(out / SEG).SegmentationType == kind.upper()


def test_a_scan_that_is_no_dicom_gets_none(segment: Callable[..., int], scan: Path) -> None:
    assert segment(scan, "-q") == 0
    assert names(scan.parent / "scan_livertumor") == case_files.RESULT_FILES


@pytest.mark.parametrize("kind", ["seg", "sr", "rtstruct"])
def test_objects_of_a_scan_that_is_no_dicom_are_refused_before_the_work(
    segment: Callable[..., int],
    scan: Path,
    kind: str,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def work(*_arguments: object, **_named: object) -> None:
        raise AssertionError("the networks were opened")

    monkeypatch.setattr(segment_setup.ChosenNetworks, "open", work)
    assert segment(scan, "-q", "--dicom", kind) == 2
    assert_refused(capsys, "DICOM results need a DICOM scan")
    assert names(scan.parent) == {"scan.nii.gz"}


@pytest.mark.parametrize("value", ["", "seg;sr", "dicom", "seg,none", "SEG"])
def test_other_words_are_usage_errors(
    segment: Callable[..., int], series: Path, value: str, capsys: Capture
) -> None:
    assert segment(series, "--dicom", value) == 2
    assert "--dicom" in capsys.readouterr().err


def test_a_series_that_cannot_be_named_is_segmented_and_flagged(
    segment: Callable[..., int], tmp_path: Path
) -> None:
    slices = ct_datasets(Patient().scan(GEOMETRY), seed="s")
    for one in slices:
        del one.FrameOfReferenceUID
    write_datasets(tmp_path / "series", slices)
    assert segment(tmp_path / "series", "-q", "-o", str(tmp_path / "out")) == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    jsonschema.validate(report, load_schema())
    assert any("FrameOfReferenceUID" in flag for flag in report["flags"])
    assert names(tmp_path / "out") == case_files.RESULT_FILES


WORDS = [PATIENT_ID.lower(), *NAME.lower().split("^")]
"""What tells who the patient is."""


def named_after_the_patient(series: Path, form: str) -> Path:
    """The series as archives export it: folders, zip and files with name and number."""
    name = f"{NAME.replace('^', '_')}_{PATIENT_ID}"
    folder = series.parent / "export" / name / name
    shutil.copytree(series, folder)
    for number, path in enumerate(sorted(folder.iterdir())):
        path.rename(folder / f"{name}.CT.{number:04d}.IMA")
    if form == "zip":
        packed = shutil.make_archive(str(folder.parent), "zip", folder.parent)
        shutil.rmtree(folder.parent)
        return Path(packed)
    return folder.parent


@pytest.mark.parametrize("form", ["folder", "zip"])
def test_the_patient_is_named_in_dicom_objects_and_nowhere_else(
    segment: Callable[..., int],
    series: Path,
    form: str,
    capsys: Capture,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    scan = named_after_the_patient(series, form)
    assert segment(scan, "--dicom", "seg,sr,rtstruct", "--pdf") == 0
    [out] = [path for path in scan.parent.iterdir() if path != scan]
    said = "".join(capsys.readouterr()) + caplog.text + out.name
    assert str(out) in said
    words = WORDS
    for path in (found for found in out.rglob("*") if found.is_file()):
        content = path.read_bytes()
        content = gzip.decompress(content) if path.suffix == ".gz" else content
        told = [word for word in words if word.encode() in content.lower()]
        assert told == (words if path.suffix == ".dcm" else []), path.name
        said += path.name
    assert not [word for word in words if word in said.lower()]


@pytest.mark.parametrize("form", ["folder", "zip"])
def test_the_name_of_the_scan_is_kept_if_asked_for(
    segment: Callable[..., int], series: Path, form: str
) -> None:
    scan = named_after_the_patient(series, form)
    assert segment(scan, "-q", "--keep-identity") == 0
    folder = scan.parent / f"{scan.name.removesuffix('.zip')}_livertumor"
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    jsonschema.validate(report, load_schema())
    assert report["input"]["file_name"] == scan.name


def test_a_second_run_differs_in_uids_and_times_only(
    segment: Callable[..., int], series: Path, tmp_path: Path
) -> None:
    for name in ("one", "two"):
        out = str(tmp_path / name)
        assert segment(series, "-q", "-o", out, "--dicom", "seg,sr,rtstruct") == 0
    for name in (SEG, SR, RTSTRUCT):
        one, two = (dcmread(tmp_path / folder / name) for folder in ("one", "two"))
        differing = {
            first.VR
            for first, second in zip(one.iterall(), two.iterall(), strict=True)
            if first.VR != "SQ" and first.value != second.value
        }
        assert differing <= {"UI", "DA", "TM", "DT"}, name


def test_dicom_options_reach_the_pipeline(scan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[segment_setup.SegmentOptions] = []

    def remember(_path: Path, *, options: segment_setup.SegmentOptions, **_more: object) -> None:
        asked.append(options)
        raise pipeline_stop

    from livertumor_cli.errors import NoLiverError

    pipeline_stop = NoLiverError("none.")
    monkeypatch.setattr(pipeline, "segment_case", remember)
    assert run(["segment", str(scan), "--dicom", "seg", "--seg-type", "labelmap", "-q"]) == 3
    assert (asked[0].dicom, asked[0].seg_type) == (("seg",), "labelmap")
