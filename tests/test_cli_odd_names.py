"""File names with bytes that are no text, which only Linux allows: results name them as text."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from segment_runs import GEOMETRY
from toy_recipe import Patient, write_toy_recipe

from livertumor_cli.cli.app import run
from livertumor_cli.io.dicom_ct import write_ct_series
from livertumor_cli.io.formats import write_volume

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere every path is text")

ODD = os.fsdecode(b"M\xfcller.nii.gz")
SHOWN = "M\\udcfcller.nii.gz"


@pytest.fixture
def options(tmp_path: Path) -> list[str]:
    write_toy_recipe(tmp_path / "toy")
    scan = Patient().scan(GEOMETRY)
    write_volume(tmp_path / "scan.nii.gz", scan)
    (tmp_path / "in").mkdir()
    (tmp_path / "scan.nii.gz").rename(tmp_path / "in" / ODD)
    write_ct_series(tmp_path / os.fsdecode(b"M\xfcller"), scan, seed="odd")
    return ["--recipe", str(tmp_path / "toy"), "--engine", "onnxruntime", "--threads", "1", "-q"]


def test_results_of_odd_names(options: list[str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run(["segment", str(tmp_path / "in" / ODD), "-o", str(out), "--pdf", *options]) == 0
    assert json.loads((out / "report.json").read_text("utf-8"))["input"]["file_name"] == SHOWN
    assert SHOWN in (out / "report.html").read_text("utf-8")
    odd_mask = tmp_path / os.fsdecode(b"mask\xfc.nii.gz")
    odd_mask.write_bytes((out / "mask.nii.gz").read_bytes())
    measured = tmp_path / "measured"
    words = ["measure", str(tmp_path / "in" / ODD), str(odd_mask), "--segments", str(odd_mask)]
    assert run([*words, "-o", str(measured)]) == 0
    report = json.loads((measured / "report.json").read_text("utf-8"))
    shown = "mask\\udcfc.nii.gz"
    assert list(report["recipe"]["files"]) == [shown, f"{shown} (segments)"]
    scores = tmp_path / "scores"
    assert run(["evaluate", str(odd_mask), str(out / "mask.nii.gz"), "-o", str(scores)]) == 0
    assert "mask\\udcfc" in (scores / "cases.csv").read_text("utf-8")


def test_a_dicom_folder_of_an_odd_name(options: list[str], tmp_path: Path) -> None:
    folder, out = tmp_path / os.fsdecode(b"M\xfcller"), tmp_path / "out"
    words = ["segment", str(folder), "-o", str(out), "--dicom", "none", "--keep-identity"]
    assert run([*words, *options]) == 0
    assert json.loads((out / "report.json").read_text("utf-8"))["input"]["file_name"] == (
        "M\\udcfcller"
    )


def test_the_default_folder_beside_an_odd_name_is_refused(
    options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["segment", str(tmp_path / "in" / ODD), *options]) == 6
    out, err = capsys.readouterr()
    assert out == ""
    assert "its name has bytes that are no UTF-8.\nHint: Name a folder" in err
    assert [path.name for path in (tmp_path / "in").iterdir()] == [ODD]
