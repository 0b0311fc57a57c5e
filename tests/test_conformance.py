"""What an independent validator (dciodvfy of dicom3tools) says about the DICOM that is written."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from derived_cases import ALL, ROTATIONS, make_case
from test_io_dicom_seg import halved, to_enhanced
from toy_recipe import Patient, centered_grid

from livertumor_cli.cli.app import run
from livertumor_cli.io.dicom_ct import write_ct_series
from livertumor_cli.io.formats import write_label_map
from livertumor_cli.volume import LabelMap

DCIODVFY = shutil.which("dciodvfy")

pytestmark = [
    pytest.mark.conformance,
    pytest.mark.skipif(DCIODVFY is None, reason="dciodvfy (Debian: dicom3tools) is not installed"),
]

IDENTITY = {
    "SpecificCharacterSet": "ISO_IR 100",
    "PatientName": "Müller^Jürgen",
    "PatientBirthDate": "19500102",
    "PatientSex": "M",
    "PatientAge": "071Y",
    "StudyDate": "20210304",
    "StudyTime": "101112",
    "AccessionNumber": "A-99",
}


def errors(path: Path) -> list[str]:
    """The validator's lines that begin with Error."""
    assert DCIODVFY is not None
    done = subprocess.run([DCIODVFY, str(path)], capture_output=True, check=False)
    text = (done.stdout + done.stderr).decode("utf-8", errors="replace")
    assert text.strip(), "the validator names at least the kind of object"
    return [line for line in text.splitlines() if line.startswith("Error")]


@pytest.mark.parametrize("rotation", list(ROTATIONS))
def test_derived_objects_have_no_error(tmp_path: Path, rotation: str) -> None:
    make_case(tmp_path, rotation, objects=ALL, **IDENTITY)
    for name in ("segmentation", "measurements", "structures"):
        assert errors(tmp_path / f"{name}.dcm") == []


UNUSUAL = {
    "anonymous": {"PatientName": None, "PatientID": None, "PatientIdentityRemoved": "YES"},
    "empty": {"SpecificCharacterSet": "", "PatientAge": "", "StudyDescription": ""},
}


@pytest.mark.parametrize("kind", ["anonymous", "empty", "enhanced", "resampled"])
def test_objects_of_unusual_sources_have_no_error(tmp_path: Path, kind: str) -> None:
    make_case(
        tmp_path,
        change=to_enhanced if kind == "enhanced" else None,
        resample=halved if kind == "resampled" else None,
        **UNUSUAL.get(kind, IDENTITY),
    )
    for name in ("segmentation", "measurements", "structures"):
        assert errors(tmp_path / f"{name}.dcm") == []


def test_objects_of_a_corrected_mask_have_no_error(tmp_path: Path) -> None:
    geometry = centered_grid((24, 40, 40), spacing_mm=(5, 3, 3))
    write_ct_series(tmp_path / "series", Patient().scan(geometry), seed="corrected")
    mask, out = tmp_path / "mask.nii.gz", tmp_path / "out"
    write_label_map(mask, LabelMap(Patient().truth(geometry), geometry))
    arguments = [str(tmp_path / "series"), str(mask), "-q", "-o", str(out)]
    assert run(["measure", *arguments, "--dicom", "seg,sr,rtstruct"]) == 0
    for name in ("segmentation", "measurements", "structures"):
        assert errors(out / f"{name}.dcm") == []


def test_the_ct_of_the_phantom_has_no_error(tmp_path: Path) -> None:
    scan = Patient().scan(centered_grid((3, 16, 16), spacing_mm=(8, 8, 8)))
    for path in write_ct_series(tmp_path / "series", scan, seed="conformance"):
        assert errors(path) == []
