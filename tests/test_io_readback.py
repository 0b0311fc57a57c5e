"""Reading a written image back with ITK, and every way in which it may differ."""

from __future__ import annotations

import errno
import gzip
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scans import a_ct, a_label_map
from scipy.spatial.transform import Rotation

from livertumor_cli.errors import OutputError
from livertumor_cli.geometry import Geometry
from livertumor_cli.io import readback
from livertumor_cli.io.formats import (
    read_volume,
    write_label_map,
    write_proved_volume,
    write_volume,
)
from livertumor_cli.io.readback import verify_volume, verify_written
from livertumor_cli.volume import LabelMap, Volume


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**31), mirrored=st.booleans())
def test_what_was_written_reads_back(tmp_path_factory, seed: int, mirrored: bool):
    turn = Rotation.random(rng=seed).as_matrix() @ np.diag([1.0, 1.0, -1.0 if mirrored else 1.0])
    label_map = a_label_map(a_ct(rotation=turn))
    path = tmp_path_factory.mktemp("mask") / "mask.nii.gz"
    write_label_map(path, label_map)
    verify_written(path, label_map)
    assert path.exists()


def test_an_empty_mask_reads_back(tmp_path: Path, ct: Volume):
    empty = LabelMap(np.zeros(ct.hu.shape, np.uint16), ct.geometry)
    write_label_map(tmp_path / "mask.nii.gz", empty)
    verify_written(tmp_path / "mask.nii.gz", empty)


def _mirrored(labels: LabelMap) -> LabelMap:
    return LabelMap(labels.labels[:, :, ::-1], labels.geometry)


def _moved(labels: LabelMap) -> LabelMap:
    affine = labels.geometry.affine_lps.copy()
    affine[0, 3] += 0.2
    return LabelMap(labels.labels, Geometry(labels.geometry.shape, affine))


def _cropped(labels: LabelMap) -> LabelMap:
    box = (slice(0, 5), slice(0, 7), slice(0, 9))
    return LabelMap(labels.labels[box], labels.geometry.cropped(box))


@pytest.mark.parametrize(
    ("change", "words"),
    [(_mirrored, "voxels differ"), (_moved, "grid differs"), (_cropped, "size differs")],
)
def test_a_file_that_differs_is_removed(tmp_path: Path, ct: Volume, change, words: str):
    path = tmp_path / "mask.nii.gz"
    write_label_map(path, change(a_label_map(ct)))
    with pytest.raises(OutputError, match=words):
        verify_written(path, a_label_map(ct))
    assert not path.exists()


@pytest.mark.parametrize("place", [(0, 0, 0), (3, 2, 2), (-1, -1, -1)])
def test_a_voxel_that_differs_is_found(tmp_path: Path, ct: Volume, place):
    path = tmp_path / "ct.nii.gz"
    write_volume(path, ct)
    verify_volume(path, ct)
    changed = ct.hu.copy()
    changed[place] += 1
    with pytest.raises(OutputError, match="voxels differ"):
        verify_volume(path, replace(ct, hu=changed))
    assert not path.exists()


@pytest.mark.parametrize("name", ["mask.nii.gz", "mask.nii"])
def test_a_label_where_none_should_be_is_found(tmp_path: Path, ct: Volume, name: str):
    """Far from the labeled part, which is all that ITK reads."""
    labels = np.zeros(ct.hu.shape, np.uint8)
    labels[1:3, 2:4, 2:4] = 1
    astray = labels.copy()
    astray[-1, -1, -1] = 1
    write_label_map(tmp_path / name, LabelMap(astray, ct.geometry))
    with pytest.raises(OutputError, match="voxels differ"):
        verify_written(tmp_path / name, LabelMap(labels, ct.geometry))


@pytest.mark.parametrize("name", ["mask.nii.gz", "mask.nii"])
def test_bytes_that_follow_are_found(tmp_path: Path, ct: Volume, name: str):
    path = tmp_path / name
    write_label_map(path, a_label_map(ct))
    more = bytes(100)
    with path.open("ab") as file:
        file.write(gzip.compress(more) if path.suffix == ".gz" else more)
    with pytest.raises(OutputError, match="something follows"):
        verify_written(path, a_label_map(ct))


@pytest.mark.parametrize("name", ["mask.nii.gz", "mask.nii"])
@pytest.mark.parametrize("kept_slices", [None, 4])
def test_a_file_that_ends_early_in_air_is_removed(tmp_path: Path, ct: Volume, name, kept_slices):
    """ITK fills what is missing with 0, which is what stands there in most masks."""
    labels = np.zeros(ct.hu.shape, np.uint8)
    labels[1:3, 2:4, 2:4] = 1
    label_map = LabelMap(labels, ct.geometry)
    path = tmp_path / name
    write_label_map(path, label_map)
    whole = path.read_bytes()
    if kept_slices is None:
        path.write_bytes(whole[:-9])  # of gzip's end too
    else:
        content = gzip.decompress(whole) if path.suffix == ".gz" else whole
        content = content[: 352 + kept_slices * labels[0].size]
        path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    with pytest.raises(OutputError, match=r"end is missing|cannot be read"):
        verify_written(path, label_map)
    assert not path.exists()


def test_a_damaged_file_is_removed(tmp_path: Path, ct: Volume):
    path = tmp_path / "mask.nii.gz"
    path.write_bytes(b"no image")
    with pytest.raises(OutputError, match="cannot be read"):
        verify_written(path, a_label_map(ct))
    assert not path.exists()


def _faulty(error: Exception):
    def read(*_: object) -> None:
        raise error

    return read


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RuntimeError("bad_alloc"), "memory does not suffice"),
        (MemoryError(), "memory does not suffice"),
        (RuntimeError("cut off"), "cannot be read"),
        (OSError(errno.EIO, "Input/output error"), "cannot be read"),
    ],
)
@pytest.mark.parametrize("place", ["StoredImage", "_bytes_differ", "_misplaced"])
def test_whatever_reading_back_meets_is_told(
    tmp_path, ct: Volume, monkeypatch, place, error, words
):
    path = tmp_path / "mask.nii.gz"
    write_label_map(path, a_label_map(ct))
    monkeypatch.setattr(readback, place, _faulty(error))
    with pytest.raises(OutputError, match=words):
        verify_written(path, a_label_map(ct))
    assert not path.exists()


@pytest.mark.parametrize("name", ["mask.nii.gz", "mask.nii"])
def test_any_byte_of_the_header_counts(tmp_path: Path, ct: Volume, name: str):
    """ITK takes one of two affines, and knows no scaling as small as some of these."""
    path = tmp_path / name
    label_map = a_label_map(ct)
    write_label_map(path, label_map)
    whole = path.read_bytes()
    content = gzip.decompress(whole) if path.suffix == ".gz" else whole
    for place in (60, 110, 116, 282, 299, 348):
        changed = bytearray(content)
        changed[place] ^= 0x41
        path.write_bytes(gzip.compress(changed) if path.suffix == ".gz" else changed)
        with pytest.raises(OutputError, match=r"differ|cannot be read"):
            verify_written(path, label_map)
        assert not path.exists()


def test_a_neighbor_of_the_same_name_is_not_read_instead(tmp_path: Path, ct: Volume):
    """ITK takes the voxels of `ct.nii` for those of `ct.nii.gz`."""
    write_volume(tmp_path / "ct.nii", replace(ct, hu=ct.hu[::-1].copy()))
    write_proved_volume(tmp_path / "ct.nii.gz", ct)
    assert np.array_equal(read_volume(tmp_path / "ct.nii.gz").hu, ct.hu)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ct.nii", "ct.nii.gz"]
