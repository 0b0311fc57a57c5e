"""Tiny scans for tests: a body in HU with one bright voxel, on any grid, and files with faults."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from pydicom.dataset import Dataset

from livertumor_cli.arrays import DoubleArray
from livertumor_cli.geometry import Geometry
from livertumor_cli.io.dicom_ct import ct_datasets, write_datasets
from livertumor_cli.volume import LabelMap, Volume

BRIGHT = (4, 2, 6)
"""Index z, y, x of the voxel of 1500 HU: off center on every axis, so that a mirror shows."""

BRIGHT_HU = 1500
SHAPE = (6, 7, 9)


def body_hu(shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    """Air, a shell of fat and tissue whose value grows along every axis; int16, (z, y, x)."""
    hu = np.full(shape, -1000, dtype=np.int16)
    z, y, x = np.indices(shape)
    hu[:, 1:-1, 1:-1] = -100
    hu[:, 2:-2, 2:-2] = (z + 2 * y + 3 * x)[:, 2:-2, 2:-2] + 20
    hu[BRIGHT] = BRIGHT_HU
    return hu


def a_ct(
    *,
    spacing_mm: tuple[float, float, float] = (2.5, 0.8, 0.7),
    origin_mm: tuple[float, float, float] = (-120.0, 35.5, 410.25),
    rotation: DoubleArray | None = None,
) -> Volume:
    """The body on a grid; `rotation` is 3x3 with the unit vectors of x, y, z as columns."""
    geometry = Geometry.from_spacing(SHAPE, spacing_mm=spacing_mm, origin_mm=origin_mm)
    if rotation is not None:
        affine = geometry.affine_lps.copy()
        affine[:3, :3] = rotation @ affine[:3, :3]
        geometry = Geometry(SHAPE, affine)
    return Volume(body_hu(), geometry)


def bright_lps(volume: Volume) -> DoubleArray:
    """LPS mm of the brightest voxel."""
    index = np.unravel_index(int(np.argmax(volume.hu)), volume.hu.shape)
    return volume.geometry.index_to_lps(np.array(index, dtype=float))


def assert_same_patient(read: Volume, written: Volume, *, tolerance_mm: float = 1e-3) -> None:
    """Every voxel has its value at its place, whatever the axis order of either volume."""
    indices = np.stack(np.indices(read.hu.shape), axis=-1).reshape(-1, 3).astype(float)
    found = written.geometry.lps_to_index(read.geometry.index_to_lps(indices))
    nearest = np.rint(found).astype(int)
    apart = written.geometry.index_to_lps(found) - written.geometry.index_to_lps(
        nearest.astype(float)
    )
    assert np.abs(apart).max() < tolerance_mm
    assert np.array_equal(read.hu.reshape(-1), written.hu[tuple(nearest.T)])
    assert read.hu.size == written.hu.size


def nifti_image(volume: Volume, **changes: Any) -> nib.Nifti1Image:
    """The volume as nibabel image; `array`, `affine_lps` or `dtype` replace its own."""
    affine = np.diag([-1.0, -1, 1, 1]) @ changes.get("affine_lps", volume.geometry.affine_lps)
    array = changes.get("array", volume.hu)
    image = nib.Nifti1Image(array.T, affine, dtype=changes.get("dtype", array.dtype))
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1)
    return image


def write_series(folder: Path, volume: Volume, *, seed: str = "scan") -> list[Path]:
    """The volume as a CT series, one file per slice."""
    return write_datasets(folder, datasets(volume, seed=seed))


def datasets(volume: Volume, *, seed: str = "scan", **changes: Any) -> list[Dataset]:
    """The slices of a CT series, for tests to damage; `changes` are attributes for all of them."""
    slices = ct_datasets(volume, seed=seed)
    for dataset in slices:
        for name, value in changes.items():
            setattr(dataset, name, value)
    return slices


def a_label_map(volume: Volume) -> LabelMap:
    """Liver and a tumor of two voxels on the volume's grid."""
    labels = np.zeros(volume.geometry.shape, dtype=np.uint8)
    labels[1:4, 2:5, 2:8] = 1
    labels[2, 3, 3:5] = 2
    return LabelMap(labels, volume.geometry)
