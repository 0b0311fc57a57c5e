"""Zip archives: read like the folder they hold; unsafe and damaged ones are refused."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
from scans import (
    assert_same_patient,
    write_series,
)

from livertumor_cli.errors import InputError, Reason
from livertumor_cli.io import archive
from livertumor_cli.io.formats import read_volume
from livertumor_cli.volume import Volume


def refusal(path: Path) -> InputError:
    """The error that refuses a path."""
    with pytest.raises(InputError) as caught:
        read_volume(path)
    return caught.value


def zipped(folder: Path, target: Path) -> zipfile.ZipFile:
    """An open archive that holds the files of a folder."""
    packed = zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED)
    for path in folder.iterdir():
        packed.write(path, f"study 1/series/{path.stem}")
    return packed


def test_a_zip_gives_what_its_folder_gives(tmp_path: Path, ct: Volume):
    write_series(tmp_path / "ct", ct)
    zipped(tmp_path / "ct", tmp_path / "study.zip").close()
    volume = read_volume(tmp_path / "study.zip")
    assert_same_patient(volume, ct)
    assert (volume.source.kind, volume.source.path) == ("zip", tmp_path / "study.zip")


@pytest.mark.parametrize(
    "name", ["../evil.dcm", "/evil.dcm", "C:\\evil.dcm", "a\\..\\..\\evil.dcm"]
)
def test_a_zip_that_climbs_is_refused(tmp_path: Path, ct: Volume, name: str):
    write_series(tmp_path / "ct", ct)
    with zipped(tmp_path / "ct", tmp_path / "study.zip") as packed:
        packed.writestr(name, "evil")
    assert refusal(tmp_path / "study.zip").reason == Reason.UNSAFE_ARCHIVE
    assert not list(tmp_path.rglob("evil*"))


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(archive, "_RATIO_FREE_BYTES", 2**16)
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("zeros", bytes(2**20))
    assert refusal(tmp_path / "bomb.zip").reason == Reason.UNSAFE_ARCHIVE


def test_a_zip_of_too_much_is_refused(tmp_path: Path, ct: Volume, monkeypatch):
    write_series(tmp_path / "ct", ct)
    zipped(tmp_path / "ct", tmp_path / "study.zip").close()
    monkeypatch.setattr(archive, "MAX_TOTAL_BYTES", 1000)
    assert refusal(tmp_path / "study.zip").reason == Reason.TOO_LARGE


def test_a_damaged_zip_is_refused(tmp_path: Path, ct: Volume):
    write_series(tmp_path / "ct", ct)
    zipped(tmp_path / "ct", tmp_path / "study.zip").close()
    content = bytearray((tmp_path / "study.zip").read_bytes())
    content[200] ^= 255
    (tmp_path / "study.zip").write_bytes(content)
    assert refusal(tmp_path / "study.zip").reason == Reason.UNREADABLE


def test_names_of_members_mean_what_they_mean_in_a_folder(tmp_path: Path, ct: Volume):
    write_series(tmp_path / "ct", ct)
    with zipped(tmp_path / "ct", tmp_path / "study.zip") as packed:
        for name in ("DONE", "a/.hidden", "...", "\u00e4\u00f6", "__MACOSX/._slice0001"):
            packed.writestr(name, b"")
    assert_same_patient(read_volume(tmp_path / "study.zip"), ct)
    with zipfile.ZipFile(tmp_path / "study.zip", "a") as packed:
        packed.writestr("study 1/series/slice0007", b"")
    error = refusal(tmp_path / "study.zip")
    assert error.message == "slice0007 is empty."


def test_an_archive_in_a_folder_is_named_and_not_opened(tmp_path: Path, ct: Volume):
    write_series(tmp_path / "scan", ct)
    folder = tmp_path / "given"
    folder.mkdir()
    with zipfile.ZipFile(folder / "study.zip", "w") as archive:
        for path in (tmp_path / "scan").iterdir():
            archive.write(path, path.name)
    with zipfile.ZipFile(tmp_path / "outer.zip", "w") as archive:
        archive.write(folder / "study.zip", "study.zip")
    for given in (folder, tmp_path / "outer.zip"):
        with pytest.raises(InputError) as caught:
            read_volume(given)
        assert caught.value.reason == Reason.NOT_AN_IMAGE
        assert "Unpack study.zip and give the folder" in caught.value.hint
