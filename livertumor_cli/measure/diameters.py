"""Diameters of a lesion: the longest axial one, the one at right angles to it, the longest in 3D.

All are measured between pixel or voxel corners: distances of voxel centers are too short by up to a
pixel, and a lesion of one voxel would have no size.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from livertumor_cli.arrays import BoolArray, DoubleArray
from livertumor_cli.axial import AxialView
from livertumor_cli.errors import EmptyMaskError
from livertumor_cli.findings import Axis
from livertumor_cli.geometry import Geometry
from livertumor_cli.measure.outline import (
    TIE_MM,
    Chord,
    greatest_distance_mm,
    hull_corners,
    longest_line,
    longest_perpendicular,
)


@dataclass(frozen=True, slots=True)
class AxialDiameters:
    """The two diameters of a lesion in the slice where it is longest.

    Attributes:
        longest: Longest line between two corners of the outline; may leave a curved lesion.
        perpendicular: Longest line at right angles to it that stays within the outline.
        slice_index: The slice, counted along the stored axial axis of the grid measured on.
    """

    longest: Axis
    perpendicular: Axis
    slice_index: int


def axial_diameters(mask: BoolArray, *, geometry: Geometry) -> AxialDiameters:
    """Longest diameter over all axial slices, and the perpendicular one in the same slice.

    Axial slices are those across the stored axis that runs closest to the patient's head-foot
    direction. Of slices with equal diameters the one with most pixels counts, then the lowest.

    Args:
        mask: One lesion, shape (z, y, x); a crop is enough.
        geometry: Grid of the mask.

    Raises:
        EmptyMaskError: If no voxel is set.
    """
    view = AxialView.of(geometry)
    turned = view.turn(mask)
    basis_mm = _plane_basis_mm(view.geometry)
    index, longest = _longest_slice(turned, basis_mm)
    perpendicular = longest_perpendicular(turned[index], basis_mm, longest)
    return AxialDiameters(
        longest=_in_patient(longest, index, view.geometry),
        perpendicular=_in_patient(perpendicular, index, view.geometry),
        slice_index=view.stored_slice(index),
    )


def max_3d_diameter_mm(mask: BoolArray, *, geometry: Geometry) -> float:
    """Largest distance of two voxel corners of a lesion in mm.

    Args:
        mask: One lesion, shape (z, y, x); a crop is enough.
        geometry: Grid of the mask.

    Raises:
        EmptyMaskError: If no voxel is set.
    """
    if not mask.any():
        raise EmptyMaskError("an empty mask has no diameter.")
    # Corners lie half a voxel from the centers, the same way for all: distances do not change.
    return greatest_distance_mm(geometry.index_to_lps(hull_corners(mask)))


def _plane_basis_mm(geometry: Geometry) -> DoubleArray:
    """Steps along rows and columns in mm in the plane, shape (2, 2); skewed stays skewed."""
    column_step = geometry.affine_lps[:3, 0]
    row_step = geometry.affine_lps[:3, 1]
    width = float(np.linalg.norm(column_step))
    along = float(row_step @ column_step) / width
    height = float(np.linalg.norm(row_step - along * column_step / width))
    return np.array([[height, along], [0.0, width]])


def _longest_slice(mask: BoolArray, basis_mm: DoubleArray) -> tuple[int, Chord]:
    """The slice with the longest line and that line; slices too small to win are not searched."""
    areas = np.count_nonzero(mask, axis=(1, 2))
    bounds = _diagonals_mm(mask, basis_mm)
    order = np.argsort(-bounds, kind="stable")
    best_length, found = 0.0, {}
    for index in order:
        if areas[index] == 0 or bounds[index] < best_length - TIE_MM:
            break
        chord = longest_line(mask[index], basis_mm)
        found[int(index)] = chord
        best_length = max(best_length, chord.length_mm)
    if not found:
        raise EmptyMaskError("an empty mask has no diameter.")
    equal = [index for index in found if found[index].length_mm >= best_length - TIE_MM]
    best = min(equal, key=lambda index: (-areas[index], index))
    return best, found[best]


def _diagonals_mm(mask: BoolArray, basis_mm: DoubleArray) -> DoubleArray:
    """Longer diagonal of the box round the pixels of each slice; 0 for an empty slice."""
    extents = []
    for axis in (2, 1):
        lines: BoolArray = np.any(mask, axis=axis)
        size = lines.shape[1]
        length = size - lines[:, ::-1].argmax(axis=1) - lines.argmax(axis=1)
        extents.append(np.where(lines.any(axis=1), length, 0))
    row_part = extents[0][:, None] * basis_mm[0]
    column_part = extents[1][:, None] * basis_mm[1]
    diagonals = [np.linalg.norm(row_part + sign * column_part, axis=1) for sign in (1, -1)]
    return np.asarray(np.maximum(*diagonals))


def _in_patient(chord: Chord, slice_index: int, geometry: Geometry) -> Axis:
    """A line in a slice as end points in LPS mm."""
    index = np.column_stack([np.full(2, float(slice_index)), chord.ends - 0.5])
    (x0, y0, z0), (x1, y1, z1) = geometry.index_to_lps(index).tolist()
    return Axis(chord.length_mm, ((x0, y0, z0), (x1, y1, z1)))
