"""The nearest point on the surface of a mask, whose voxels are boxes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import KDTree

from livertumor_cli.arrays import BoolArray, DoubleArray
from livertumor_cli.geometry import Geometry, bounding_box

_CANDIDATES = 16
"""Cubes with the nearest centers that are looked at: the nearest is nearly always among them."""


class NearestSurface:
    """Looks up the surface between a mask and what is not in it.

    A point inside the mask is nearest to a voxel outside and the other way round: the surface of
    that voxel's box is the surface of the mask.

    Args:
        mask: At least one voxel, shape (z, y, x); nothing is set beyond it.
        geometry: Its grid, whose axes stand at right angles.

    Raises:
        ValueError: If no voxel is set.
    """

    def __init__(self, mask: BoolArray, *, geometry: Geometry) -> None:
        box = bounding_box(mask)
        if box is None:
            raise ValueError("an empty mask has no surface")
        self._mask = np.pad(mask[box], 2)
        self._grid = geometry.cropped(box).grown((2, 2, 2))
        self._size_mm = np.array(self._grid.spacing_mm)
        # Of long voxels the nearest center is often not that of the nearest: they are cut up.
        self._parts = np.maximum(1, np.rint(self._size_mm / self._size_mm.min())).astype(np.int64)
        self._centers_mm, self._trees = [], []
        for is_inside in (False, True):
            beside = ndimage.binary_dilation(self._mask != is_inside)
            centers_mm = self._cut_up(np.argwhere((self._mask == is_inside) & beside))
            self._centers_mm.append(centers_mm)
            self._trees.append(KDTree(centers_mm))

    def _cut_up(self, voxels: NDArray[np.int64]) -> DoubleArray:
        """Centers of the near-cubes that voxels consist of, in mm along the grid's axes."""
        steps = np.indices(self._parts).reshape(3, -1).T
        offsets = (steps + 0.5) / self._parts - 0.5
        index = (voxels[:, None] + offsets).reshape(-1, 3)
        return np.asarray(index * self._size_mm)

    def of(self, points_lps: DoubleArray) -> DoubleArray:
        """The nearest point on the surface of each point, in LPS mm; shape (n, 3) in and out."""
        index = self._grid.lps_to_index(points_lps)
        inside = self._holds(index)
        nearest_mm = index * self._size_mm
        for is_inside in (False, True):
            chosen = inside == is_inside
            if chosen.any():
                nearest_mm[chosen] = self._on_cubes(nearest_mm[chosen], of_inside=not is_inside)
        return self._grid.index_to_lps(nearest_mm / self._size_mm)

    def _holds(self, index: DoubleArray) -> BoolArray:
        voxel = np.rint(index).astype(np.int64)
        last = np.array(self._mask.shape) - 1
        # The outermost voxels are not set, and stand for all beyond.
        z, y, x = np.clip(voxel, 0, last).T
        return np.asarray(self._mask[z, y, x])

    def _on_cubes(self, points_mm: DoubleArray, *, of_inside: bool) -> DoubleArray:
        centers_mm = self._centers_mm[of_inside]
        count = min(_CANDIDATES, len(centers_mm))
        _, found = self._trees[of_inside].query(points_mm, k=[*range(1, count + 1)])
        near_mm = centers_mm[found]
        half_mm = 0.5 * self._size_mm / self._parts
        on_cube = points_mm[:, None].clip(near_mm - half_mm, near_mm + half_mm)
        best = np.linalg.norm(on_cube - points_mm[:, None], axis=-1).argmin(axis=1)
        return np.asarray(on_cube[np.arange(len(best)), best])
