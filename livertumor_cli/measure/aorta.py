"""Density of the blood in the aorta, found as a round column in front of the spine."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from livertumor_cli.arrays import BoolArray, DoubleArray, FloatArray
from livertumor_cli.measure.coarse_scan import CoarseScan

RADII_MM = (6.0, 20.0)
"""Descending aortas of adults, narrow ones and those that bulge."""

LEAST_ROUNDNESS = 0.65
"""Share of the directions in which the edge lies at the circle."""

LEAST_DARK = 0.4
"""Share of the directions in which what lies outside is darker: fat or lung. The inside of a
vertebra and the spinal canal, which are round as well, have bone about them."""

LEAST_LENGTH_MM = 90.0
"""So much of the column must be round, over all slices together. In 29 patients it was 118 mm and
more; where the aorta had been painted over, other round things made at most 88 mm."""

MOST_SPREAD = (20.0, 0.15)
"""Largest difference of the quartiles along the column: HU, and share of the median on top."""

BLOOD_HU = (15.0, 800.0)
"""Blood without and with contrast agent."""

_RAYS = 16
_STEPS_MM = np.arange(4.0, 25.5, 1.5)
_CORE_MM = 5.0
_BEFORE_SPINE_MM = (12.0, 80.0)
"""The aorta's middle lies so far in front of the spinal canal."""

_LEFT_OF_SPINE_MM = (-12.0, 45.0)
"""And so far to the left of the middle. The vena cava lies to the right."""


@dataclass(frozen=True, slots=True)
class AortaCourse:
    """The best round column, whether good enough or not.

    Attributes:
        centers: Slice, row and column of its middle in each slice, shape (slices, 3).
        is_round: Whether a slice shows it, shape (slices,).
        radii_mm: Its radius in each slice, where it is round.
        core_hu: Mean of its core in each slice.
    """

    centers: NDArray[np.intp]
    is_round: BoolArray
    radii_mm: FloatArray
    core_hu: FloatArray

    def median_hu(self, slice_mm: float) -> float | None:
        """Median of the core over the round slices; None where too few are or they disagree.

        Args:
            slice_mm: Distance of the slices.
        """
        if int(self.is_round.sum()) * slice_mm < LEAST_LENGTH_MM:
            return None
        low, median, high = np.percentile(self.core_hu[self.is_round], [25, 50, 75])
        flat_hu, share = MOST_SPREAD
        return float(median) if high - low <= flat_hu + share * median else None


def aorta_course(scan: CoarseScan, spine: DoubleArray) -> AortaCourse:
    """Follow the roundest column in front of the spine through all slices.

    Args:
        scan: The levels of the liver.
        spine: From `spine_course`.
    """
    roundness, core_hu, radii_mm = (np.zeros(scan.hu.shape, np.float32) for _ in range(3))
    # Vessels run on from slice to slice, what lies beside them and noise do not.
    steady = ndimage.median_filter(scan.hu, size=(3, 1, 1), mode="nearest")
    for index, (plane, middle) in enumerate(zip(steady, spine, strict=True)):
        spots, spots_hu = _blood_like(plane, middle, scan)
        if len(spots):
            place = (index, spots[:, 0], spots[:, 1])
            roundness[place], radii_mm[place] = _roundness(plane, spots, spots_hu, scan)
            core_hu[place] = spots_hu
    centers = _best_course(roundness, scan)
    along = tuple(centers.T)
    return AortaCourse(
        centers, roundness[along] >= LEAST_ROUNDNESS, radii_mm[along], core_hu[along]
    )


