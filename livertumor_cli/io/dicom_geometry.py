"""The grid of a stack of planes, from their positions and orientations alone.

Slice numbers, slice locations, thickness and the tilt tag are not asked: scanners and converters
leave them wrong, and every error they could show is in the positions.
"""

from __future__ import annotations

from collections.abc import Sequence

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

_SAME_SPACING = 1e-3
_SAME_COSINE = 1e-3

_EXPORT_AGAIN = "Export the series again, or another reconstruction of it."


def ordered_stack(planes: Sequence[Plane]) -> tuple[list[Plane], Geometry]:
    """Planes sorted along the slice normal, and the regular grid they form.

    Args:
        planes: One or more planes of one series.

    Returns:
        The planes in z order and their grid. A single plane gets its slice thickness as step.

    Raises:
        GeometryError: no_orientation, no_positions, no_spacing, mixed_orientation, mixed_sizes,
            mixed_spacing, duplicate_slices, gantry_tilt or missing_slices.
    """
    axes = _common_axes(planes)
    spacing = _common_spacing(planes)
    positions = np.array([_position(plane) for plane in planes])
    normal = np.cross(axes[0], axes[1])
    order = np.argsort(positions @ normal, kind="stable")
    positions = positions[order]
    step_mm = _regular_step(positions, normal=normal)
    if step_mm == 0:
        step_mm = planes[0].thickness_mm or 1.0
    affine = np.eye(4)
    affine[:3, 0] = axes[0] * spacing[1]
    affine[:3, 1] = axes[1] * spacing[0]
    affine[:3, 2] = normal * step_mm
    affine[:3, 3] = positions[0]
    rows, columns = planes[0].size
    geometry = scan_geometry((len(planes), rows, columns), affine)
    return [planes[index] for index in order], geometry


def _common_axes(planes: Sequence[Plane]) -> DoubleArray:
    """Unit vectors of a row and of a column, shape (2, 3), that all planes share."""
    if any(plane.orientation is None for plane in planes):
        raise GeometryError(
            "A slice does not state its orientation in the patient.",
            reason=Reason.NO_ORIENTATION,
            hint=_EXPORT_AGAIN,
        )
    cosines = np.array([plane.orientation for plane in planes], dtype=np.float64)
    if np.abs(cosines - cosines[0]).max() > _SAME_COSINE:
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
    axes = cosines[0].reshape(2, 3)
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
    if not np.allclose(spacings, spacings[0], rtol=_SAME_SPACING, atol=0.0):
        raise GeometryError(
            "The slices of the series differ in pixel spacing.",
            reason=Reason.MIXED_SPACING,
            hint=_EXPORT_AGAIN,
        )
    return np.asarray(spacings[0])


def _position(plane: Plane) -> tuple[float, ...]:
    if plane.position_mm is None or not np.isfinite(plane.position_mm).all():
        raise GeometryError(
            "A slice does not state its position in the patient.",
            reason=Reason.NO_POSITIONS,
            hint=_EXPORT_AGAIN,
        )
    return plane.position_mm


def _regular_step(positions: DoubleArray, *, normal: DoubleArray) -> float:
    """Distance of neighboring slices in mm, 0 for one slice.

    Args:
        positions: LPS mm in order along the normal, shape (n, 3).
        normal: Unit vector.
    """
    if len(positions) < 2:
        return 0.0
    along = (positions - positions[0]) @ normal
    steps = np.diff(along)
    _refuse_duplicates(steps, positions)
    _refuse_drift(positions, normal=normal)
    step_mm = float(along[-1]) / (len(along) - 1)
    off = np.abs(along - np.arange(len(along)) * step_mm).max()
    if off > min(PLACE_TOLERANCE_MM, step_mm / 5):
        gap = int(steps.argmax())
        raise GeometryError(
            f"The slices are not evenly spaced: steps of {np.median(steps):.2f} mm, but "
            f"{steps[gap]:.2f} mm at {_place(positions[gap])}.",
            reason=Reason.MISSING_SLICES,
            hint="Copy or export the whole series again.",
        )
    return step_mm


def _refuse_duplicates(steps: DoubleArray, positions: DoubleArray) -> None:
    same = int((steps < DUPLICATE_TOLERANCE_MM).sum())
    if same:
        place = _place(positions[int(steps.argmin())])
        raise GeometryError(
            f"{same + 1 if same == len(steps) else 2 * same} slices share their position with "
            f"another, as at {place}.",
            reason=Reason.DUPLICATE_SLICES,
            hint="Give one phase or reconstruction, without copies.",
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
            hint="Ask for a reconstruction without tilt, or resample the series.",
        )
    if max(apart_mm, drift_mm) > 2 * allowed_mm:
        raise GeometryError(
            f"The slices are shifted sideways against one another by up to {apart_mm:.1f} mm.",
            reason=Reason.MIXED_SPACING,
            hint=_EXPORT_AGAIN,
        )


def _place(position: DoubleArray) -> str:
    return "({:.1f}, {:.1f}, {:.1f}) mm".format(*position)
