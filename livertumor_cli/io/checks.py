"""What every reader asks of a scan before it is used, whatever format it came in.

The order matters to users: size before memory is taken, geometry before values, values before the
number of slices, so that the first sentence names the deepest fault.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from livertumor_cli.arrays import DoubleArray, HuArray
from livertumor_cli.errors import GeometryError, InputError, PixelError, Reason
from livertumor_cli.geometry import Geometry
from livertumor_cli.io.hounsfield import slabs

MAX_VOXELS = 2**30
"""1024 x 1024 x 1024: beyond any clinical CT, and the 2 GiB of int16 still fit a workstation."""

MIN_SLICES = 3
"""Fewer voxels than this along any axis are no volume to segment."""

SPACING_LIMITS_MM = (0.05, 50.0)
"""Outside, the header speaks of another unit (meters, micrometers) or of nothing."""

BODY_HU = -300
"""Above lung, below fat: what is above belongs to the body (or the table)."""

_FAT_HU = -50
_DENSE_HU = 700
_MIN_FAT_FRACTION = 0.002
_MIN_BODY_FRACTION = 1e-4
_MAX_DENSE_FRACTION = 0.3


def require_size(shape: Sequence[int]) -> None:
    """Refuse sizes that no CT has, before memory is taken for them.

    Args:
        shape: Sizes as the header states them, in any order.

    Raises:
        InputError: too_large, with the size; unreadable for a size of zero or less.
    """
    if min(shape) < 1:
        raise InputError(
            f"The header states a size of {' x '.join(map(str, shape))} voxels.",
            reason=Reason.UNREADABLE,
        )
    # math.prod, as numpy's product of forged sizes would wrap around.
    if math.prod(shape) > MAX_VOXELS:
        raise InputError(
            f"The header states {' x '.join(map(str, shape))} voxels, more than any CT has.",
            reason=Reason.TOO_LARGE,
            hint="Crop or resample the scan, or export it again if the size is wrong.",
        )


def scan_geometry(shape: tuple[int, int, int], affine_lps: DoubleArray) -> Geometry:
    """The grid of a file, refused unless it is rectangular with believable voxel sizes.

    Args:
        shape: Voxels along z, y, x.
        affine_lps: 4x4, index (x, y, z, 1) to LPS mm.

    Raises:
        GeometryError: no_spacing for a missing or unbelievable voxel size, sheared for axes that do
            not stand at right angles.
    """
    try:
        geometry = Geometry(shape, affine_lps)
    except ValueError as error:
        raise GeometryError(
            "The header gives no voxel size that spans a volume.", reason=Reason.NO_SPACING
        ) from error
    low, high = SPACING_LIMITS_MM
    if not all(low <= size <= high for size in geometry.spacing_mm):
        sizes = " x ".join(f"{size:.4g}" for size in geometry.spacing_mm)
        raise GeometryError(
            f"The header gives voxels of {sizes} mm (z, y, x), which no CT has.",
            reason=Reason.NO_SPACING,
            hint="Export the scan again with its voxel size in millimeters.",
        )
    if not geometry.is_rectangular:
        raise GeometryError(
            f"The voxel axes do not stand at right angles (off by {_shear_degrees(geometry):.1f} "
            "degrees), as after a gantry tilt.",
            reason=Reason.SHEARED,
            hint="Resample the scan to a rectangular grid in the program that exported it.",
        )
    return geometry


def _shear_degrees(geometry: Geometry) -> float:
    gram = np.abs(geometry.direction.T @ geometry.direction - np.eye(3))
    return float(np.degrees(np.arcsin(min(1.0, gram.max()))))


def require_hounsfield(hu: HuArray) -> None:
    """Refuse values that are not those of a body in Hounsfield units.

    A body in HU has fat or air below -50, and its tissue is not as dense as bone: MR, windowed
    gray values and HU + 1024 fail one of the two. A scan clipped to a soft-tissue window in HU
    passes.

    Args:
        hu: Shape (z, y, x).

    Raises:
        PixelError: empty_volume or not_hu.
    """
    low, high, fat, body, dense = np.inf, -np.inf, 0, 0, 0
    for part in slabs(hu):
        slab = hu[part]
        low, high = min(low, float(slab.min())), max(high, float(slab.max()))
        fat += int(np.count_nonzero(slab < _FAT_HU))
        body += int(np.count_nonzero(slab > BODY_HU))
        dense += int(np.count_nonzero(slab > _DENSE_HU))
    if low == high:
        raise PixelError(
            f"The image is empty: every voxel has the value {low:g}.",
            reason=Reason.EMPTY_VOLUME,
            hint="Check that the right series was exported.",
        )
    if body < _MIN_BODY_FRACTION * hu.size:
        raise PixelError(
            f"The image shows no body in Hounsfield units: all values lie between {low:g} and "
            f"{high:g}, and less than {_MIN_BODY_FRACTION:.2%} above {BODY_HU}.",
            reason=Reason.NOT_HU,
            hint="Check that the right series was exported, with its original values.",
        )
    if fat < _MIN_FAT_FRACTION * hu.size or dense > _MAX_DENSE_FRACTION * body:
        raise PixelError(
            f"The values ({low:g} to {high:g}) are not Hounsfield units.",
            reason=Reason.NOT_HU,
            hint="Export the CT with its original values: not windowed, not shifted, no MR.",
        )


def require_slices(shape: Sequence[int]) -> None:
    """Refuse an image that is no volume.

    Raises:
        GeometryError: too_few_slices.
    """
    if min(shape) < MIN_SLICES:
        raise GeometryError(
            f"The image has {min(shape)} slice(s); at least {MIN_SLICES} are needed.",
            reason=Reason.TOO_FEW_SLICES,
            hint="Give the whole series: its folder, not one of its files.",
        )
