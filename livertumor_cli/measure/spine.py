"""Where the spine runs in a scan: the landmark by which aorta and spleen are looked for."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from livertumor_cli.arrays import DoubleArray, FloatArray
from livertumor_cli.measure.coarse_scan import CoarseScan

BONE_HU = (100.0, 200.0)
"""From the first value on a voxel counts as bone, from the second on fully. Mean of 3 mm voxels;
spongy bone of the old has little more than 100."""

LEAST_BONE = 0.1
"""Mean share of bone about the spine below which it is none; in patients it was 0.16 to 0.45."""

_SMOOTH_MM = (25.0, 15.0, 15.0)
"""A vertebra with its arches is as wide; ribs, which cross the slices, are blurred away."""

_SWAY_MM = 30.0
"""So far the spine departs from its mean place within the levels of the liver, in a scoliosis."""


def spine_course(scan: CoarseScan) -> DoubleArray | None:
    """The middle of the vertebra in each slice, near the spinal canal.

    Sought behind and to the left of the liver's middle, where bone is densest over all slices.

    Args:
        scan: The levels of the liver.

    Returns:
        Row and column (fractional voxels) in each slice, shape (slices, 2); None if no spine shows.
    """
    liver = np.argwhere(scan.liver)
    if not len(liver):
        return None
    bone = _bone(scan)
    _, first_row, first_column = liver.mean(axis=0).astype(int)
    behind = bone.mean(axis=0)
    behind[:first_row], behind[:, :first_column] = 0.0, 0.0
    row, column = (int(index) for index in np.unravel_index(behind.argmax(), behind.shape))
    if behind[row, column] < LEAST_BONE:
        return None
    _, rows, columns = scan.voxels(_SWAY_MM)
    top, left = max(row - rows, 0), max(column - columns, 0)
    near = bone[:, top : row + rows + 1, left : column + columns + 1]
    flat = near.reshape(len(near), -1).argmax(axis=1)
    course = np.stack(np.unravel_index(flat, near.shape[1:]), axis=1)
    return np.asarray(course + np.array([top, left]), dtype=np.float64)


def _bone(scan: CoarseScan) -> FloatArray:
    """Share of bone about each voxel."""
    lowest, full = BONE_HU
    bone = np.clip((scan.hu - lowest) / (full - lowest), 0.0, 1.0)
    bone[ndimage.binary_dilation(scan.liver)] = 0.0  # an enhanced liver is as bright
    sigma = [size / voxel for size, voxel in zip(_SMOOTH_MM, scan.spacing_mm, strict=True)]
    return np.asarray(ndimage.gaussian_filter(bone, sigma, mode="nearest"), dtype=np.float32)