def _blood_like(
    plane: FloatArray, middle: DoubleArray, scan: CoarseScan
) -> tuple[NDArray[np.intp], FloatArray]:
    """Where in front of the spine a small disc is even and no fat, and the mean of each."""
    _, height, width = scan.spacing_mm
    near, far = _BEFORE_SPINE_MM
    right, left = _LEFT_OF_SPINE_MM
    top, bottom = (max(int(middle[0] - gap / height), 0) for gap in (far, near))
    first, last = (max(int(middle[1] + gap / width), 0) for gap in (right, left))
    _, rows, columns = scan.voxels(_CORE_MM)
    above, before = min(rows, top), min(columns, first)  # the discs' reach, as far as the plane's
    window = plane[top - above : bottom + rows, first - before : last + columns]
    y, x = np.ogrid[-rows : rows + 1, -columns : columns + 1]
    disc = ((y * height) ** 2 + (x * width) ** 2 <= _CORE_MM**2).astype(np.float32)
    disc /= disc.sum()
    inner = (slice(above, above + bottom - top), slice(before, before + last - first))
    mean, squares = (
        ndimage.convolve(values, disc, mode="nearest")[inner] for values in (window, window**2)
    )
    sd = np.sqrt(np.maximum(squares - mean**2, 0.0))
    even = (sd < 15.0 + 0.05 * mean) & (mean > BLOOD_HU[0]) & (mean < BLOOD_HU[1])
    return np.argwhere(even) + np.array([top, first]), mean[even]


def _roundness(
    plane: FloatArray, spots: NDArray[np.intp], spots_hu: FloatArray, scan: CoarseScan
) -> tuple[DoubleArray, DoubleArray]:
    """How round what lies about each spot is, 0 to 1, and its radius in mm."""
    _, height, width = scan.spacing_mm
    angles = np.arange(_RAYS) * 2 * np.pi / _RAYS
    rows = spots[:, 0, None, None] + np.sin(angles)[:, None] * _STEPS_MM / height
    columns = spots[:, 1, None, None] + np.cos(angles)[:, None] * _STEPS_MM / width
    # Spots, rays, steps.
    ray_hu = ndimage.map_coordinates(plane, [rows, columns], order=1, mode="nearest")
    inside_hu = spots_hu[:, None, None]
    step_hu = np.maximum(30.0, 0.25 * (inside_hu + 100.0))  # a quarter of the way to fat
    is_outside = np.abs(ray_hu - inside_hu) > step_hu
    first = is_outside.argmax(axis=2)
    has_edge = is_outside.any(axis=2)
    edge_mm = np.where(has_edge, _STEPS_MM[first], np.inf)
    is_dark = has_edge & (np.take_along_axis(ray_hu - inside_hu, first[..., None], 2)[..., 0] < 0)
    # The middle one of the sorted edges; a missing edge counts as far away.
    radius_mm = np.sort(edge_mm, axis=1)[:, _RAYS // 2]
    with np.errstate(invalid="ignore"):  # infinity less infinity
        is_near = np.abs(edge_mm - radius_mm[:, None]) <= np.maximum(2.0, 0.2 * radius_mm)[:, None]
    lowest, highest = RADII_MM
    is_vessel = (radius_mm >= lowest) & (radius_mm <= highest)
    is_vessel &= (is_near & is_dark).mean(axis=1) >= LEAST_DARK
    return np.where(is_vessel, is_near.mean(axis=1), 0.0), np.where(is_vessel, radius_mm, 0.0)


def _best_course(roundness: FloatArray, scan: CoarseScan) -> NDArray[np.intp]:
    """Slice, row, column of the course that adds up most roundness and leans at most 45 degrees."""
    reach = max(1, round(scan.spacing_mm[0] / scan.spacing_mm[1]))
    total = roundness.copy()
    for index in range(1, len(total)):
        total[index] += ndimage.maximum_filter(total[index - 1], size=2 * reach + 1)
    top = left = 0
    window = total[-1]
    course = []
    for index in range(len(total) - 1, -1, -1):
        row, column = np.unravel_index(window.argmax(), window.shape)
        row, column = int(row) + top, int(column) + left
        course.append((index, row, column))
        top, left = max(row - reach, 0), max(column - reach, 0)
        window = total[index - 1, top : row + reach + 1, left : column + reach + 1]
    return np.array(course[::-1], dtype=np.intp)
