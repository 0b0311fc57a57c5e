"""`livertumor series`: every series, whether it is taken, and why, in 80 columns and as JSON."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from scans import a_ct, datasets, nifti_image

from livertumor_cli.cli.app import run
from livertumor_cli.io.dicom_ct import write_datasets


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A portal-venous series, a thicker arterial one, a scout, an MR and other files."""
    folder = tmp_path / "study"
    kinds = {
        "portal": {"SeriesNumber": 4, "SeriesDescription": "Abdomen portal", "SliceThickness": 3},
        "arterial": {
            "SeriesNumber": 3,
            "SeriesDescription": "Abdomen arterial, with a name so long that it must be wrapped",
            "ConvolutionKernel": "B30f",
        },
        "scout": {"SeriesNumber": 1, "ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]},
        "mr": {"SeriesNumber": 4, "Modality": "MR"},
    }
    for seed, words in kinds.items():
        write_datasets(folder / "deep" / seed, datasets(a_ct(), seed=seed, **words))
    (folder / "README.txt").write_text("no image", encoding="utf-8")
    (folder / "viewer.exe").write_bytes(b"MZ" + bytes(400))
    return folder


def test_the_table_says_what_is_taken_and_why(study: Path, capsys):
    assert run(["series", str(study)]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    lines = printed.out.splitlines()
    assert max(len(line) for line in lines) < 80
    assert lines[0].split()[:3] == ["Series", "Slices", "Plane"]
    text = " ".join(printed.out.split())
    assert "4 6 axial 0.80 x 0.70 x 2.50 3.00 - portal" in text
    assert "TAKEN: it is the best here" in text
    assert "left out: its phase is arterial, that of another series portal" in text
    assert "left out: it holds only localizers (scouts)" in text
    assert "left out: it holds no CT image (but MR)" in text
    assert "2 files are no DICOM images and were passed over." in text
    # Two series have number 4: only their UIDs tell them apart.
    assert str(datasets(a_ct(), seed="mr")[0].SeriesInstanceUID) in text
    assert str(datasets(a_ct(), seed="arterial")[0].SeriesInstanceUID) not in text


def test_json_has_the_same(study: Path, capsys):
    assert run(["series", str(study), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    portal = str(datasets(a_ct(), seed="portal")[0].SeriesInstanceUID)
    assert document["taken"] == portal
    assert document["not_dicom"] == 2
    rows = {(row["number"], row["modality"]): row for row in document["series"]}
    assert rows[4, "CT"]["taken"] is True
    assert rows[4, "CT"]["coverage_mm"] == 15.5
    assert rows[3, "CT"]["kernel"] == "B30f"
    assert rows[3, "CT"]["phase"] == "arterial"
    assert rows[1, "CT"]["reason"] == "localizer"
    assert rows[4, "MR"]["reason"] == "not_ct"


def test_inspect_takes_the_series_that_is_said(study: Path, capsys):
    assert run(["inspect", str(study), "--json"]) == 0
    portal = str(datasets(a_ct(), seed="portal")[0].SeriesInstanceUID)
    assert json.loads(capsys.readouterr().out)["series_uid"] == portal
    assert run(["inspect", str(study), "--json", "--series", "3"]) == 0
    assert "arterial phase" in json.loads(capsys.readouterr().out)["notes"][0]


def test_a_zip_lists_like_its_folder(study: Path, tmp_path: Path, capsys):
    packed = shutil.make_archive(str(tmp_path / "packed"), "zip", study)
    assert run(["series", str(study)]) == run(["series", packed]) == 0
    printed = capsys.readouterr().out
    half = len(printed) // 2
    assert printed[:half] == printed[half:]


def test_damaged_files_are_named_and_stop_nothing(study: Path, capsys):
    (study / "IM0099.dcm").write_bytes(b"")
    assert run(["series", str(study)]) == 0
    printed = capsys.readouterr().out
    assert "in the way of 'segment': IM0099.dcm is empty." in printed
    assert "refused: IM0099.dcm is empty." in " ".join(printed.split())
    assert "TAKEN" not in printed


def test_several_patients_are_said(study: Path, capsys):
    slices = datasets(a_ct(), seed="other", PatientID="OTHER", SeriesDescription="portal late")
    write_datasets(study / "other", slices)
    assert run(["series", str(study)]) == 0
    assert "CT of 2 patients" in " ".join(capsys.readouterr().out.split())


def test_terminal_codes_of_a_header_are_not_printed(tmp_path: Path, capsys):
    write_datasets(tmp_path, datasets(a_ct(), SeriesDescription="portal\x1b[31m\x07red"))
    assert run(["series", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    assert "\x07" not in printed


@pytest.mark.parametrize("name", ["absent", "empty"])
def test_nothing_to_list_is_a_refusal(tmp_path: Path, capsys, name: str):
    (tmp_path / "empty").mkdir()
    assert run(["series", str(tmp_path / name)]) == 3
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("Error: ")


def test_a_volume_file_is_no_study(tmp_path: Path, capsys):
    (tmp_path / "ct.nii").write_bytes(nifti_image(a_ct()).to_bytes())
    assert run(["series", str(tmp_path / "ct.nii")]) == 3
    assert "livertumor inspect" in capsys.readouterr().err
