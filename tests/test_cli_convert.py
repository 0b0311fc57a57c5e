"""`livertumor convert`: the volume as read, on its own grid, read back before the command ends."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from scans import a_ct, assert_same_patient, datasets, nifti_image, write_series

from livertumor_cli.cli.app import run
from livertumor_cli.io import formats
from livertumor_cli.io.dicom_ct import write_datasets
from livertumor_cli.io.formats import read_volume
from livertumor_cli.volume import Volume


@pytest.mark.parametrize("name", ["out.nii.gz", "deep/folder/out.nii", "OUT.NII.GZ", "Out.Nii.Gz"])
def test_a_series_becomes_a_file_of_the_same_place(tmp_path: Path, ct: Volume, capsys, name: str):
    write_series(tmp_path / "ct", ct)
    assert run(["convert", str(tmp_path / "ct"), str(tmp_path / name)]) == 0
    assert capsys.readouterr().out == f"{tmp_path / name}\n"
    assert_same_patient(read_volume(tmp_path / name), ct, tolerance_mm=0.01)
    is_compressed = (tmp_path / name).read_bytes().startswith(b"\x1f\x8b")
    assert is_compressed == name.lower().endswith(".gz")


def test_series_and_resampling_are_options(tmp_path: Path, ct: Volume, capsys):
    write_series(tmp_path / "ct" / "whole", ct)
    gap = datasets(a_ct(), seed="gap", SeriesNumber=9)
    write_datasets(tmp_path / "ct" / "gap", gap[:2] + gap[3:])
    out = tmp_path / "out.nii"
    words = ["convert", str(tmp_path / "ct"), str(out), "--series", "9"]
    assert run(words) == 3
    assert not out.exists()
    assert run([*words, "--resample-irregular"]) == 0
    assert "resampled" in capsys.readouterr().err
    assert read_volume(out).geometry.is_same_grid(ct.geometry, tolerance_mm=0.01)


def test_a_float_scan_stays_exact(tmp_path: Path, ct: Volume):
    image = nifti_image(ct, array=ct.hu.astype(np.float32) + 0.25)
    (tmp_path / "ct.nii").write_bytes(image.to_bytes())
    assert run(["convert", str(tmp_path / "ct.nii"), str(tmp_path / "out.nii.gz")]) == 0
    assert np.array_equal(read_volume(tmp_path / "out.nii.gz").hu, ct.hu + np.float32(0.25))


def test_an_older_file_stays_unless_it_may_go(tmp_path: Path, ct: Volume, capsys):
    write_series(tmp_path / "ct", ct)
    out = tmp_path / "out.nii"
    out.write_text("older", encoding="utf-8")
    assert run(["convert", str(tmp_path / "ct"), str(out)]) == 6
    assert out.read_text(encoding="utf-8") == "older"
    assert "--overwrite" in capsys.readouterr().err
    assert run(["convert", str(tmp_path / "ct"), str(out), "--overwrite"]) == 0
    assert_same_patient(read_volume(out), ct, tolerance_mm=0.01)


def test_another_suffix_is_a_usage_error(tmp_path: Path, ct: Volume):
    write_series(tmp_path / "ct", ct)
    assert run(["convert", str(tmp_path / "ct"), str(tmp_path / "out.mha")]) == 2


def test_a_file_that_reads_back_otherwise_is_removed(tmp_path: Path, ct: Volume, monkeypatch):
    write_series(tmp_path / "ct", ct)
    other = Volume(ct.hu[:, ::-1].copy(), ct.geometry)
    monkeypatch.setattr(formats, "write_volume", lambda path, _: _write(path, other))
    assert run(["convert", str(tmp_path / "ct"), str(tmp_path / "out.nii")]) == 6
    assert not (tmp_path / "out.nii").exists()


_write = formats.write_volume


def test_the_scan_itself_is_never_replaced(tmp_path: Path, ct: Volume, capsys):
    scan = tmp_path / "ct.nii"
    scan.write_bytes(nifti_image(ct).to_bytes())
    before = scan.read_bytes()
    assert run(["convert", str(scan), str(scan), "--overwrite"]) == 6
    assert "is the scan itself" in capsys.readouterr().err
    assert scan.read_bytes() == before


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere every path is text")
def test_paths_that_are_no_text_are_refused_in_a_sentence(tmp_path: Path, ct: Volume, capsys):
    scan = tmp_path / "ct.nii"
    scan.write_bytes(nifti_image(ct).to_bytes())
    odd = tmp_path / os.fsdecode(b"M\xfcller.nii")
    assert run(["convert", str(scan), str(odd)]) == 6
    assert "no UTF-8" in capsys.readouterr().err
    assert not odd.exists()
    odd.with_suffix(".mha").write_bytes(b"NDims = 3\n")
    assert run(["inspect", str(odd.with_suffix(".mha"))]) == 3
    assert "no UTF-8" in capsys.readouterr().err
