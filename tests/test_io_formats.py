"""Choosing the reader by what a path is, MetaImage and NRRD, atomic writing and reading back."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from scans import BRIGHT, BRIGHT_HU, a_ct, a_label_map, assert_same_patient, write_series
from scipy.spatial.transform import Rotation

from livertumor_cli.errors import ConfigError, InputError, OutputError, Reason
from livertumor_cli.geometry import Geometry
from livertumor_cli.io import atomic
from livertumor_cli.io.atomic import write_text, written_atomically
from livertumor_cli.io.formats import (
    read_volume,
    write_label_map,
    write_volume,
)
from livertumor_cli.volume import Volume


def itk_image(volume: Volume) -> sitk.Image:
    """The volume as ITK image."""
    image = sitk.GetImageFromArray(volume.hu)
    image.SetSpacing(volume.geometry.spacing_mm[::-1])
    image.SetOrigin(volume.geometry.origin_mm.tolist())
    image.SetDirection(volume.geometry.direction.ravel().tolist())
    return image


def refusal(path: Path) -> Reason:
    """The reason why a path is refused."""
    with pytest.raises(InputError) as caught:
        read_volume(path)
    return caught.value.reason


# --- MetaImage and NRRD ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ct.mha", "ct.mhd", "ct.nrrd", "ct.nhdr"])
@pytest.mark.parametrize("compressed", [False, True])
def test_itk_formats(tmp_path: Path, ct: Volume, name: str, compressed: bool):
    sitk.WriteImage(itk_image(ct), str(tmp_path / name), compressed)
    volume = read_volume(tmp_path / name)
    assert_same_patient(volume, ct)
    assert volume.hu.dtype == np.int16
    assert volume.source.kind == ("nrrd" if "n" in name[3:] else "mha")


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**31), suffix=st.sampled_from(["mha", "nrrd"]))
def test_any_rotation_in_itk_formats(tmp_path_factory, seed: int, suffix: str):
    written = a_ct(rotation=Rotation.random(rng=seed).as_matrix())
    path = tmp_path_factory.mktemp("itk") / f"ct.{suffix}"
    sitk.WriteImage(itk_image(written), str(path))
    assert_same_patient(read_volume(path), written)


def test_a_ras_nrrd_lies_where_its_lps_twin_lies(tmp_path: Path, ct: Volume):
    path = tmp_path / "ct.nrrd"
    sitk.WriteImage(itk_image(ct), str(path))
    header, mark, voxels = path.read_bytes().partition(b"\n\n")
    header = header.replace(b"left-posterior-superior", b"right-anterior-superior")
    path.write_bytes(header + mark + voxels)
    flip = np.diag([-1.0, -1.0, 1.0, 1.0])
    assert read_volume(path).geometry.is_same_grid(
        Geometry(ct.geometry.shape, flip @ ct.geometry.affine_lps)
    )


@pytest.mark.parametrize(
    ("name", "line", "reason"),
    [
        ("ct.mha", b"TransformMatrix", Reason.NO_ORIENTATION),
        ("ct.mha", b"ElementSpacing", Reason.NO_SPACING),
        ("ct.nrrd", b"space:", Reason.NO_ORIENTATION),
        ("ct.nrrd", b"space directions", Reason.NO_SPACING),
    ],
)
def test_what_a_header_leaves_out_is_not_invented(
    tmp_path: Path, ct: Volume, name: str, line: bytes, reason: Reason
):
    sitk.WriteImage(itk_image(ct), str(tmp_path / name))
    lines = (tmp_path / name).read_bytes().split(b"\n")
    (tmp_path / name).write_bytes(b"\n".join(one for one in lines if not one.startswith(line)))
    assert refusal(tmp_path / name) == reason


@pytest.mark.parametrize("name", ["ct.mha", "ct.nrrd"])
def test_sheared_itk_files_are_refused(tmp_path: Path, ct: Volume, name: str):
    sitk.WriteImage(itk_image(ct), str(tmp_path / name))
    content = (tmp_path / name).read_bytes()
    for straight, slanted in (
        (b"TransformMatrix = 1 0 0 0 1 0 0 0 1", b"TransformMatrix = 1 0 0 0 1 0 0 0.3 1"),
        (b"(0,0,2.5)", b"(0,1.0,2.5)"),
    ):
        content = content.replace(straight, slanted)
    (tmp_path / name).write_bytes(content)
    assert refusal(tmp_path / name) == Reason.SHEARED


@pytest.mark.parametrize("name", ["ct.mha", "ct.nrrd"])
def test_itk_files_cut_off_are_refused(tmp_path: Path, ct: Volume, name: str):
    sitk.WriteImage(itk_image(ct), str(tmp_path / name))
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[:-100])
    assert refusal(tmp_path / name) == Reason.TRUNCATED


@pytest.mark.parametrize("name", ["ct.mha", "ct.nrrd"])
def test_nan_in_itk_files_is_refused(tmp_path: Path, ct: Volume, name: str):
    array = ct.hu.astype(np.float32)
    array[0, 0, 0] = np.nan
    sitk.WriteImage(itk_image(Volume(array, ct.geometry)), str(tmp_path / name))
    assert refusal(tmp_path / name) == Reason.NON_FINITE


def test_a_forged_size_takes_no_memory(tmp_path: Path, ct: Volume):
    sitk.WriteImage(itk_image(ct), str(tmp_path / "ct.mha"))
    content = (tmp_path / "ct.mha").read_bytes()
    forged = content.replace(b"DimSize = 9 7 6", b"DimSize = 90000 70000 60000")
    (tmp_path / "ct.mha").write_bytes(forged)
    assert refusal(tmp_path / "ct.mha") == Reason.TOO_LARGE


def test_color_and_time_series_are_refused(tmp_path: Path):
    rgb = sitk.GetImageFromArray(np.zeros((6, 7, 9, 3), np.uint8), isVector=True)
    sitk.WriteImage(rgb, str(tmp_path / "rgb.mha"))
    assert refusal(tmp_path / "rgb.mha") == Reason.COLOUR
    series = sitk.GetImageFromArray(np.zeros((2, 6, 7, 9), np.int16), isVector=False)
    sitk.WriteImage(series, str(tmp_path / "time.mha"))
    assert refusal(tmp_path / "time.mha") == Reason.FOUR_DIMENSIONAL


# --- choice of the reader -------------------------------------------------------------------------


def test_upper_case_names_and_single_files(tmp_path: Path, ct: Volume):
    write_volume(tmp_path / "CT.NII", ct)
    assert_same_patient(read_volume(tmp_path / "CT.NII"), ct)
    (single, *_) = write_series(tmp_path / "series", ct)
    assert refusal(single) == Reason.TOO_FEW_SLICES


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("photo.png", Reason.UNSUPPORTED_FORMAT),
        ("notes.txt", Reason.NOT_AN_IMAGE),
        ("notes", Reason.NOT_AN_IMAGE),
        ("ct.mha", Reason.NOT_AN_IMAGE),
        ("ct.nii.gz", Reason.NOT_AN_IMAGE),
        ("study.zip", Reason.UNREADABLE),
    ],
)
def test_files_that_are_no_scan(tmp_path: Path, name: str, reason: Reason):
    (tmp_path / name).write_text("These are my notes. " * 20, encoding="utf-8")
    assert refusal(tmp_path / name) == reason


def test_a_folder_of_nifti_files_names_the_file(tmp_path: Path, ct: Volume):
    write_volume(tmp_path / "ct.nii.gz", ct)
    with pytest.raises(InputError, match="no DICOM") as caught:
        read_volume(tmp_path)
    assert "ct.nii.gz" in caught.value.hint


def test_nothing_there(tmp_path: Path):
    assert refusal(tmp_path / "absent.nii.gz") == Reason.NOT_FOUND
    assert refusal(tmp_path / "absent") == Reason.NOT_FOUND
    assert refusal(tmp_path) == Reason.NOT_AN_IMAGE


def test_a_series_cannot_be_chosen_in_a_nifti_file(tmp_path: Path, ct: Volume):
    write_volume(tmp_path / "ct.nii", ct)
    with pytest.raises(ConfigError, match="no DICOM"):
        read_volume(tmp_path / "ct.nii", series="1.2.3")


# --- writing --------------------------------------------------------------------------------------


def test_text_is_written_as_it_stands(tmp_path: Path):
    write_text(tmp_path / "report.txt", "3 × 4 mm\n")
    assert (tmp_path / "report.txt").read_bytes() == "3 × 4 mm\n".encode()


def _interrupt(path: Path) -> None:
    with written_atomically(path) as stream:
        stream.write(b"new and half")
        raise KeyboardInterrupt


def test_an_interrupted_file_leaves_the_old_one(tmp_path: Path):
    path = tmp_path / "report.txt"
    write_text(path, "old")
    with pytest.raises(KeyboardInterrupt):
        _interrupt(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.txt"]
    assert path.read_text(encoding="utf-8") == "old"


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EACCES, "not permitted"),
        (errno.EROFS, "read-only"),
        (errno.EIO, "Input/output error"),
    ],
)
def test_the_system_refuses_to_write(tmp_path: Path, ct: Volume, monkeypatch, code, words):
    def refuse(_descriptor: int) -> None:
        raise OSError(code, "Input/output error")

    monkeypatch.setattr(atomic.os, "fsync", refuse)
    with pytest.raises(OutputError, match=words):
        write_label_map(tmp_path / "mask.nii.gz", a_label_map(ct))
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there(tmp_path: Path):
    with pytest.raises(OutputError, match="cannot be written"):
        write_text(tmp_path / "absent" / "report.txt", "text")


def test_bright_voxel_survives_a_round_trip(tmp_path: Path, ct: Volume):
    write_volume(tmp_path / "ct.nii.gz", ct)
    assert read_volume(tmp_path / "ct.nii.gz").hu[BRIGHT] == BRIGHT_HU


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("ct.mhd", "ct.raw", "/etc/hostname"),
        ("ct.mhd", "ct.raw", "../ct.raw"),
        ("ct.mhd", "ct.raw", "C:\\ct.raw"),
        ("ct.mhd", "ct.raw", "LIST"),
        ("ct.mhd", "ct.raw", "ct%03d.raw 1 9 1"),
        ("ct.nhdr", "ct.raw", "../ct.raw"),
    ],
)
def test_voxels_from_elsewhere_are_refused(tmp_path: Path, ct: Volume, name: str, old, new):
    image = sitk.GetImageFromArray(ct.hu)
    sitk.WriteImage(image, str(tmp_path / name))
    assert read_volume(tmp_path / name).hu.shape == ct.hu.shape
    header = (tmp_path / name).read_text(encoding="ascii")
    assert header.count(old) == 1
    (tmp_path / name).write_text(header.replace(old, new), encoding="ascii")
    with pytest.raises(InputError) as caught:
        read_volume(tmp_path / name)
    assert caught.value.reason == Reason.UNSAFE_ARCHIVE
