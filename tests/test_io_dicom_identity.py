"""Derived objects carry patient and study of their source, whatever it is like; nobody else's."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

import pytest
from derived_cases import ALL, SHAPE, grid, make_case
from pydicom.dataset import Dataset
from scans import body_hu, write_series
from test_io_dicom_seg import halved

from livertumor_cli.errors import ConfigError
from livertumor_cli.geometry import Geometry
from livertumor_cli.io.dicom_results import DicomObject, DicomPlan, plan_dicom
from livertumor_cli.io.formats import read_volume, write_volume
from livertumor_cli.volume import Volume

KINDS = ("seg", "sr", "rtstruct")


def issuer() -> Dataset:
    item = Dataset()
    item.PatientID = "other-1"
    item.IssuerOfPatientID = "elsewhere"
    return item


STATED = {
    "SpecificCharacterSet": "ISO_IR 192",
    "PatientName": "Müller-Łukasz^Jürgen",
    "PatientID": "QX-77812",
    "IssuerOfPatientID": "St. Elsewhere",
    "OtherPatientIDsSequence": [issuer()],
    "PatientBirthDate": "19500102",
    "PatientSex": "O",
    "PatientAge": "071Y",
    "PatientWeight": "81.5",
    "StudyDate": "20210304",
    "StudyTime": "101112.5",
    "StudyID": "S7",
    "StudyDescription": "Abdomen, portalvenös",
    "AccessionNumber": "A-99",
    "ReferringPhysicianName": "Größe^Ada",
    "DeidentificationMethod": "none",
}


def test_patient_and_study_are_those_of_the_source(tmp_path: Path) -> None:
    case = make_case(tmp_path, **STATED)
    source = case.slices[0]
    for kind in KINDS:
        derived = case.read(kind)
        for name in STATED:
            assert derived[name].value == source[name].value, (kind, name)
        assert derived.StudyInstanceUID == source.StudyInstanceUID
        assert derived.SeriesInstanceUID != source.SeriesInstanceUID
        assert "livertumor" in derived.SeriesDescription
        if kind != "sr":
            assert derived.FrameOfReferenceUID == source.FrameOfReferenceUID


@pytest.mark.parametrize(
    ("character_set", "name"),
    [
        ("ISO_IR 100", "Müller^Jürgen"),
        ("ISO_IR 144", "Иванов^Иван"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎"),
        ("ISO_IR 6", "Ascii^Only"),
    ],
)
def test_names_keep_their_letters_in_every_character_set(
    tmp_path: Path, character_set: str | list[str], name: str
) -> None:
    case = make_case(tmp_path, SpecificCharacterSet=character_set, PatientName=name)
    for kind in KINDS:
        assert str(case.read(kind).PatientName) == name


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
def test_values_that_break_the_standard_stop_nothing(tmp_path: Path) -> None:
    """Identifiers stay letter by letter, so that archives find the patient; dates are left out."""

    def break_them(slices: list[Dataset]) -> None:
        for one in slices:
            one.add_new("PatientBirthDate", "DA", "1950")
            one.add_new("PatientSex", "CS", "W")
            one.add_new("PatientAge", "AS", "71")
            one.add_new("StudyTime", "TM", "99:99")
            one.add_new("StudyDate", "DA", ["20210304", "20210305"])
            one.add_new("PatientID", "LO", "7" * 70)
            one.add_new("AccessionNumber", "SH", "A" * 20)

    case = make_case(tmp_path, change=break_them)
    for kind in KINDS:
        derived = case.read(kind)
        assert (derived.PatientID, derived.AccessionNumber) == ("7" * 70, "A" * 20)
        for name in ("PatientBirthDate", "PatientSex", "StudyTime", "StudyDate"):
            assert not derived[name].value
        assert "PatientAge" not in derived


@pytest.mark.parametrize(
    "name", ["Zylberstein", "Zylberstein^X^^^^^^", "Zylberstein\\Xaver", "Z" * 80]
)
@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
def test_odd_names_are_kept_and_not_told(
    tmp_path: Path,
    name: str,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Libraries like to warn of names by quoting them."""
    caplog.set_level(logging.DEBUG)

    def give(slices: list[Dataset]) -> None:
        for one in slices:
            one.add_new("PatientName", "PN", name)

    case = make_case(tmp_path, change=give)
    told = caplog.text + "".join(capsys.readouterr())
    for kind in KINDS:
        stated = case.read(kind).PatientName
        assert str(stated) == str(case.slices[0].PatientName)
    assert "Zyl" not in told
    assert "ZZZ" not in told


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
def test_identifiers_that_break_the_standard_are_kept(tmp_path: Path) -> None:
    """Leading zeros and letters in UIDs are old and common mistakes."""
    odd = {"StudyInstanceUID": "1.2.0840.5", "FrameOfReferenceUID": "1.2.x", "StudyID": "A\\B"}

    def give(slices: list[Dataset]) -> None:
        for number, one in enumerate(slices):
            one.add_new("StudyInstanceUID", "UI", odd["StudyInstanceUID"])
            one.add_new("FrameOfReferenceUID", "UI", odd["FrameOfReferenceUID"])
            one.add_new("SeriesInstanceUID", "UI", "1.2.03")
            one.add_new("StudyID", "SH", ["A", "B"])
            one.SOPInstanceUID = one.file_meta.MediaStorageSOPInstanceUID = f"1.2.00{number}"

    for resample in (None, halved):
        case = make_case(tmp_path, change=give, resample=resample)
        for kind in KINDS:
            derived = case.read(kind)
            assert derived.StudyInstanceUID == odd["StudyInstanceUID"]
            assert list(derived.StudyID) == ["A", "B"]


