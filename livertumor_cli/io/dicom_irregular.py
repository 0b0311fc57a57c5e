"""Slices that form no regular grid, resampled to one: each slice counts at its true position.

Gantry tilt, unequal steps, sideways shifts and a missing slice keep the planes parallel. The new
grid has their rows and columns, its third axis stands at right angles on them, and between two
slices values are interpolated linearly along that axis.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from livertumor_cli.arrays import DoubleArray, HuArray
from livertumor_cli.errors import GeometryError, Reason
from livertumor_cli.geometry import Geometry
from livertumor_cli.io.checks import require_size, scan_geometry
from livertumor_cli.io.dicom_geometry import Stack, require_one_frame_of_reference
from livertumor_cli.io.dicom_header import Plane
from livertumor_cli.volume import AIR_HU

MENDED = frozenset({Reason.GANTRY_TILT, Reason.MISSING_SLICES, Reason.MIXED_SPACING})
"""The faults that resampling at true positions can mend; pixels of two sizes it cannot."""

MAX_GAP_MM = 10.0
"""Slices of 10 mm were once usual: what lies between two of them may be interpolated."""

MAX_GAP_STEPS = 2.1
"""One slice in a row may be missing, however thick the slices are."""

MIN_STEP_SHARE = 0.1
"""Slices nearer to one another than a tenth of the usual step belong to two stacks."""

_SNAP = 0.01
"""Offsets this near to whole pixels are whole: nothing is blurred for a hundredth of a pixel."""


def regular_grid(stack: Stack) -> Geometry:
    """The rectangular grid that holds every slice of a stack of parallel planes.

    Args:
        stack: At least two planes, in order, none at the place of another.

    Raises:
        GeometryError: missing_slices for a gap that is too wide to fill, duplicate_slices for two
            stacks beside one another, mixed_orientation for two frames of reference.
        InputError: too_large.
    """
    along = _along(stack)
    steps = np.diff(along)
    step_mm = float(np.median(steps))
    _refuse_interleaved(stack, steps)
    require_one_frame_of_reference(stack.planes)
    gap = int(steps.argmax())
    if steps[gap] > max(MAX_GAP_STEPS * step_mm, MAX_GAP_MM):
        raise GeometryError(
            f"A gap of {steps[gap]:.1f} mm between slices {step_mm:.1f} mm apart, at "
            f"{stack.place(gap)}, is too wide to fill.",
            reason=Reason.MISSING_SLICES,
            hint="Copy or export the whole series again.",
        )
    # Where thin slices end and thick ones begin, the thin ones must not be thinned out. The end
    # must be a slice too, so the step becomes a little smaller than that.
    fine_mm = float(np.quantile(steps, 0.25, method="lower"))
    count = max(1, math.ceil(along[-1] / fine_mm - 0.01))
    offsets = _offsets_px(stack)
    first = offsets.min(axis=0)
    more = np.ceil(offsets.max(axis=0) - first - _SNAP).astype(int)
    shape = (count + 1, stack.size[0] + int(more[0]), stack.size[1] + int(more[1]))
    require_size(shape)
    affine = np.eye(4)
    affine[:3, :3] = stack.matrix(step_mm=float(along[-1]) / count)
    affine[:3, 3] = stack.positions[0] + affine[:3, 1] * first[0] + affine[:3, 0] * first[1]
    return scan_geometry(shape, affine)


def _refuse_interleaved(stack: Stack, steps: DoubleArray) -> None:
    """Refuse slices almost at one place: two stacks of different times must not be mixed."""
    usual_mm = float(np.quantile(steps, 0.75))
    nearest = int(steps.argmin())
    if steps[nearest] < MIN_STEP_SHARE * usual_mm:
        raise GeometryError(
            f"Slices lie almost at one position ({steps[nearest]:.2f} mm apart, others "
            f"{usual_mm:.2f} mm), as at {stack.place(nearest)}.",
            reason=Reason.DUPLICATE_SLICES,
            hint="Give one phase or reconstruction, without copies.",
        )


def resampled(hu: HuArray, stack: Stack, *, grid: Geometry) -> HuArray:
    """The slices of a stack on its regular grid; where no slice lies is air.

    Args:
        hu: One image per plane of the stack, in its order.
        stack: Where the planes lie.
        grid: From `regular_grid`.

    Returns:
        Of the type of `hu`.
    """
    along = _along(stack)
    offsets = _offsets_px(stack)
    offsets -= offsets.min(axis=0)
    result: HuArray = np.empty(grid.shape, dtype=hu.dtype)
    placed: dict[int, NDArray[np.float32]] = {}
    for index in range(grid.shape[0]):
        height = index * along[-1] / (grid.shape[0] - 1)
        above = int(np.clip(np.searchsorted(along, height), 1, len(along) - 1))
        for needed in (above - 1, above):
            if needed not in placed:
                placed[needed] = _placed(hu[needed], offsets[needed], size=grid.shape[1:])
        share = (height - along[above - 1]) / (along[above] - along[above - 1])
        plane = _between(placed[above - 1], placed[above], share=float(np.clip(share, 0.0, 1.0)))
        result[index] = plane if hu.dtype.kind == "f" else np.rint(plane)
        placed = {key: image for key, image in placed.items() if key >= above - 1}
    return result


def nearest_planes(stack: Stack, grid: Geometry) -> list[Plane]:
    """For each z index of a regular grid the plane that lies nearest to it.

    Args:
        stack: Where the planes lie.
        grid: From `regular_grid`.
    """
    along = _along(stack)
    heights = np.linspace(0.0, along[-1], grid.shape[0])
    return [stack.planes[int(np.abs(along - height).argmin())] for height in heights]


def _along(stack: Stack) -> DoubleArray:
    """Mm of each slice along the normal, from the first."""
    return np.asarray((stack.positions - stack.positions[0]) @ stack.normal)


def _offsets_px(stack: Stack) -> DoubleArray:
    """Rows and columns by which each slice is shifted against the first, shape (n, 2)."""
    way = stack.positions - stack.positions[0]
    offsets = np.stack(
        [way @ stack.axes[1] / stack.spacing_mm[0], way @ stack.axes[0] / stack.spacing_mm[1]],
        axis=1,
    )
    whole = np.rint(offsets)
    return np.where(np.abs(offsets - whole) < _SNAP, whole, offsets)


def _placed(image: HuArray, offset: DoubleArray, *, size: Sequence[int]) -> NDArray[np.float32]:
    """An image in a larger one, shifted by parts of pixels; NaN where it has none.

    Args:
        image: Shape (rows, columns).
        offset: Rows and columns, zero or more.
        size: Of the result.
    """
    result = np.full(tuple(size), np.nan, dtype=np.float32)
    rows, columns = image.shape
    top, left = (int(number) for number in np.floor(offset))
    result[top : top + rows, left : left + columns] = image
    for axis in (0, 1):
        part = float(offset[axis] % 1.0)
        if part:
            # A pixel at 3.25 gives the whole places 3 and 4 a share of its value.
            before = np.roll(result, 1, axis=axis)
            before[(slice(0, 1), slice(None)) if axis == 0 else (slice(None), slice(0, 1))] = np.nan
            result = (1 - part) * result + part * before
    return result


def _between(
    one: NDArray[np.float32], other: NDArray[np.float32], *, share: float
) -> NDArray[np.float32]:
    """Linear interpolation; where only one slice reaches, that one alone counts."""
    if share in (0.0, 1.0):
        blended = other.copy() if share else one.copy()
    else:
        blended = (1 - share) * one + share * other
        blended = np.where(np.isnan(one), other, np.where(np.isnan(other), one, blended))
    return np.where(np.isnan(blended), np.float32(AIR_HU), blended).astype(np.float32)
