"""Cases in a folder: volume files, zips, and DICOM studies wherever their files lie."""

from __future__ import annotations

import hashlib
import math
import os
import sys
import warnings
import zipfile
from collections import Counter
from pathlib import Path

import pydicom
import pytest
from batch_runs import report_of, rows_of, run_batch, write_scan
from scans import a_ct, datasets, write_series
from segment_runs import GEOMETRY
from toy_recipe import Ball, Patient

from livertumor_cli.batch.case import has_changed, input_hash
from livertumor_cli.batch.discovery import Found, find_cases
from livertumor_cli.batch.events import Outcome
from livertumor_cli.batch.look import Looker
from livertumor_cli.io.dicom_ct import write_ct_series, write_datasets
from livertumor_cli.io.formats import write_volume


def find(folder: Path, **more: Path) -> Found:
    return find_cases(folder, looker=Looker(), **more)


def sources(found: Found) -> list[str]:
    return [case.source for case in found.cases]


def test_nested_patients_and_studies(tmp_path: Path) -> None:
    """As archives export them: patient, study, series."""
    ct = a_ct()
    for patient in ("p1", "p2"):
        for study in ("s1", "s2"):
            seed = f"{patient}{study}"
            write_series(tmp_path / patient / study / "series1", ct, seed=seed)
    (tmp_path / "p1" / "README.txt").write_text("disc", encoding="utf-8")
    found = find(tmp_path)
    expected = [f"{patient}/{study}/series1" for patient in ("p1", "p2") for study in ("s1", "s2")]
    assert sources(found) == expected
    assert all(len(case.files) == ct.hu.shape[0] for case in found.cases)
    assert len({case.study_uid for case in found.cases}) == 4
    assert found.ignored == 1


def test_a_study_in_several_folders_is_one_case(tmp_path: Path) -> None:
    slices = datasets(a_ct())
    write_datasets(tmp_path / "study" / "se1", slices[:3])
    write_datasets(tmp_path / "study" / "se2", slices[3:])
    [case] = find(tmp_path).cases
    assert case.source == "study"
    assert len(case.files) == len(slices)


def test_studies_in_one_folder_are_several_cases(tmp_path: Path) -> None:
    for seed in ("a", "b"):
        for number, dataset in enumerate(datasets(a_ct(), seed=seed)):
            dataset.save_as(tmp_path / f"{seed}{number}.dcm", enforce_file_format=True)
    found = find(tmp_path)
    assert sources(found) == [tmp_path.name] * 2
    assert {path.name[0] for path in found.cases[0].files} in ({"a"}, {"b"})
    assert not set(found.cases[0].files) & set(found.cases[1].files)


