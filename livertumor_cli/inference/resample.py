"""From the scan's own grid to a network's grid; SimpleITK's x, y, z order stays inside this file.

Networks see patients along the LPS axes, whatever order and obliquity the scan was stored in: all 48
axis orders of a scan meet the same network input.
"""

from __future__ import annotations

import math

import numpy as np
import SimpleITK as sitk  # noqa: N813 (the name its own documentation uses)

from livertumor_cli.arrays import FloatArray, HuArray
from livertumor_cli.geometry import Box, Geometry, Spacing


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


def to_patient_axes(array: HuArray, geometry: Geometry) -> tuple[HuArray, Geometry]:
    """Flip and transpose so that z, y, x point mostly to S, P, L; no interpolation.

    Args:
        array: Shape of `geometry`.
        geometry: The stored grid.

    Returns:
        A view of the array and its grid: the same voxels at the same places.
    """
    matrix = geometry.affine_lps[:3, :3]
    weights = np.abs(geometry.direction)
    order = _nearest_axes(weights)  # order[k]: stored x, y, z axis that runs along LPS axis k
    permuted = np.transpose(array, [2 - order[2], 2 - order[1], 2 - order[0]])
    affine = np.eye(4)
    affine[:3, :3] = matrix[:, order]
    affine[:3, 3] = geometry.origin_mm
    for axis in range(3):
        if affine[axis, axis] < 0:
            size = permuted.shape[2 - axis]
            affine[:3, 3] += (size - 1) * affine[:3, axis]
            affine[:3, axis] *= -1
            permuted = np.flip(permuted, axis=2 - axis)
    depth, height, width = permuted.shape
    return permuted, Geometry((depth, height, width), affine)


def _nearest_axes(weights: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> list[int]:
    """The permutation of the stored axes that lies closest to L, P, S altogether."""
    permutations = [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)]
    best = max(permutations, key=lambda p: sum(weights[k, p[k]] for k in range(3)))
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
    image = to_image(np.ascontiguousarray(oriented), grid)
    image = _average_blocks(image, wanted=target.spacing_mm[::-1])
    resampled = sitk.Resample(
        image,
        grid_image(target),
        sitk.Transform(),
        sitk.sitkLinear,
        outside_hu,
        sitk.sitkFloat32,
    )
    values: FloatArray = sitk.GetArrayFromImage(resampled)
    return values


def crop_around(
    array: HuArray, geometry: Geometry, target: Geometry, *, margin_mm: float
) -> tuple[HuArray, Geometry]:
    """The smallest part of a scan that holds all that a target grid can sample.

    Args:
        array: Shape of `geometry`.
        geometry: The stored grid.
        target: The wanted grid.
        margin_mm: Kept beyond the target's outermost voxel centers.

    Returns:
        A view of the array and its grid; one voxel at least.
    """
    half = 0.5 * np.abs(target.affine_lps[:3, :3]).sum(axis=1) + margin_mm
    corners = target.corners_lps()
    low, high = corners.min(axis=0) - half, corners.max(axis=0) + half
    ends = np.array([[x, y, z] for x in (low[0], high[0]) for y in (low[1], high[1]) for z in (low[2], high[2])])
    indices = geometry.lps_to_index(ends)
    sizes = np.array(geometry.shape)
    first = np.clip(np.floor(indices.min(axis=0)).astype(int), 0, sizes - 1)
    last = np.clip(np.ceil(indices.max(axis=0)).astype(int) + 1, first + 1, sizes)
    box: Box = (
        slice(int(first[0]), int(last[0])),
        slice(int(first[1]), int(last[1])),
        slice(int(first[2]), int(last[2])),
    )
    return array[box], geometry.cropped(box)


def _average_blocks(image: sitk.Image, *, wanted: tuple[float, ...]) -> sitk.Image:
    """Mean over blocks of whole voxels no larger than the wanted spacing (x, y, z)."""
    factors = [
        max(1, math.floor(want / have + 1e-3))
        for want, have in zip(wanted, image.GetSpacing(), strict=True)
    ]
    factors = [min(factor, size) for factor, size in zip(factors, image.GetSize(), strict=True)]
    if max(factors) == 1:
        return image
    # Whole blocks only: repeat the last voxels so that no rim of the scan is dropped.
    missing = [-size % factor for size, factor in zip(image.GetSize(), factors, strict=True)]
    if any(missing):
        image = sitk.ZeroFluxNeumannPad(image, [0, 0, 0], missing)
    return sitk.BinShrink(image, factors)


def to_image(array: HuArray, geometry: Geometry) -> sitk.Image:
    """A SimpleITK image of an array (z, y, x) on its grid."""
    image = sitk.GetImageFromArray(array)
    image.SetSpacing([float(step) for step in geometry.spacing_mm[::-1]])
    image.SetOrigin([float(value) for value in geometry.origin_mm])
    image.SetDirection([float(value) for value in geometry.direction.ravel()])
    return image


def grid_image(geometry: Geometry) -> sitk.Image:
    """An image that carries a grid; SimpleITK's Resample wants one (its voxels are not read)."""
    image = sitk.Image([int(size) for size in geometry.shape[::-1]], sitk.sitkUInt8)
    image.SetSpacing([float(step) for step in geometry.spacing_mm[::-1]])
    image.SetOrigin([float(value) for value in geometry.origin_mm])
    image.SetDirection([float(value) for value in geometry.direction.ravel()])
    return image
