"""Diameters of a lesion: the longest axial one, the one at right angles to it, the longest in 3D.

All are measured between pixel or voxel corners: distances of voxel centers are too short by up to a
pixel, and a lesion of one voxel would have no size.

In a slice a lesion may show as several pieces that join in another one. Each is measured for
itself, as a reader does: a line from one piece to the next would count what lies between as tumor.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

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

_CORNERS_TOUCH = np.ones((3, 3), dtype=np.bool_)
"""In a slice too, pixels that touch at a corner belong together."""


@dataclass(frozen=True, slots=True)
class AxialDiameters:
    """The two diameters of a lesion in the slice where it is longest.

    Attributes:
        longest: Longest line between two corners of one piece; may leave a curved one in between.
        perpendicular: Longest line at right angles to it that stays within that piece.
        slice_index: The slice, counted along the stored axial axis of the grid measured on.
    """

    longest: Axis
    perpendicular: Axis
    slice_index: int


def axial_diameters(mask: BoolArray, *, geometry: Geometry) -> AxialDiameters:
    """Longest diameter over all axial slices, and the perpendicular one in the same slice.

    Axial slices are those across the stored axis that runs closest to the patient's head-foot
    direction. Of pieces with equal diameters the one with most pixels counts, then the one in the
    lowest slice, then the one whose first pixel comes first.

    Args:
        mask: One lesion, shape (z, y, x); a crop is enough.
        geometry: Grid of the mask.

    Raises:
        EmptyMaskError: If no voxel is set.
    """
    view = AxialView.of(geometry)
    turned = view.turn(mask)
    basis_mm = _plane_basis_mm(view.geometry)
    index, piece, longest = _longest_piece(turned, basis_mm)
    perpendicular = longest_perpendicular(piece, basis_mm, longest)
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


def _longest_piece(mask: BoolArray, basis_mm: DoubleArray) -> tuple[int, BoolArray, Chord]:
    """The piece of a slice with the longest line: slice, pixels and line.

    Slices and pieces too small to win are not searched.
    """
    bounds = _diagonals_mm(_slice_extents(mask), basis_mm)
    best_mm, found = 0.0, []
    for index in np.argsort(-bounds, kind="stable").tolist():
        if bounds[index] == 0 or bounds[index] < best_mm - TIE_MM:
            break
        for piece, bound_mm in _pieces(mask[index], basis_mm):
            if bound_mm < best_mm - TIE_MM:
                break
            chord = longest_line(piece, basis_mm)
            best_mm = max(best_mm, chord.length_mm)
            found.append((index, piece, chord))
    if not found:
        raise EmptyMaskError("an empty mask has no diameter.")
    equal = [part for part in found if part[2].length_mm >= best_mm - TIE_MM]
    return min(equal, key=lambda part: (-np.count_nonzero(part[1]), part[0]))


def _pieces(pixels: BoolArray, basis_mm: DoubleArray) -> Iterator[tuple[BoolArray, float]]:
    """Each connected piece of a slice and the most that it can measure, the largest first."""
    numbers, _ = ndimage.label(pixels, structure=_CORNERS_TOUCH)
    boxes = ndimage.find_objects(numbers)
    extents = np.array([[part.stop - part.start for part in box] for box in boxes])
    bounds = _diagonals_mm(extents, basis_mm)
    for index in np.argsort(-bounds, kind="stable").tolist():
        yield np.asarray(numbers == index + 1), float(bounds[index])


def _slice_extents(mask: BoolArray) -> NDArray[np.int64]:
    """Rows and columns from the first to the last set pixel of each slice, shape (slices, 2)."""
    extents = []
    for axis in (2, 1):
        lines: BoolArray = np.any(mask, axis=axis)
        size = lines.shape[1]
        length = size - lines[:, ::-1].argmax(axis=1) - lines.argmax(axis=1)
        extents.append(np.where(lines.any(axis=1), length, 0))
    return np.stack(extents, axis=1)


def _diagonals_mm(extents: NDArray[np.int64], basis_mm: DoubleArray) -> DoubleArray:
    """Longer diagonal of boxes of so many rows and columns, shape (n, 2)."""
    row_part = extents[:, :1] * basis_mm[0]
    column_part = extents[:, 1:] * basis_mm[1]
    diagonals = [np.linalg.norm(row_part + sign * column_part, axis=1) for sign in (1, -1)]
    return np.asarray(np.maximum(*diagonals))


def _in_patient(chord: Chord, slice_index: int, geometry: Geometry) -> Axis:
    """A line in a slice as end points in LPS mm."""
    index = np.column_stack([np.full(2, float(slice_index)), chord.ends - 0.5])
    (x0, y0, z0), (x1, y1, z1) = geometry.index_to_lps(index).tolist()
    return Axis(chord.length_mm, ((x0, y0, z0), (x1, y1, z1)))
