"""Linear interpolation from one grid to another.

Nearly all grids here lie along the same axes. Then linear interpolation is one product with a
matrix along each axis, with two numbers in each row: done by BLAS it takes a fraction of the time
that SimpleITK needs, although most of what is multiplied is zero. Turned grids are left to it.

Each product is small: BLAS runs it on the caller's thread alone. With threads of its own, which
wait for one another at full speed, it is no faster on free cores and many times slower beside a
network that uses them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from threadpoolctl import ThreadpoolController

from livertumor_cli.arrays import DoubleArray, FloatArray, HuArray
from livertumor_cli.geometry import Geometry, box_holding
from livertumor_cli.process_memory import is_out_of_memory

if TYPE_CHECKING:
    import SimpleITK as sitk

SLAB_SLICES = 16
"""Slices of the result that are made at once: what lies between the products stays small."""

BESIDE = (1, 1, 1)
"""Voxels of a target around which stored ones are kept: more than rounding can move it."""

ALONG_TOLERANCE = 1e-3
"""Voxels by which a far corner may lie beside the axes of another grid and still be on them."""


def interpolate(
    values: HuArray, geometry: Geometry, *, target: Geometry, outside: float
) -> FloatArray:
    """Linear interpolation of finite values onto a grid.

    A grid reaches half a voxel beyond its outermost centers, and there its outermost values hold.

    Args:
        values: Shape of `geometry`.
        geometry: The stored grid.
        target: The wanted grid.
        outside: Value beyond the stored grid.

    Returns:
        float32, shape of `target`.
    """
    to_index = np.linalg.inv(geometry.affine_lps) @ target.affine_lps  # of x, y, z
    if _goes_along(to_index, target):
        return _along_axes(values, to_index, target=target, outside=outside)
    return _turned(values, geometry, target=target, outside=outside)


def _goes_along(to_index: DoubleArray, target: Geometry) -> bool:
    """Whether each axis of the target runs along the same axis of the stored grid."""
    reach = to_index[:3, :3] * np.array(target.shape[::-1])
    return bool(np.abs(reach - np.diag(np.diag(reach))).max() <= ALONG_TOLERANCE)


def _along_axes(
    values: HuArray, to_index: DoubleArray, *, target: Geometry, outside: float
) -> FloatArray:
    """The product with a matrix along each axis; see `interpolate`."""
    _keep_blas_to_one_thread()
    x, y, z = (
        _weights(values.shape[2 - axis], to_index[axis, 3] + to_index[axis, axis] * np.arange(size))
        for axis, size in enumerate(target.shape[::-1])
    )
    across = np.ascontiguousarray(x.T)
    result = np.empty(target.shape, dtype=np.float32)
    for start in range(0, len(z), SLAB_SLICES):
        rows, slab = z[start : start + SLAB_SLICES], result[start : start + SLAB_SLICES]
        used = np.flatnonzero(rows.any(axis=0))
        if used.size == 0:
            slab[:] = 0.0
            continue
        near = slice(int(used[0]), int(used[-1]) + 1)
        # What is outside must be zero in between: there a row of weights has no number.
        known = np.subtract(values[near], outside, dtype=np.float32, order="C")
        if len(known) > len(rows):  # fewer slices first
            np.matmul(y @ np.tensordot(rows[:, near], known, axes=1), across, out=slab)
        else:
            flat = (y @ known @ across).reshape(len(known), -1)
            np.matmul(rows[:, near], flat, out=slab.reshape(len(slab), -1))
    result += np.float32(outside)
    return result


@cache
def _keep_blas_to_one_thread() -> None:
    """For the rest of the process. OpenMP's threads are left alone: they may be torch's too."""
    libraries = ThreadpoolController()
    own = [
        library["filepath"]
        for library in libraries.info()
        if library["internal_api"] == "openblas" and library["threading_layer"] == "pthreads"
    ]
    libraries.select(filepath=own).limit(limits=1)


def _weights(count: int, places: DoubleArray) -> FloatArray:
    """A row for every place among so many voxels: the shares of the two that it lies between.

    Args:
        count: Voxels of the stored grid along an axis.
        places: Fractional indices, shape (n,).

    Returns:
        Shape (n, count); rows of places outside are zero.
    """
    within = np.clip(places, 0, count - 1)
    low = np.minimum(within.astype(int), max(count - 2, 0))
    share = within - low
    is_inside = (places >= -0.5) & (places <= count - 0.5)
    weights = np.zeros((len(places), count), dtype=np.float32)
    rows = np.arange(len(places))
    weights[rows, low] = (1.0 - share) * is_inside
    weights[rows, np.minimum(low + 1, count - 1)] += share * is_inside
    return weights


def _turned(values: HuArray, geometry: Geometry, *, target: Geometry, outside: float) -> FloatArray:
    """The same for a grid whose axes run otherwise."""
    # Here: it takes 100 MB, which most scans never need while networks run.
    import SimpleITK as sitk

    # It takes a copy of what it is given: no more than lies about the target.
    box = box_holding(geometry, target.grown(BESIDE).corners_lps())
    with _known_memory_errors():
        stored = _to_image(values[box], geometry.cropped(box))
        wanted = sitk.Image([int(size) for size in target.shape[::-1]], sitk.sitkUInt8)
        _place(wanted, target)  # SimpleITK wants an image for a grid; its voxels are not read
        found = sitk.Resample(
            stored, wanted, sitk.Transform(), sitk.sitkLinear, outside, sitk.sitkFloat32
        )
        result: FloatArray = sitk.GetArrayFromImage(found)
        return result


@contextmanager
def _known_memory_errors() -> Iterator[None]:
    """Let SimpleITK say as everything else does that memory ran out."""
    try:
        yield
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise MemoryError from error
        raise


def _to_image(values: HuArray, geometry: Geometry) -> sitk.Image:
    """A SimpleITK image of an array (z, y, x) on its grid."""
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(np.ascontiguousarray(values))
    _place(image, geometry)
    return image


def _place(image: sitk.Image, geometry: Geometry) -> None:
    image.SetSpacing([float(step) for step in geometry.spacing_mm[::-1]])
    image.SetOrigin([float(value) for value in geometry.origin_mm])
    image.SetDirection([float(value) for value in geometry.direction.ravel()])
