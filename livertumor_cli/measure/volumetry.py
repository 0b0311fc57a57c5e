"""Volumes, centers and mean densities of masks on a grid."""

from __future__ import annotations

import math

import numpy as np

from livertumor_cli.arrays import BoolArray, HuArray
from livertumor_cli.errors import EmptyMaskError
from livertumor_cli.findings import Density, Point
from livertumor_cli.geometry import Geometry


def volume_ml(mask: BoolArray, *, geometry: Geometry) -> float:
    """Volume of the set voxels; by the determinant, so that sheared grids are right too.

    Args:
        mask: Shape (z, y, x).
        geometry: Grid of the mask, or of the array it was cropped from.
    """
    return float(np.count_nonzero(mask)) * geometry.voxel_ml


def centroid_lps_mm(mask: BoolArray, *, geometry: Geometry) -> Point:
    """Mean of the set voxels' centers in LPS mm.

    Args:
        mask: Shape (z, y, x).
        geometry: Grid of the mask.

    Raises:
        EmptyMaskError: If no voxel is set.
    """
    index = []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        counts = np.count_nonzero(mask, axis=others)
        total = int(counts.sum())
        if total == 0:
            raise EmptyMaskError("an empty mask has no center.")
        index.append(float(counts @ np.arange(counts.size)) / total)
    x, y, z = geometry.index_to_lps(np.array(index))
    return float(x), float(y), float(z)


def mean_hu(hu: HuArray, mask: BoolArray) -> float:
    """Mean density over the set voxels in HU; NaN when there is none.

    Args:
        hu: Shape (z, y, x).
        mask: Same shape.
    """
    values = hu[mask]
    return float(values.mean(dtype=np.float64)) if values.size else math.nan


def density(hu: HuArray, mask: BoolArray) -> Density:
    """Spread of the density over the set voxels; all NaN when there is none.

    Args:
        hu: Shape (z, y, x).
        mask: Same shape.
    """
    values = hu[mask]
    if not values.size:
        return Density()
    return Density(
        sd_hu=float(values.std(dtype=np.float64)),
        min_hu=float(values.min()),
        max_hu=float(values.max()),
        median_hu=float(np.median(values)),
    )
