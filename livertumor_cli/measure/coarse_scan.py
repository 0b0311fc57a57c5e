"""The levels of the liver on a coarse grid: enough to find large organs, and quick."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from livertumor_cli.arrays import BoolArray, FloatArray, HuArray, LabelArray
from livertumor_cli.axial import AxialView
from livertumor_cli.geometry import Box, Geometry, Spacing

COARSE_MM = 3.0
"""Voxels are averaged to at most this size: a quarter of a narrow aorta, with little noise."""

MARGIN_MM = 15.0
"""So far above and below the liver the scan is looked at."""

LEAST_LIVER = 0.25
"""Share of liver in a coarse voxel from which on it counts as liver."""


@dataclass(frozen=True, slots=True)
class CoarseScan:
    """Mean HU of blocks of voxels, seen along the patient's axes.

    Attributes:
        hu: Axes superior, posterior, left.
        liver: Where the liver is, with its tumors and vessels, in the first slice of each block.
        spacing_mm: Voxel size along these axes.
    """

    hu: FloatArray
    liver: BoolArray
    spacing_mm: Spacing

    def voxels(self, length_mm: float) -> tuple[int, int, int]:
        """How many whole voxels a length spans along each axis."""
        z, y, x = (int(length_mm / size + 1e-3) for size in self.spacing_mm)
        return z, y, x

    @property
    def voxel_ml(self) -> float:
        """Volume of one voxel."""
        return float(np.prod(self.spacing_mm)) / 1000.0


def coarse_scan(hu: HuArray, labels: LabelArray, *, geometry: Geometry, liver: Box) -> CoarseScan:
    """Average the axial slices of the liver to a coarse grid.

    Voxels at the far ends that do not fill a block are left out.

    Args:
        hu: The scan, shape (z, y, x).
        labels: 0 outside the liver, same shape.
        geometry: Grid of both.
        liver: Box that holds the liver.
    """
    box = _levels(liver, geometry)
    view = AxialView.of(geometry.cropped(box))
    seen_hu, seen_labels = view.show(hu[box]), view.show(labels[box])
    spacing_mm = view.geometry.spacing_mm
    z, y, x = (
        min(max(1, int(COARSE_MM / size + 1e-3)), count)
        for size, count in zip(spacing_mm, view.geometry.shape, strict=True)
    )
    starts = range(0, seen_hu.shape[0] - z + 1, z)
    # Slab by slab: the whole scan in floats would take gigabytes.
    means = [_block_mean(seen_hu[start : start + z], (y, x)) for start in starts]
    shares = [_block_mean(seen_labels[start : start + 1] > 0, (y, x)) for start in starts]
    return CoarseScan(
        hu=np.stack(means),
        liver=np.stack(shares) >= LEAST_LIVER,
        spacing_mm=(spacing_mm[0] * z, spacing_mm[1] * y, spacing_mm[2] * x),
    )


def _levels(liver: Box, geometry: Geometry) -> Box:
    """The axial slices of the liver and some more, whole."""
    axis = AxialView.of(geometry).axes[0]
    more = int(MARGIN_MM / geometry.spacing_mm[axis])
    z, y, x = (
        slice(max(part.start - more, 0), min(part.stop + more, size))
        if index == axis
        else slice(0, size)
        for index, (part, size) in enumerate(zip(liver, geometry.shape, strict=True))
    )
    return z, y, x


def _block_mean(slab: NDArray[np.generic], size: tuple[int, int]) -> FloatArray:
    """Mean over all slices of a slab and over blocks of so many rows and columns."""
    is_real = np.issubdtype(slab.dtype, np.floating)
    sums = np.zeros(slab.shape[1:], dtype=np.float32 if is_real else np.int32)
    for plane in slab:
        sums += plane
    # Whole planes are added, shifted: the means over short axes would take five times as long.
    for axis, step in enumerate(size):
        count = sums.shape[axis] // step
        lines = np.moveaxis(sums, axis, 0)[: count * step]
        sums = np.moveaxis(sum((lines[k::step] for k in range(1, step)), lines[::step]), 0, axis)
    return np.asarray(sums / np.float32(len(slab) * size[0] * size[1]), dtype=np.float32)
