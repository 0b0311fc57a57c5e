"""MetaImage and NRRD files that are not whole: one sentence of ours, and never other voxels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from livertumor_cli.errors import InputError, Reason
from livertumor_cli.geometry import Geometry
from livertumor_cli.io.itk import read_itk
from livertumor_cli.io.mask_in import read_mask

SHAPE = (5, 20, 30)
HU = np.random.default_rng(0).integers(-500, 500, SHAPE, dtype=np.int16)
CapFd = pytest.CaptureFixture[str]

WHOLE = [
    ("scan.mha", False),
    ("scan.mha", True),
    ("scan.nrrd", False),
    ("scan.nrrd", True),
    ("scan.mhd", False),
    ("scan.mhd", True),
    ("scan.nhdr", False),
    ("scan.nhdr", True),
]
"""Name, and whether the voxels are compressed."""


def write(folder: Path, name: str, compressed: bool, array: np.ndarray = HU) -> Path:
    """A file of ITK; returns the one that holds the voxels."""
    sitk.WriteImage(sitk.GetImageFromArray(array), str(folder / name), compressed)
    beside = [path for path in folder.iterdir() if path.name != name]
    return beside[0] if beside else folder / name


def refused(path: Path, capfd: CapFd) -> InputError:
    with pytest.raises(InputError) as caught:
        read_itk(path)
    assert capfd.readouterr() == ("", "")
    return caught.value


@pytest.mark.parametrize(("name", "compressed"), WHOLE)
def test_whole_files_are_read(name: str, compressed: bool, tmp_path: Path) -> None:
    write(tmp_path, name, compressed)
    assert np.array_equal(read_itk(tmp_path / name).hu, HU)


@pytest.mark.parametrize(("name", "compressed"), WHOLE)
@pytest.mark.parametrize("lost", [1, 700])
def test_cut_files(name: str, compressed: bool, lost: int, tmp_path: Path, capfd: CapFd) -> None:
    holder = write(tmp_path, name, compressed)
    holder.write_bytes(holder.read_bytes()[:-lost])
    error = refused(tmp_path / name, capfd)
    assert error.message == f"{name} is cut off or damaged: its voxels cannot be read."
    assert error.reason is Reason.TRUNCATED


@pytest.mark.parametrize(("name", "compressed"), [entry for entry in WHOLE if entry[1]])
def test_compressed_voxels_with_a_changed_byte(
    name: str, compressed: bool, tmp_path: Path, capfd: CapFd
) -> None:
    holder = write(tmp_path, name, compressed)
    content = bytearray(holder.read_bytes())
    content[-2500] ^= 0xFF
    holder.write_bytes(content)
    assert refused(tmp_path / name, capfd).reason is Reason.TRUNCATED


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace(b"CompressedDataSize", b"Comment"),
        lambda text: text.replace(b"CompressedDataSize = ", b"CompressedDataSize = 1"),
        lambda text: text.replace(b"CompressedDataSize = ", b"CompressedDataSize = " + b"9" * 30),
        lambda text: text.replace(b"DimSize", b"HeaderSize = " + b"9" * 30 + b"\nDimSize"),
        lambda text: text.replace(b"CompressedData = True", b"CompressedData = False"),
        lambda text: text.replace(b"DimSize = 30 20 5", b"DimSize = 30 20 6"),
    ],
)
def test_headers_that_do_not_fit_the_voxels(
    change: Callable[[bytes], bytes], tmp_path: Path, capfd: CapFd
) -> None:
    path = write(tmp_path, "scan.mha", True)
    changed = change(path.read_bytes())
    assert changed != path.read_bytes()
    path.write_bytes(changed)
    assert refused(path, capfd).reason is Reason.TRUNCATED


@pytest.mark.parametrize("field", [b"NDims", b"DimSize", b"ElementType"])
def test_a_field_that_must_be_there(field: bytes, tmp_path: Path, capfd: CapFd) -> None:
    path = write(tmp_path, "scan.mha", False)
    path.write_bytes(path.read_bytes().replace(field + b" = ", field + b" = \nComment = NDims "))
    error = refused(path, capfd)
    assert error.message == "scan.mha has a header that cannot be read."
    assert error.reason is Reason.UNREADABLE


@pytest.mark.parametrize("name", ["scan.mhd", "scan.nhdr"])
def test_voxels_that_were_not_copied(name: str, tmp_path: Path, capfd: CapFd) -> None:
    write(tmp_path, name, False).unlink()
    error = refused(tmp_path / name, capfd)
    assert error.message == f"scan.raw, which holds the voxels of {name}, does not exist."
    assert error.reason is Reason.NO_PIXELS


@pytest.mark.parametrize("name", ["mask.mha", "mask.nrrd"])
@pytest.mark.parametrize("compressed", [False, True])
def test_masks_too(name: str, compressed: bool, tmp_path: Path, capfd: CapFd) -> None:
    labels = np.random.default_rng(0).integers(0, 4, SHAPE, dtype=np.uint8)
    path = write(tmp_path, name, compressed, labels)
    grid = Geometry(SHAPE, np.eye(4))
    assert np.array_equal(read_mask(path, scan=grid).label_map.labels, labels)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="cut off or damaged"):
        read_mask(path, scan=grid)
    assert capfd.readouterr() == ("", "")