def test_studies_in_one_folder_are_segmented_apart(toy: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    patients = (Patient(tumor=None, vessel=None), Patient())
    for seed, patient in zip("ab", patients, strict=True):
        write_ct_series(tmp_path / seed, patient.scan(GEOMETRY), seed=seed)
        folder.mkdir(exist_ok=True)
        for path in (tmp_path / seed).iterdir():
            path.rename(folder / f"{seed}{path.name}")
    recorder, plan = run_batch(folder, tmp_path / "out", toy)
    assert recorder.failures == {}
    ends = [event.lesions for event in recorder.events if hasattr(event, "lesions")]
    assert sorted(ends) == [0, 1]
    for path in (tmp_path / "out").glob("case-*"):
        assert {"segmentation.dcm", "measurements.dcm"} <= {file.name for file in path.iterdir()}
    assert len(plan.cases) == 2


def test_files_of_every_kind(tmp_path: Path) -> None:
    for name in ("a.nii", "b.nii.gz", "c.mha", "d.nrrd"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "e.zip").write_bytes(b"PK")
    for name in ("pair.hdr", "pair.img", "alone.img", "f.png", "g.raw", "h.docx", "Thumbs.db"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "._a.nii").write_bytes(b"macOS")
    (tmp_path / ".hidden").mkdir()
    write_scan(tmp_path / ".hidden" / "scan.nii.gz")
    found = find(tmp_path)
    assert sources(found) == [
        *("a.nii", "alone.img", "b.nii.gz", "c.mha", "d.nrrd", "e.zip", "pair.hdr")
    ]
    assert found.ignored == 5


def test_detached_voxels_belong_to_their_header(tmp_path: Path) -> None:
    header = "NDims = 3\nDimSize = 2 2 2\nElementDataFile = voxels.raw\n"
    (tmp_path / "a.mhd").write_text(header, encoding="ascii")
    (tmp_path / "voxels.raw").write_bytes(b"12345678")
    [case] = find(tmp_path).cases
    assert [path.name for path in case.files] == ["a.mhd", "voxels.raw"]
    before = input_hash(case)
    (tmp_path / "voxels.raw").write_bytes(b"87654321")
    assert input_hash(case) != before


def test_a_study_without_ct_is_counted(tmp_path: Path) -> None:
    mr = "1.2.840.10008.5.1.4.1.1.4"
    slices = datasets(a_ct(), Modality="MR", SOPClassUID=mr)
    for dataset in slices:
        dataset.file_meta.MediaStorageSOPClassUID = mr
    write_datasets(tmp_path / "mr", slices)
    write_series(tmp_path / "ct", a_ct(), seed="ct")
    found = find(tmp_path)
    assert sources(found) == ["ct"]
    assert found.without_ct == 1


def test_a_damaged_slice_goes_to_the_study_beside_it(toy: Path, tmp_path: Path) -> None:
    """It may be the last slice: without it the scan would be read, and be too short."""
    paths = write_series(tmp_path / "in" / "p1", a_ct(), seed="1")
    write_series(tmp_path / "in" / "p2", a_ct(), seed="2")
    paths[-1].write_bytes(b"")
    found = find(tmp_path / "in")
    assert sources(found) == ["p1", "p2"]
    assert len(found.cases[0].files) == len(found.cases[1].files) == len(paths)
    recorder, _ = run_batch(tmp_path / "in", tmp_path / "out", toy)
    assert recorder.failures["p1"] == "truncated"
    assert recorder.failures["p2"] != "truncated"  # read, and refused as it shows no liver


def test_a_damaged_file_among_several_studies_stops_none_and_flags_all(
    toy: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for seed in ("a", "b"):
        write_ct_series(tmp_path / seed, Patient().scan(GEOMETRY), seed=seed)
        for path in (tmp_path / seed).iterdir():
            path.rename(folder / f"{seed}{path.name}")
    (folder / "c0001.dcm").write_bytes(b"")
    found = find(folder)
    assert len(found.cases) == 3
    flagged = [case for case in found.cases if case.notes]
    assert len(flagged) == 2
    [alone] = [case for case in found.cases if not case.notes]
    assert [path.name for path in alone.files] == ["c0001.dcm"]
    recorder, _ = run_batch(folder, tmp_path / "out", toy)
    assert list(recorder.failures.values()) == ["truncated"]
    reports = [report_of(path.parent) for path in (tmp_path / "out").glob("*/report.json")]
    assert len(reports) == 2
    assert all("A file beside this scan" in " ".join(one["flags"]) for one in reports)


def test_a_ruined_patient_harms_no_other(tmp_path: Path) -> None:
    write_series(tmp_path / "p1", a_ct(), seed="1")
    for path in write_series(tmp_path / "p2" / "series", a_ct(), seed="2"):
        path.write_bytes(b"")
    found = find(tmp_path)
    assert sources(found) == ["p1", "p2/series"]
    assert all(path.parent.name == "p1" for path in found.cases[0].files)


def pack(folder: Path, target: Path, *, more: dict[str, bytes] | None = None) -> Path:
    """A zip of all that lies in a folder."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            archive.write(path, path.relative_to(folder).as_posix())
        for name, content in (more or {}).items():
            archive.writestr(name, content)
    return target


PATIENTS = {"A/s1": 9.0, "A/s2": 11.0, "B/s1": 13.0}
"""Studies of an export, and the radius of the tumor in each in mm."""


def write_export(folder: Path) -> None:
    """As archives export: patient, study, series, and files of the medium beside them."""
    for place, radius_mm in PATIENTS.items():
        patient = Patient(tumor=Ball((-18.0, 9.0, 11.0), radius_mm))
        write_ct_series(folder / place / "series", patient.scan(GEOMETRY), seed=place)
    (folder / "autorun.inf").write_bytes(b"[autorun]")


def masks_of(out: Path) -> dict[str, bytes]:
    """By the content of the scan, which names the folder."""
    return {path.parent.name: path.read_bytes() for path in out.glob("case-*/mask.nii.gz")}


def test_a_zip_of_an_export_gives_what_its_folder_gives(toy: Path, tmp_path: Path) -> None:
    write_export(tmp_path / "in")
    pack(tmp_path / "in", tmp_path / "zips" / "export.zip")
    found = find(tmp_path / "zips")
    assert sources(found) == [f"export.zip/{place}/series" for place in PATIENTS]
    assert len({case.study_uid for case in found.cases}) == 3
    assert found.ignored == 1
    run_batch(tmp_path / "in", tmp_path / "out", toy)
    recorder, _ = run_batch(tmp_path / "zips", tmp_path / "zips_out", toy)
    assert recorder.failures == {}
    assert masks_of(tmp_path / "zips_out") == masks_of(tmp_path / "out")
    assert len(masks_of(tmp_path / "out")) == 3
    for place, radius_mm in PATIENTS.items():
        [row] = [
            row
            for row in rows_of(tmp_path / "zips_out" / "sources.csv")
            if row["source"] == str(tmp_path / "zips" / "export.zip" / place / "series")
        ]
        folder = tmp_path / "zips_out" / row["case"]
        true_ml = 4 / 3 * math.pi * radius_mm**3 / 1000
        assert report_of(folder)["tumor"]["volume_ml"] == pytest.approx(true_ml, rel=0.2)
        assert pydicom.dcmread(folder / "segmentation.dcm").StudyInstanceUID == row["study_uid"]


def test_a_zip_beside_its_folder_is_done_once(toy: Path, tmp_path: Path) -> None:
    write_export(tmp_path / "in" / "unpacked")
    pack(tmp_path / "in" / "unpacked", tmp_path / "in" / "export.zip")
    recorder, _ = run_batch(tmp_path / "in", tmp_path / "out", toy)
    assert Counter(recorder.ends.values()) == {Outcome.DONE: 3, Outcome.KNOWN: 3}


def test_a_study_that_is_added_to_a_zip_is_the_only_one_done(toy: Path, tmp_path: Path) -> None:
    write_export(tmp_path / "export")
    target = tmp_path / "in" / "export.zip"
    pack(tmp_path / "export" / "A", target)
    run_batch(tmp_path / "in", tmp_path / "out", toy)
    pack(tmp_path / "export", target)
    recorder, _ = run_batch(tmp_path / "in", tmp_path / "out", toy)
    ends = {source.removeprefix("export.zip/"): end for source, end in recorder.ends.items()}
    assert ends == {
        "A/s1/series": Outcome.KNOWN,
        "A/s2/series": Outcome.KNOWN,
        "B/s1/series": Outcome.DONE,
    }


def test_volume_files_in_a_zip_are_cases(toy: Path, tmp_path: Path) -> None:
    for number in range(2):
        write_scan(tmp_path / "a" / f"{number}.nii.gz", tumor_mm=9.0 + number)
    pack(tmp_path / "a", tmp_path / "in" / "scans.zip")
    recorder, _ = run_batch(tmp_path / "in", tmp_path / "out", toy)
    assert recorder.ends == {
        "scans.zip/0.nii.gz": Outcome.DONE,
        "scans.zip/1.nii.gz": Outcome.DONE,
    }


def test_what_is_bad_in_a_zip_harms_no_other(toy: Path, tmp_path: Path) -> None:
    write_export(tmp_path / "export")
    first = sorted((tmp_path / "export" / "A" / "s1" / "series").iterdir())[0]
    first.write_bytes(b"")
    more = {
        "inner.zip": b"PK",
        "B/results/mask.nii.gz": b"x",
        "B/results/report.json": b"{}",
        "B/s1/.hidden/x.dcm": b"",
        "C/bomb.dcm": bytes(80 * 2**20),
    }
    pack(tmp_path / "export", tmp_path / "in" / "export.zip", more=more)
    found = find(tmp_path / "in")
    assert found.results == 1
    recorder, _ = run_batch(tmp_path / "in", tmp_path / "out", toy)
    assert recorder.failures == {
        "export.zip/A/s1/series": "truncated",
        "export.zip/C": "unsafe_archive",
        "export.zip/inner.zip": "not_an_image",
    }
    done = {source for source, end in recorder.ends.items() if end is Outcome.DONE}
    assert done == {"export.zip/A/s2/series", "export.zip/B/s1/series"}


def test_members_of_one_name_are_different_files(toy: Path, tmp_path: Path) -> None:
    """Zips may hold them, and programs that pack flat make them."""
    write_export(tmp_path / "export")
    (tmp_path / "in").mkdir()
    with zipfile.ZipFile(tmp_path / "in" / "flat.zip", "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for path in sorted((tmp_path / "export").rglob("*.dcm")):
            archive.write(path, path.name)
    found = find(tmp_path / "in")
    assert [case.count for case in found.cases] == [GEOMETRY.shape[0]] * 3
    recorder, _ = run_batch(tmp_path / "in", tmp_path / "out", toy)
    assert recorder.failures == {}
    assert len(masks_of(tmp_path / "out")) == 3


def test_a_header_longer_than_what_is_looked_at_is_read(tmp_path: Path) -> None:
    slices = datasets(a_ct())
    for dataset in slices:
        dataset.add_new(0x00091001, "OB", bytes(2**18))  # before the identifiers of the study
    write_datasets(tmp_path / "a", slices)
    pack(tmp_path / "a", tmp_path / "in" / "study.zip")
    [case] = find(tmp_path / "in").cases
    assert case.study_uid == slices[0].StudyInstanceUID
    assert len(case.members) == len(slices)


def test_an_archive_that_is_not_opened_is_a_case_that_fails(toy: Path, tmp_path: Path) -> None:
    """Nobody shall think that the patients in it were looked at."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "studies.7z").write_bytes(b"7z")
    recorder, _ = run_batch(tmp_path / "in", tmp_path / "out", toy)
    assert recorder.failures == {"studies.7z": "not_an_image"}
    [row] = rows_of(tmp_path / "out" / "failures.csv")
    assert row["hint"].startswith("Unpack studies.7z")


@pytest.mark.parametrize("content", [b"PK\x03\x04 cut off", b"", b"no zip at all"])
def test_a_zip_that_cannot_be_opened_is_a_case_that_fails(
    toy: Path, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "bad.zip").write_bytes(content)
    recorder, _ = run_batch(tmp_path / "in", tmp_path / "out", toy)
    assert recorder.failures == {"bad.zip": "unreadable"}


def test_a_zip_of_one_study_is_a_case(toy: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    write_ct_series(tmp_path / "a", Patient().scan(GEOMETRY), seed="a")
    with zipfile.ZipFile(tmp_path / "in" / "study.zip", "w") as archive:
        for path in (tmp_path / "a").iterdir():
            archive.write(path, path.name)
    recorder, _ = run_batch(tmp_path / "in", tmp_path / "out", toy)
    assert recorder.failures == {}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows gives every user links only rarely")
def test_a_circle_of_links_ends(tmp_path: Path) -> None:
    write_scan(tmp_path / "in" / "scan.nii.gz")
    (tmp_path / "in" / "circle").symlink_to(tmp_path / "in", target_is_directory=True)
    assert sources(find(tmp_path / "in")) == ["scan.nii.gz"]


@pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() == 0, reason="permissions do not bind this user"
)
def test_a_closed_folder_is_a_case_that_fails(toy: Path, tmp_path: Path) -> None:
    write_scan(tmp_path / "in" / "closed" / "scan.nii.gz").parent.chmod(0)
    try:
        recorder, _ = run_batch(tmp_path / "in", tmp_path / "out", toy)
    finally:
        (tmp_path / "in" / "closed").chmod(0o700)
    assert recorder.failures == {"closed": "unreadable"}


def test_content_not_names_makes_the_hash(tmp_path: Path) -> None:
    paths = write_series(tmp_path / "a", a_ct(), seed="1")
    (tmp_path / "b").mkdir()
    for number, path in enumerate(reversed(paths)):
        (tmp_path / "b" / f"IM{number}").write_bytes(path.read_bytes())
    first = input_hash(find(tmp_path / "a").cases[0])
    # Folders of results have its digits in their names: what was done before must be known again.
    digests = sorted(hashlib.sha256(path.read_bytes()).digest() for path in paths)
    assert first == hashlib.sha256(b"".join(digests)).hexdigest()
    assert input_hash(find(tmp_path / "b").cases[0]) == first
    (tmp_path / "b" / "IM0").unlink()
    assert input_hash(find(tmp_path / "b").cases[0]) != first


def test_the_stamp_sees_changes(tmp_path: Path) -> None:
    write_volume(tmp_path / "scan.nii", a_ct())
    [case] = find(tmp_path).cases
    assert not has_changed(case)
    with (tmp_path / "scan.nii").open("ab") as stream:
        stream.write(b"x")
    assert has_changed(case)
    assert find(tmp_path).cases[0].stamp != case.stamp
