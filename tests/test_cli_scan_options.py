"""`segment --series` and `--resample-irregular`: another scan is read, and the report says so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from scans import datasets
from toy_recipe import Patient, centered_grid

from livertumor_cli.cli.app import run
from livertumor_cli.io.dicom_ct import write_datasets
from livertumor_cli.volume import Volume


@pytest.fixture(scope="module")
def scan() -> Volume:
    return Patient().scan(centered_grid())


def segmented(study: Path, toy: Path, out: Path, *words: str) -> dict[str, object]:
    arguments = ["segment", str(study), "-o", str(out), "--recipe", str(toy), "--json", *words]
    assert run([*arguments, "--device", "cpu"]) == 0
    report: dict[str, object] = json.loads((out / "report.json").read_text(encoding="utf-8"))
    return report


def test_a_series_is_chosen(tmp_path: Path, scan: Volume, toy: Path, capsys):
    study = tmp_path / "study"
    for number, phase in ((3, "arterial"), (4, "portal")):
        slices = datasets(scan, seed=phase, SeriesNumber=number, SeriesDescription=phase)
        write_datasets(study / phase, slices)
    uids = {
        phase: str(datasets(scan, seed=phase)[0].SeriesInstanceUID)
        for phase in ("arterial", "portal")
    }
    report = segmented(study, toy, tmp_path / "a")
    assert report["input"]["series_uid"] == uids["portal"]  # type: ignore[index]
    report = segmented(study, toy, tmp_path / "b", "--series", "3")
    assert report["input"]["series_uid"] == uids["arterial"]  # type: ignore[index]
    assert any("arterial phase" in flag for flag in report["flags"])  # type: ignore[attr-defined]


def test_an_irregular_series_is_refused_or_flagged(tmp_path: Path, scan: Volume, toy: Path, capsys):
    slices = datasets(scan)
    middle = len(slices) // 2
    write_datasets(tmp_path / "ct", slices[:middle] + slices[middle + 1 :])
    assert run(["segment", str(tmp_path / "ct"), "-o", str(tmp_path / "a")]) == 3
    assert "--resample-irregular" in capsys.readouterr().err
    report = segmented(tmp_path / "ct", toy, tmp_path / "b", "--resample-irregular")
    assert any("resampled" in flag for flag in report["flags"])  # type: ignore[attr-defined]
    assert report["input"]["shape_zyx"] == list(scan.hu.shape)  # type: ignore[index]
