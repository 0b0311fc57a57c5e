"""From the scan's own grid to a network's grid.

Networks see patients along the LPS axes, whatever order and obliquity the scan was stored in: all
48 axis orders of a scan meet the same network input.
"""

from __future__ import annotations

import math
from itertools import permutations
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from livertumor_cli.arrays import DoubleArray, FloatArray, HuArray
from livertumor_cli.geometry import Geometry, Spacing, box_holding
from livertumor_cli.inference.interpolation import interpolate

Array = TypeVar("Array", bound=NDArray[Any])

SLAB_VOXELS = 8_000_000
"""Voxels that are averaged at once."""

NEIGHBORS = (2, 2, 2)
"""Voxels of a target grid by which the scan must reach beyond it, so that interpolation and
averaging at its rim have neighbors."""


def patient_grid(geometry: Geometry, spacing_mm: Spacing) -> Geometry:
    """The smallest grid along the LPS axes that covers a scan.

    Args:
        geometry: The scan's own grid.
        spacing_mm: Wanted voxel size along z, y, x.

    Returns:
        Grid with axes S, P, L and exactly this spacing, centered on the scan's bounding box.
    """
    half_voxel = 0.5 * np.abs(geometry.affine_lps[:3, :3]).sum(axis=1)
    corners = geometry.corners_lps()
    low, high = corners.min(axis=0) - half_voxel, corners.max(axis=0) + half_voxel
    step = np.array(spacing_mm[::-1])
    # Rounding up from a hair below whole numbers: 360.0000001 mm in 3 mm steps are 120 voxels.
    sizes = np.maximum(np.ceil((high - low) / step - 1e-3), 1).astype(int)
    origin = 0.5 * (low + high) - 0.5 * (sizes - 1) * step
    return Geometry.from_spacing(
        (int(sizes[2]), int(sizes[1]), int(sizes[0])),
        spacing_mm=spacing_mm,
        origin_mm=(float(origin[0]), float(origin[1]), float(origin[2])),
    )


def to_patient_axes(array: Array, geometry: Geometry) -> tuple[Array, Geometry]:
    """Flip and transpose so that z, y, x point mostly to S, P, L; no interpolation.

    Args:
        array: Shape of `geometry`.
        geometry: The stored grid.

    Returns:
        A view of the array and its grid: the same voxels at the same places.
    """
    order = _nearest_axes(np.abs(geometry.direction))
    turned = array.transpose([2 - order[2], 2 - order[1], 2 - order[0]])
    affine = np.eye(4)
    affine[:3, :3] = geometry.affine_lps[:3, order]
    affine[:3, 3] = geometry.origin_mm
    for axis in range(3):
        if affine[axis, axis] < 0:
            size = turned.shape[2 - axis]
            affine[:3, 3] += (size - 1) * affine[:3, axis]
            affine[:3, axis] *= -1
            turned = np.flip(turned, axis=2 - axis)
    depth, height, width = turned.shape
    return turned, Geometry((depth, height, width), affine)


def _nearest_axes(weights: DoubleArray) -> list[int]:
    """For L, P, S the stored x, y, z axis that runs along it: the closest choice altogether."""
    best = max(permutations(range(3)), key=lambda order: weights[range(3), order].sum())
    return list(best)


def resample_to(
    array: HuArray, geometry: Geometry, *, target: Geometry, outside_hu: float
) -> FloatArray:
    """Linear interpolation onto another grid, after averaging where the target is coarser.

    Plain interpolation onto a much coarser grid would pick single noisy voxels, so whole blocks are
    averaged first (the largest block that does not exceed the target's voxel).

    Args:
        array: HU, shape of `geometry`.
        geometry: The stored grid.
        target: The wanted grid.
        outside_hu: Value outside the scan.

    Returns:
        float32, shape of `target`.
    """
    oriented, grid = to_patient_axes(array, geometry)
    box = box_holding(grid, target.grown(NEIGHBORS).corners_lps())
    means, coarse = _average_blocks(oriented[box], grid.cropped(box), wanted_mm=target.spacing_mm)
    return interpolate(means, coarse, target=target, outside=outside_hu)


def _average_blocks(
    array: HuArray, geometry: Geometry, *, wanted_mm: Spacing
) -> tuple[HuArray, Geometry]:
    """Means over blocks of whole voxels no larger than the wanted spacing, and their grid."""
    factors = [
        min(size, max(1, math.floor(want / have + 1e-3)))
        for want, have, size in zip(wanted_mm, geometry.spacing_mm, array.shape, strict=True)
    ]
    if max(factors) == 1:
        return array, geometry
    # By slabs of whole blocks: sums take more memory than what is added up.
    plane = array.shape[1] * array.shape[2]
    depth = factors[0] * max(1, SLAB_VOXELS // (factors[0] * plane))
    starts = range(0, array.shape[0], depth)
    means = [_block_means(array[start : start + depth], factors) for start in starts]
    return cast("HuArray", np.concatenate(means)), _block_grid(geometry, factors)


def _block_means(slab: HuArray, factors: list[int]) -> HuArray:
    """Means over whole blocks, of whole numbers the nearest one.

    The last voxels are repeated, so that no rim is dropped.
    """
    missing = [(0, -size % factor) for size, factor in zip(slab.shape, factors, strict=True)]
    sums: NDArray[Any] = np.pad(slab, missing, mode="edge") if np.any(missing) else slab
    is_whole = np.issubdtype(slab.dtype, np.integer)
    # One axis after the other, the slowest first: whole planes and rows are added at once. In 64
    # bits: a block of a very fine scan, full of metal, would overflow 32 without a word.
    for axis, factor in enumerate(factors):
        blocks = (*sums.shape[:axis], -1, factor, *sums.shape[axis + 1 :])
        sums = sums.reshape(blocks).sum(axis + 1, dtype=np.int64 if is_whole else np.float64)
    count = math.prod(factors)
    means = (2 * sums + count) // (2 * count) if is_whole else sums / count
    return cast("HuArray", means.astype(slab.dtype))


def _block_grid(geometry: Geometry, factors: list[int]) -> Geometry:
    """The grid of means over whole blocks, the last of which may reach beyond the voxels."""
    depth, height, width = (
        -(-size // factor) for size, factor in zip(geometry.shape, factors, strict=True)
    )
    affine = geometry.affine_lps.copy()
    affine[:3, 3] = geometry.index_to_lps((np.array(factors) - 1) / 2)
    affine[:3, :3] *= factors[::-1]
    return Geometry((depth, height, width), affine)
