"""What lies at the surface of a mask: layers of voxels, shared faces, distances between surfaces.

A surface is that of the voxels as boxes, the same convention as for diameters: between two sets of
boxes on one grid the shortest way always runs between two voxel corners, so distances of corners
are exact on grids whose axes stand at right angles.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial import KDTree

from livertumor_cli.arrays import BoolArray, DoubleArray
from livertumor_cli.geometry import Box, Geometry

ROUNDING_MM = 1e-6

_SAMPLE = 29
"""Every so many corners are looked at first; odd, so that no row of the grid is left out."""


def shell_range_ml(mask: BoolArray, *, geometry: Geometry) -> tuple[float, float]:
    """Volume of a mask with its surface moved inwards and outwards by half a voxel.

    The lower end is half way between the volume and that of the mask without its outermost voxels
    (those with a face to the outside); the upper one half way to the mask with one more layer.

    Args:
        mask: Shape (z, y, x).
        geometry: Grid of the mask.
    """
    padded = np.pad(mask, 2)
    count = int(np.count_nonzero(mask))
    inner = int(np.count_nonzero(~_grown(~padded))) if count else 0
    outer = int(np.count_nonzero(_grown(padded)))
    return 0.5 * (count + inner) * geometry.voxel_ml, 0.5 * (count + outer) * geometry.voxel_ml


def _grown(mask: BoolArray) -> BoolArray:
    """The mask and every voxel that shares a face with it."""
    grown = mask.copy()
    for axis in range(3):
        target, source = np.moveaxis(grown, axis, 0), np.moveaxis(mask, axis, 0)
        target[1:] |= source[:-1]
        target[:-1] |= source[1:]
    return grown


def contact_area_mm2(mask: BoolArray, other: BoolArray, *, geometry: Geometry) -> float:
    """Area of the voxel faces between two masks.

    Faces follow the steps of the grid: a slanted surface counts up to 1.7 times its area.

    Args:
        mask: Shape (z, y, x).
        other: Same shape, no voxel in common.
        geometry: Grid of both.
    """
    columns = geometry.affine_lps[:3, :3]
    area = 0.0
    for axis in range(3):
        one, two = np.moveaxis(mask, axis, 0), np.moveaxis(other, axis, 0)
        faces = np.count_nonzero(one[1:] & two[:-1]) + np.count_nonzero(one[:-1] & two[1:])
        first, second = (columns[:, column] for column in range(3) if column != 2 - axis)
        area += faces * float(np.linalg.norm(np.cross(first, second)))
    return area


def surface_corners_lps(mask: BoolArray, *, geometry: Geometry, is_open: bool) -> DoubleArray:
    """Voxel corners between a mask and what is not in it, in LPS mm, shape (n, 3).

    Args:
        mask: Shape (z, y, x).
        geometry: Grid of the mask.
        is_open: Whether nothing is known beyond the array, so that its border is no surface.
    """
    padded = np.pad(mask, 1, mode="edge") if is_open else np.pad(mask, 1)
    touched, full = padded, padded
    for axis in range(3):
        low, high = [slice(None)] * 3, [slice(None)] * 3
        low[axis], high[axis] = slice(None, -1), slice(1, None)
        touched = touched[tuple(low)] | touched[tuple(high)]
        full = full[tuple(low)] & full[tuple(high)]
    corners = np.argwhere(touched & ~full).astype(np.float64)
    return geometry.index_to_lps(corners - 0.5)


class SurfaceDistance:
    """Distances to the surface of one structure, for many lesions.

    Args:
        mask: The structure with one voxel around it, as far as the scan reaches.
        geometry: Grid of the mask.
    """

    def __init__(self, mask: BoolArray, *, geometry: Geometry) -> None:
        points = surface_corners_lps(mask, geometry=geometry, is_open=True)
        self._tree = (
            KDTree(points, balanced_tree=False, compact_nodes=False) if len(points) else None
        )

    def to(self, corners_lps: DoubleArray) -> float | None:
        """Shortest distance from corners of a lesion in mm; None if the structure has no surface.

        Args:
            corners_lps: From `surface_corners_lps`.
        """
        if self._tree is None:
            return None
        some, _ = self._tree.query(corners_lps[::_SAMPLE])
        # What is found for some corners bounds the search for all: most then end at once.
        bound = float(np.min(some)) + ROUNDING_MM
        distances, _ = self._tree.query(corners_lps, distance_upper_bound=bound)
        nearest = float(np.min(distances))
        # Corners that are the same differ by the rounding of the affine.
        return nearest if nearest > ROUNDING_MM else 0.0


def grown_box(box: Box, shape: tuple[int, ...]) -> Box:
    """A box with one voxel more on every side, as far as the array reaches.

    Args:
        box: Inside the array.
        shape: Size of the array.
    """
    z, y, x = (
        slice(max(0, part.start - 1), min(size, part.stop + 1))
        for part, size in zip(box, shape, strict=True)
    )
    return z, y, x
