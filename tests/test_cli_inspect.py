"""`livertumor inspect`: JSON and table on stdout, refusals as sentence, name and exit code 3."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scans import datasets, nifti_image, write_series

from livertumor_cli.cli.app import run
from livertumor_cli.io.dicom_ct import write_datasets
from livertumor_cli.io.formats import write_volume
from livertumor_cli.volume import Volume


def test_json_states_grid_and_values(tmp_path: Path, ct: Volume, capsys):
    write_series(tmp_path, ct)
    assert run(["inspect", str(tmp_path), "--json"]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    document = json.loads(printed.out)
    assert document["status"] == "ok"
    assert document["reason"] == ""
    assert document["shape_zyx"] == [6, 7, 9]
    assert document["spacing_mm"] == [2.5, 0.8, 0.7]
    assert document["affine_lps"][0] == [0.7, 0.0, 0.0, -120.0]
    assert (document["hu_min"], document["hu_max"]) == (-1000, 1500)
    assert document["hu_mean"] == pytest.approx(ct.hu.mean(), abs=1e-3)
    assert document["series_uid"] == datasets(ct)[0].SeriesInstanceUID
    centroid = ct.geometry.index_to_lps(np.argwhere(ct.hu > -300).astype(float)).mean(axis=0)
    assert document["body_centroid_lps"] == pytest.approx(centroid.tolist(), abs=1e-3)


def test_a_refusal_is_json_sentence_and_exit_code(tmp_path: Path, ct: Volume, capsys):
    image = nifti_image(ct, array=(ct.hu + 1024).astype(np.int16))
    (tmp_path / "ct.nii").write_bytes(image.to_bytes())
    assert run(["inspect", str(tmp_path / "ct.nii"), "--json"]) == 3
    printed = capsys.readouterr()
    document = json.loads(printed.out)
    assert (document["status"], document["reason"]) == ("refused", "not_hu")
    assert printed.err.startswith("Error: The values (24 to 2524) are not Hounsfield units.")
    assert "Hint: " in printed.err


def test_without_json_a_refusal_prints_nothing_on_stdout(tmp_path: Path, capsys):
    assert run(["inspect", str(tmp_path / "absent.nii")]) == 3
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "does not exist" in printed.err


def test_the_table_fits_80_columns(tmp_path: Path, ct: Volume, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    write_datasets(tmp_path, datasets(ct, LossyImageCompression="01"))
    assert run(["inspect", str(tmp_path)]) == 0
    printed = capsys.readouterr()
    assert max(len(line) for line in printed.out.splitlines()) <= 80
    assert "6 x 7 x 9" in printed.out
    assert "toward S, P, L" in printed.out
    assert "-1000 to 1500" in printed.out
    assert "compressed with loss" in printed.err


def test_series_chooses(tmp_path: Path, ct: Volume, capsys):
    for seed in ("arterial", "portal"):
        write_series(tmp_path / seed, ct, seed=seed)
    uid = datasets(ct, seed="portal")[0].SeriesInstanceUID
    assert run(["inspect", str(tmp_path), "--json"]) == 3
    assert json.loads(capsys.readouterr().out)["reason"] == "several_series"
    assert run(["inspect", str(tmp_path), "--json", "--series", uid]) == 0
    assert json.loads(capsys.readouterr().out)["series_uid"] == uid


def test_float_scans_give_finite_json(tmp_path: Path, ct: Volume, capsys):
    write_volume(tmp_path / "ct.nii.gz", Volume(ct.hu.astype(np.float32) + 0.25, ct.geometry))
    assert run(["inspect", str(tmp_path / "ct.nii.gz"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["hu_max"] == 1500.25


def test_help_imports_no_array_library():
    code = (
        "import sys; from livertumor_cli.cli.app import run; run(['inspect', '--help']);"
        "heavy = {'numpy', 'SimpleITK', 'nibabel', 'pydicom'} & set(sys.modules);"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "livertumor inspect" in done.stdout
