"""The grid of a stack of planes, from their positions and orientations alone.

Slice numbers, slice locations, thickness and the tilt tag are not asked: scanners and converters
leave them wrong, and every error they could show is in the positions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from livertumor_cli.arrays import DoubleArray
from livertumor_cli.errors import GeometryError, Reason
from livertumor_cli.geometry import ORTHOGONALITY_TOLERANCE, Geometry
from livertumor_cli.io.checks import scan_geometry
from livertumor_cli.io.dicom_header import Plane

PLACE_TOLERANCE_MM = 0.1
"""Positions rounded to a tenth of a millimeter pass; a missing slice of any CT does not."""

DUPLICATE_TOLERANCE_MM = 0.01
"""Two slices closer than this are at one position."""

FARTHEST_MM = 1e5
"""No table moves 100 m: a position beyond is damaged or made up."""

_SAME_SPACING = 1e-3
_SAME_COSINE = 1e-3

_MOST_NAMED = 3
_FEWEST_OF_A_SCAN = 3

_RESAMPLE = "let --resample-irregular interpolate its slices"
_EXPORT_AGAIN = "Export the series again, or another reconstruction of it."


@dataclass(frozen=True, slots=True)
class Stack:
    """Parallel planes of one pixel grid, in order along their normal.

    Attributes:
        planes: In that order.
        axes: Unit vectors of a row and of a column, shape (2, 3).
        spacing_mm: Distance of rows, of columns.
        positions: LPS mm of each plane's first pixel, shape (n, 3).
    """

    planes: list[Plane]
    axes: DoubleArray
    spacing_mm: DoubleArray
    positions: DoubleArray

    @property
    def normal(self) -> DoubleArray:
        """Unit vector of the third axis."""
        return np.asarray(np.cross(self.axes[0], self.axes[1]))

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.planes[0].size

    def matrix(self, *, step_mm: float) -> DoubleArray:
        """3x3, columns are one step along the columns, the rows and the normal."""
        return np.column_stack(
            [
                self.axes[0] * self.spacing_mm[1],
                self.axes[1] * self.spacing_mm[0],
                self.normal * step_mm,
            ]
        )

    def place(self, index: int) -> str:
        """Where a plane lies, for a sentence."""
        return _place(self.positions[index])


def sorted_stack(planes: Sequence[Plane]) -> Stack:
    """Planes sorted along their common normal, none at the place of another.

    Args:
        planes: One or more planes of one series.

    Raises:
        GeometryError: no_orientation, no_positions, no_spacing, mixed_orientation, mixed_sizes,
            mixed_spacing or duplicate_slices.
    """
    axes = _common_axes(planes)
    spacing = _common_spacing(planes)
    positions = np.array([_position(plane) for plane in planes])
    order = np.argsort(positions @ np.cross(axes[0], axes[1]), kind="stable")
    stack = Stack([planes[index] for index in order], axes, spacing, positions[order])
    _refuse_duplicates(stack)
    _refuse_interleaved(stack.planes)
    return stack


def ordered_stack(planes: Sequence[Plane]) -> tuple[list[Plane], Geometry]:
    """Planes sorted along the slice normal, and the regular grid they form.

    Args:
        planes: One or more planes of one series.

    Returns:
        The planes in z order and their grid. A single plane gets its slice thickness as step.

    Raises:
        GeometryError: As `sorted_stack`, and gantry_tilt, missing_slices, mixed_spacing for slices
            that are shifted sideways, or mixed_orientation for two frames of reference.
    """
    stack = sorted_stack(planes)
    regular_mm = _regular_step(stack)
    require_one_frame_of_reference(planes)
    step_mm = regular_mm or max(0.0, planes[0].thickness_mm) or 1.0
    affine = np.eye(4)
    affine[:3, :3] = stack.matrix(step_mm=step_mm)
    affine[:3, 3] = stack.positions[0]
    return stack.planes, scan_geometry((len(planes), *stack.size), affine)


def require_one_frame_of_reference(planes: Sequence[Plane]) -> None:
    """Refuse positions that count from different origins, as after the patient was laid anew.

    Asked last: two scans in one series have plainer faults as a rule.

    Raises:
        GeometryError: mixed_orientation.
    """
    frames = {plane.frame_of_reference for plane in planes} - {""}
    if len(frames) > 1:
        raise GeometryError(
            f"The slices of the series lie in {len(frames)} frames of reference, so that their "
            "positions cannot be compared.",
            reason=Reason.MIXED_ORIENTATION,
            hint="Export each acquisition as a series of its own.",
        )


def _common_axes(planes: Sequence[Plane]) -> DoubleArray:
    """Unit vectors of a row and of a column, shape (2, 3), that all planes share."""
    if any(plane.orientation is None for plane in planes):
        raise GeometryError(
            "A slice does not state its orientation in the patient.",
            reason=Reason.NO_ORIENTATION,
            hint=_EXPORT_AGAIN,
        )
    cosines = np.array([plane.orientation for plane in planes], dtype=np.float64)
    if not np.abs(cosines - cosines[0]).max() <= _SAME_COSINE:  # also where it is no number
        raise GeometryError(
            "The slices of the series do not have one orientation.",
            reason=Reason.MIXED_ORIENTATION,
            hint="Export the axial slices as a series of their own.",
        )
    if len({plane.size for plane in planes}) > 1:
        sizes = sorted({f"{rows} x {columns}" for rows, columns in (p.size for p in planes)})
        raise GeometryError(
            f"The slices of the series differ in size ({', '.join(sizes)} pixels).",
            reason=Reason.MIXED_SIZES,
            hint=_EXPORT_AGAIN,
        )
    # Six-digit cosines of many slices are rounded to either side: their middle is the truest.
    axes = np.median(cosines, axis=0).reshape(2, 3)
    lengths = np.linalg.norm(axes, axis=1)
    if np.abs(lengths - 1).max() > 0.01 or abs(axes[0] @ axes[1]) > ORTHOGONALITY_TOLERANCE:
        raise GeometryError(
            "The stated rows and columns of the slices do not stand at right angles.",
            reason=Reason.NO_ORIENTATION,
            hint=_EXPORT_AGAIN,
        )
    return np.asarray(axes / lengths[:, None])


def _common_spacing(planes: Sequence[Plane]) -> DoubleArray:
    """Distance of rows and of columns in mm that all planes share."""
    if any(plane.spacing_mm is None for plane in planes):
        raise GeometryError(
            "A slice does not state its pixel spacing.",
            reason=Reason.NO_SPACING,
            hint=_EXPORT_AGAIN,
        )
    spacings = np.array([plane.spacing_mm for plane in planes], dtype=np.float64)
    if not (spacings > 0).all():
        raise GeometryError(
            "A slice states a pixel spacing that is not positive.",
            reason=Reason.NO_SPACING,
            hint=_EXPORT_AGAIN,
        )
    if not np.allclose(spacings, spacings[0], rtol=_SAME_SPACING, atol=0.0):
        raise GeometryError(
            "The slices of the series differ in pixel spacing.",
            reason=Reason.MIXED_SPACING,
            hint=_EXPORT_AGAIN,
        )
    return np.asarray(spacings[0])


def _position(plane: Plane) -> tuple[float, ...]:
    # Also false where a number is none.
    if plane.position_mm is None or not np.abs(plane.position_mm).max() <= FARTHEST_MM:
        raise GeometryError(
            "A slice does not state its position in the patient, or an impossible one.",
            reason=Reason.NO_POSITIONS,
            hint=_EXPORT_AGAIN,
        )
    return plane.position_mm


def _regular_step(stack: Stack) -> float:
    """Distance of neighboring slices in mm, 0 for one slice."""
    positions = stack.positions
    if len(positions) < 2:
        return 0.0
    along = (positions - positions[0]) @ stack.normal
    steps = np.diff(along)
    _refuse_drift(positions, normal=stack.normal)
    step_mm = float(along[-1]) / (len(along) - 1)
    off = np.abs(along - np.arange(len(along)) * step_mm).max()
    if not off <= min(PLACE_TOLERANCE_MM, step_mm / 5):
        usual = float(np.median(steps))
        odd = np.flatnonzero(np.abs(steps - usual) > min(PLACE_TOLERANCE_MM, usual / 5))
        named = odd[:_MOST_NAMED] if odd.size else [int(steps.argmax())]
        places = "; ".join(
            f"{steps[index]:.2f} mm from {stack.place(index)} to {stack.place(index + 1)}"
            for index in named
        )
        more = f"; and {odd.size - _MOST_NAMED} more" if odd.size > _MOST_NAMED else ""
        raise GeometryError(
            f"The slices are not evenly spaced: steps of {usual:.2f} mm, but {places}{more}.",
            reason=Reason.MISSING_SLICES,
            hint=f"Copy or export the whole series again, or {_RESAMPLE}.",
        )
    return step_mm


def _refuse_duplicates(stack: Stack) -> None:
    along = (stack.positions - stack.positions[0]) @ stack.normal
    close = np.diff(along) < DUPLICATE_TOLERANCE_MM
    if not close.any():
        return
    # Every slice that has a neighbor at its place, before or after it.
    doubled = np.flatnonzero(np.r_[close, False] | np.r_[False, close])
    firsts = np.flatnonzero(np.r_[close, False] & ~np.r_[False, close])
    places = "; ".join(stack.place(int(index)) for index in firsts[:_MOST_NAMED])
    more = f"; and {firsts.size - _MOST_NAMED} more places" if firsts.size > _MOST_NAMED else ""
    raise GeometryError(
        f"{doubled.size} slices share their position with another: {places}{more}.",
        reason=Reason.DUPLICATE_SLICES,
        hint="Give one phase or reconstruction, without copies.",
    )


def _refuse_interleaved(planes: Sequence[Plane]) -> None:
    """Refuse two scans of one region whose slices take turns: together they can look regular."""
    numbers = [plane.about.acquisition for plane in planes]
    counts = Counter(numbers)
    # Some scanners number every slice; others take a long scan in blocks one after another.
    if len(counts) < 2 or min(counts.values()) < _FEWEST_OF_A_SCAN:
        return
    turns = sum(one != other for one, other in pairwise(numbers))
    if turns >= len(planes) / 2:
        raise GeometryError(
            f"Slices of {len(counts)} acquisitions take turns along the stack.",
            reason=Reason.DUPLICATE_SLICES,
            hint="Give one phase or reconstruction in a series of its own.",
        )


def _refuse_drift(positions: DoubleArray, *, normal: DoubleArray) -> None:
    """Refuse stacks whose slices lie beside one another: gantry tilt, or shifted slices."""
    way = positions - positions[0]
    along = way @ normal
    aside = way - np.outer(along, normal)
    # A tilt drifts in proportion to the way: the best straight drift through the first slice.
    drift = (along @ aside) / (along @ along)
    drift_mm = float(np.linalg.norm(drift) * along[-1])
    apart_mm = float(np.linalg.norm(aside - np.outer(along, drift), axis=1).max())
    allowed_mm = max(PLACE_TOLERANCE_MM, ORTHOGONALITY_TOLERANCE * float(along[-1]))
    if drift_mm > allowed_mm and apart_mm < drift_mm / 5:
        angle = float(np.degrees(np.arctan(np.linalg.norm(drift))))
        raise GeometryError(
            f"The slices are stacked at a slant of {angle:.1f} degrees (gantry tilt).",
            reason=Reason.GANTRY_TILT,
            hint=f"Ask for a reconstruction without tilt, or {_RESAMPLE}.",
        )
    if max(apart_mm, drift_mm) > 2 * allowed_mm:
        raise GeometryError(
            f"The slices are shifted sideways against one another by up to {apart_mm:.1f} mm.",
            reason=Reason.MIXED_SPACING,
            hint=f"Export the series again, or {_RESAMPLE}.",
        )


def _place(position: DoubleArray) -> str:
    return "({:.1f}, {:.1f}, {:.1f}) mm".format(*position)
