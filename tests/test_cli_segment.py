"""`livertumor segment`: what it writes and prints, and that every option counts."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from segment_runs import GEOMETRY, Capture, names
from toy_recipe import Patient, write_toy_recipe

from livertumor_cli import case_files, pipeline, reading, segment_setup
from livertumor_cli.cli.app import run
from livertumor_cli.cli.segment import default_output
from livertumor_cli.errors import NoLiverError
from livertumor_cli.io.formats import write_volume
from livertumor_cli.io.label_maps import read_label_map
from livertumor_cli.report.json_report import load_schema


def test_results_appear_beside_the_scan(
    segment: Callable[..., int], scan: Path, capsys: Capture
) -> None:
    assert segment(scan) == 0
    folder = scan.parent / "scan_livertumor"
    assert names(folder) == case_files.RESULT_FILES
    assert names(scan.parent) == {"scan.nii.gz", "scan_livertumor"}
    mask, lesions = (read_label_map(folder / f"{name}.nii.gz") for name in ("mask", "lesions"))
    assert mask.geometry.is_same_grid(GEOMETRY)
    assert np.array_equal(lesions.labels > 0, mask.labels == 2)
    out, err = capsys.readouterr()
    assert out.splitlines()[-1] == str(folder)
    assert "Tumor burden" in out
    assert max(map(len, out.splitlines()[:-1])) <= 80
    for words in ("Reading the scan", "Finding the liver", "Writing"):
        assert words in err


def test_the_report_is_valid_and_agrees_with_the_masks(
    segment: Callable[..., int], scan: Path, tmp_path: Path
) -> None:
    assert segment(scan, "-o", str(tmp_path / "out")) == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    jsonschema.validate(report, load_schema())
    mask = np.asarray(read_label_map(tmp_path / "out" / "mask.nii.gz").labels)
    assert report["liver"]["volume_ml"] == pytest.approx(
        (mask > 0).sum() * GEOMETRY.voxel_ml, abs=1e-3
    )
    assert report["input"]["shape_zyx"] == list(GEOMETRY.shape)
    assert report["recipe"]["name"] == "toy"
    assert set(report["timings_s"]) == {
        "read",
        "open_networks",
        "find_liver",
        "segment_lesions",
        "back_to_scan",
        "measure",
        "write",
    }
    with (tmp_path / "out" / "lesions.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [float(row["volume_ml"]) for row in rows] == [
        lesion["volume_ml"] for lesion in report["lesions"]
    ]


def test_segments_are_written_where_the_recipe_tells_them(
    segment: Callable[..., int], scan: Path, tmp_path: Path, capsys: Capture
) -> None:
    write_toy_recipe(tmp_path / "toy", segments=True)
    folder = tmp_path / "out"
    assert segment(scan, "-o", str(folder), "--recipe", str(tmp_path / "toy"), "--pdf") == 0
    assert names(folder) == case_files.RESULT_FILES | {"segments.nii.gz", "report.pdf"}
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    jsonschema.validate(report, load_schema())
    segments = read_label_map(folder / "segments.nii.gz")
    mask = read_label_map(folder / "mask.nii.gz")
    assert segments.geometry.is_same_grid(GEOMETRY)
    assert np.array_equal(segments.labels > 0, mask.labels > 0)
    assert [part["volume_ml"] for part in report["segments"]] == [
        pytest.approx((segments.labels == number).sum() * GEOMETRY.voxel_ml, abs=1e-3)
        for number in range(1, 9)
    ]
    out, err = capsys.readouterr()
    assert "Couinaud segments (approximate)" in out
    assert "Telling the liver's segments" in err


def test_json_prints_the_report_and_nothing_else(
    segment: Callable[..., int], scan: Path, capsys: Capture
) -> None:
    assert segment(scan, "--json") == 0
    out, err = capsys.readouterr()
    written = (scan.parent / "scan_livertumor" / "report.json").read_text(encoding="utf-8")
    assert json.loads(out) == json.loads(written)
    assert err == ""


def test_quiet_prints_the_folder_only(
    segment: Callable[..., int], scan: Path, capsys: Capture
) -> None:
    assert segment(scan, "--quiet") == 0
    out, err = capsys.readouterr()
    assert out == f"{scan.parent / 'scan_livertumor'}\n"
    assert err == ""


def test_no_tumor_is_exit_0(segment: Callable[..., int], tmp_path: Path, capsys: Capture) -> None:
    write_volume(tmp_path / "a.nii", Patient(tumor=None, vessel=None).scan(GEOMETRY))
    assert segment(tmp_path / "a.nii") == 0
    assert "No tumor was found." in capsys.readouterr().out
    report = json.loads((tmp_path / "a_livertumor" / "report.json").read_text(encoding="utf-8"))
    jsonschema.validate(report, load_schema())
    assert report["lesions"] == []


def test_scales_change_the_result(segment: Callable[..., int], scan: Path, tmp_path: Path) -> None:
    for name, scales in (("one", "1"), ("three", "0.5,1.0,1.5")):
        assert segment(scan, "--scales", scales, "-o", str(tmp_path / name), "-q") == 0
    one, three = (tmp_path / name / "mask.nii.gz" for name in ("one", "three"))
    assert not np.array_equal(read_label_map(one).labels, read_label_map(three).labels)
    report = json.loads((tmp_path / "three" / "report.json").read_text(encoding="utf-8"))
    assert report["scales"] == [0.5, 1.0, 1.5]


@pytest.mark.parametrize(
    "option",
    [
        ("--recipe", "another"),
        ("--device", "cpu"),
        ("--engine", "openvino"),
        ("--precision", "f32"),
        ("--scales", "0.5,1"),
        ("--threads", "3"),
    ],
    ids=lambda option: option[0],
)
def test_every_network_option_reaches_the_pipeline(
    scan: Path, option: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[segment_setup.SegmentOptions] = []

    def remember(_path: Path, *, options: segment_setup.SegmentOptions, **_more: Any) -> None:
        asked.append(options)
        raise NoLiverError("none.")

    monkeypatch.setattr(pipeline, "segment_case", remember)
    assert run(["segment", str(scan), *option, "-q"]) == 3
    defaults = asdict(segment_setup.SegmentOptions())
    changed = {name for name, value in asdict(asked[0]).items() if value != defaults[name]}
    assert changed == {option[0].removeprefix("--")}


def test_a_recipe_that_is_not_there_is_told_before_the_scan_is_read(
    scan: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def read(*_arguments: object, **_named: object) -> None:
        raise AssertionError("the scan was read")

    monkeypatch.setattr(reading, "read_volume", read)
    assert run(["segment", str(scan), "--recipe", "nowhere", "-q"]) == 4
    assert "nowhere" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("scan_path", "folder"),
    [
        ("/a/scan.nii.gz", "/a/scan_livertumor"),
        ("/a/SCAN.NII", "/a/SCAN_livertumor"),
        ("/a/series", "/a/series_livertumor"),
        ("/a/study.v1.zip", "/a/study.v1_livertumor"),
        ("/", "/_livertumor"),
    ],
)
def test_default_folder_with_the_name_of_the_scan(scan_path: str, folder: str) -> None:
    assert default_output(Path(scan_path), keep_identity=True) == Path(folder)


@pytest.mark.parametrize("name", ["series", "study.v1.zip", "IM0001.dcm", "DICOMDIR", "IM0001"])
def test_default_folder_of_dicom_is_a_number_of_its_own(tmp_path: Path, name: str) -> None:
    folder = default_output(tmp_path / name)
    assert folder.parent == tmp_path
    assert re.fullmatch(r"scan_[0-9a-f]{8}_livertumor", folder.name)
    assert default_output(tmp_path / "x" / ".." / name) == tmp_path / "x" / ".." / folder.name
    assert default_output(tmp_path / f"other_{name}") != folder
    assert default_output(tmp_path / "scan.mha") == tmp_path / "scan_livertumor"


def test_default_folder_of_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "series" / "inner").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "series")
    assert default_output(Path(), keep_identity=True) == tmp_path / "series_livertumor"
    monkeypatch.chdir(tmp_path / "series" / "inner")
    assert default_output(Path(".."), keep_identity=True) == tmp_path / "series_livertumor"