def test_a_forgotten_method_of_deidentification_is_said_to_be_unknown(tmp_path: Path) -> None:
    case = make_case(tmp_path, PatientIdentityRemoved="YES", DeidentificationMethod="")
    for kind in KINDS:
        derived = case.read(kind)
        assert derived.PatientIdentityRemoved == "YES"
        assert derived.DeidentificationMethod == "not stated by the source"


@pytest.mark.parametrize("name", ["PatientName", "PatientID", "StudyDate", "PatientSex"])
def test_absent_attributes_become_empty_ones(tmp_path: Path, name: str) -> None:
    def remove(slices: list[Dataset]) -> None:
        for one in slices:
            delattr(one, name)

    case = make_case(tmp_path, change=remove)
    for kind in KINDS:
        assert not case.read(kind)[name].value


def volume_of(folder: Path, **attributes: Any) -> Volume:
    from scans import datasets

    from livertumor_cli.io.dicom_ct import write_datasets

    write_datasets(folder, datasets(Volume(body_hu(SHAPE), grid()), **attributes))
    return read_volume(folder)


@pytest.mark.parametrize("name", ["StudyInstanceUID", "FrameOfReferenceUID"])
def test_a_series_without_identifiers_is_told_and_refused_if_asked_for(
    tmp_path: Path, name: str
) -> None:
    volume = volume_of(tmp_path / "series", **{name: ""})
    plan = plan_dicom(volume)
    assert plan.series is None
    assert name in plan.note
    with pytest.raises(ConfigError, match=name):
        plan_dicom(volume, objects=(DicomObject.SEG,))


@pytest.mark.parametrize("kind", list(DicomObject))
def test_a_scan_that_is_no_dicom_is_refused_if_asked_for(tmp_path: Path, kind: DicomObject) -> None:
    write_volume(tmp_path / "scan.nii.gz", Volume(body_hu(SHAPE), grid()))
    volume = read_volume(tmp_path / "scan.nii.gz")
    assert plan_dicom(volume) == DicomPlan()
    with pytest.raises(ConfigError, match=r"scan\.nii\.gz is none"):
        plan_dicom(volume, objects=(kind,))


def test_a_series_that_is_gone_is_no_traceback(tmp_path: Path) -> None:
    volume = volume_of(tmp_path / "series")
    (tmp_path / "series" / "slice0003.dcm").unlink()
    with pytest.raises(ConfigError, match="changed"):
        plan_dicom(volume, objects=ALL)
    shutil.rmtree(tmp_path / "series")
    assert "No DICOM results" in plan_dicom(volume).note


def test_what_is_written_by_itself_is_what_was_asked_for(tmp_path: Path) -> None:
    volume = volume_of(tmp_path / "series")
    asked = {
        (): (),
        None: ("seg", "sr"),
        (DicomObject.SR,): ("seg", "sr"),
        (DicomObject.RTSTRUCT, DicomObject.SEG): ("seg", "rtstruct"),
    }
    for objects, planned in asked.items():
        assert plan_dicom(volume, objects=objects).objects == planned


def test_other_series_in_the_folder_are_not_named(tmp_path: Path) -> None:
    other = Volume(body_hu((5, 22, 26)), Geometry((5, 22, 26), grid().affine_lps))
    write_series(tmp_path / "series" / "other", other, seed="other")
    case = make_case(tmp_path, change=lambda slices: None)
    named = {item.ReferencedSOPInstanceUID for item in case.read("seg").SourceImageSequence}
    assert named == {one.SOPInstanceUID for one in case.slices}


def test_a_zip_is_unpacked_for_its_headers(tmp_path: Path) -> None:
    volume_of(tmp_path / "series")
    shutil.make_archive(str(tmp_path / "scan"), "zip", tmp_path / "series")
    volume = read_volume(tmp_path / "scan.zip")
    plan = plan_dicom(volume)
    assert plan.series is not None
    assert plan.series.is_same_grid
    assert plan.series.header.PatientID == "PHANTOM"
