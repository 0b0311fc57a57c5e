"""Density of the spleen, found as the large even organ under the left ribs behind."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from livertumor_cli.arrays import BoolArray, DoubleArray, FloatArray
from livertumor_cli.measure.coarse_scan import CoarseScan

LEAST_CORE_ML = 10.0
"""Of the core: what is left of a spleen after a shell of 9 mm is taken off."""

TISSUE_HU = (30.0, 260.0)
"""Spleens without and with contrast agent; water, bile and effusions lie below."""

MOST_SPREAD_HU = 20.0
"""Between the 10th and the 90th percentile of the smoothed core; the spleen of an early arterial
scan is striped, and stomachs are seldom so even."""

ENHANCED_AORTA_HU = 75.0
LEAST_ENHANCED_HU = 60.0
"""With contrast agent in the aorta, whatever is darker than this is no spleen."""

_SMOOTH_MM = 8.0
_MOST_SD_HU = 14.0
_SHELL_MM = 5.0

_LEFT_OF_SPINE_MM = 40.0
_BEFORE_SPINE_MM = 90.0
_MUSCLE_BEHIND_MM = 20.0
"""Cores whose middle lies this far behind that of the bone are muscles of the back: in patients
spleens lay 14 mm behind it at most, muscles 38 mm and more."""

_LEAST_LEFT_MM = 70.0
"""The middle of a core nearer the spine is a kidney's; in patients spleens lay 78 mm to the left
and more."""

_LEAST_LEFT_AND_BEHIND_MM = 40.0
"""The spleen lies far left or far back; the stomach, nearer the middle, lies in front."""

_MOST_BELOW_LIVER_MM = 65.0
"""From the liver's middle down to the spleen's: those of patients lay 38 mm lower at most; loops of
bowel lie deeper."""


def spleen_core(
    scan: CoarseScan, spine: DoubleArray, *, aorta_hu: float | None
) -> tuple[BoolArray, float] | None:
    """The inside of the spleen, and its density.

    Args:
        scan: The levels of the liver.
        spine: From `spine_course`.
        aorta_hu: Density of the aorta if it is known: no tissue is much brighter than blood.

    Returns:
        Mask in the shape of the scan, and the median HU in it; None where no spleen was found.
    """
    smooth, cores = _even_cores(scan, spine)
    numbered, count = ndimage.label(cores)
    if not count:
        return None
    sizes_ml = np.bincount(numbered.ravel())[1:] * scan.voxel_ml
    for number in np.argsort(-sizes_ml, kind="stable") + 1:
        if sizes_ml[number - 1] < LEAST_CORE_ML:
            return None
        core = np.asarray(numbered == number)
        median_hu = float(np.median(scan.hu[core]))
        low, high = np.percentile(smooth[core], [10, 90])
        if (
            high - low <= MOST_SPREAD_HU
            and _lies_as_spleen(core, spine, scan)
            and _fits(median_hu, aorta_hu)
        ):
            return core, median_hu
    return None


def _even_cores(scan: CoarseScan, spine: DoubleArray) -> tuple[FloatArray, BoolArray]:
    """Smoothed HU, and the insides of everything even on the left of the spine."""
    _, height, width = scan.spacing_mm
    size = [2 * int(_SMOOTH_MM / 2 / voxel) + 1 for voxel in scan.spacing_mm]
    column = np.arange(scan.hu.shape[2])
    row = np.arange(scan.hu.shape[1])[:, None]
    first = int(spine[:, 1].min())
    hu = np.clip(scan.hu[:, :, first:], -200.0, 400.0)
    smooth, cores = np.zeros_like(scan.hu), np.zeros(scan.hu.shape, np.bool_)
    mean = ndimage.uniform_filter(hu, size, mode="nearest")
    squares = ndimage.uniform_filter(hu**2, size, mode="nearest")
    smooth[:, :, first:] = mean
    even = np.sqrt(np.maximum(squares - mean**2, 0.0)) < _MOST_SD_HU
    even &= (mean > TISSUE_HU[0]) & (mean < TISSUE_HU[1]) & ~scan.liver[:, :, first:]
    cores[:, :, first:] = ndimage.binary_erosion(even, _ball(scan))
    for index, (middle_row, middle_column) in enumerate(spine):
        cores[index] &= (column - middle_column) * width > _LEFT_OF_SPINE_MM
        cores[index] &= (middle_row - row) * height < _BEFORE_SPINE_MM
    return smooth, cores


def _ball(scan: CoarseScan) -> BoolArray:
    """A ball of _SHELL_MM on the grid of the scan."""
    z, y, x = scan.voxels(_SHELL_MM)
    depth, height, width = scan.spacing_mm
    axes = np.ogrid[-z : z + 1, -y : y + 1, -x : x + 1]
    parts = [(axis * size) ** 2 for axis, size in zip(axes, (depth, height, width), strict=True)]
    return np.asarray(parts[0] + parts[1] + parts[2] <= _SHELL_MM**2)


def _lies_as_spleen(core: BoolArray, spine: DoubleArray, scan: CoarseScan) -> bool:
    """Neither where muscles of the back and kidneys lie, nor stomach or bowel."""
    depth, height, width = scan.spacing_mm
    voxels = np.argwhere(core)
    rows, columns = spine[voxels[:, 0]].T
    behind_mm = float((voxels[:, 1] - rows).mean()) * height
    left_mm = float((voxels[:, 2] - columns).mean()) * width
    liver_slice = np.median(np.nonzero(scan.liver)[0])
    below_mm = float(liver_slice - voxels[:, 0].mean()) * depth
    return (
        behind_mm < _MUSCLE_BEHIND_MM
        and left_mm > _LEAST_LEFT_MM
        and left_mm + behind_mm > _LEAST_LEFT_AND_BEHIND_MM
        and below_mm < _MOST_BELOW_LIVER_MM
    )


def _fits(spleen_hu: float, aorta_hu: float | None) -> bool:
    """Whether a spleen can have this density: kidneys and contrast agent in the gut have more."""
    if aorta_hu is None:
        return spleen_hu <= 160.0
    if aorta_hu < ENHANCED_AORTA_HU:
        return spleen_hu <= aorta_hu + 15.0
    return LEAST_ENHANCED_HU <= spleen_hu <= max(0.9 * aorta_hu, min(aorta_hu + 15.0, 150.0))
