"""Which lesions are too small, cut off, or too close to a threshold to be told from it."""

from __future__ import annotations

from livertumor_cli.axial import AxialView
from livertumor_cli.findings import LesionFlag
from livertumor_cli.geometry import Box, Geometry

MEASURABLE_MM = 10.0
"""RECIST 1.1: shortest measurable diameter on slices of at most 5 mm."""

MEASURABLE_SLICES = 2.0
"""RECIST 1.1: on thicker slices, so many of their thickness."""

THRESHOLDS_MM = (10.0, 20.0, 30.0, 50.0)
"""Lengths at which clinical schemes change their mind."""


def lesion_flags(box: Box, *, geometry: Geometry, longest_mm: float) -> tuple[LesionFlag, ...]:
    """What must be said about a lesion.

    The distance of the slices stands for their thickness, which few formats store. A length is
    borderline when it lies within one pixel (the larger of its sides) of a threshold.

    Args:
        box: Where the lesion lies in the scan.
        geometry: The scan's grid.
        longest_mm: Its longest axial diameter.
    """
    view = AxialView.of(geometry)
    slice_mm, row_mm, column_mm = view.geometry.spacing_mm
    flags = []
    if longest_mm < max(MEASURABLE_MM, MEASURABLE_SLICES * slice_mm):
        flags.append(LesionFlag.BELOW_MEASURABLE)
    if any(
        part.start == 0 or part.stop == size for part, size in zip(box, geometry.shape, strict=True)
    ):
        flags.append(LesionFlag.TOUCHES_BORDER)
    pixel_mm = max(row_mm, column_mm)
    if any(abs(longest_mm - threshold) <= pixel_mm for threshold in THRESHOLDS_MM):
        flags.append(LesionFlag.BORDERLINE)
    return tuple(flags)
