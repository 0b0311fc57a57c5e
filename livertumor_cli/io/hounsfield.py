"""Stored numbers to Hounsfield units: int16 where that is exact, otherwise float32."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from livertumor_cli.arrays import HuArray
from livertumor_cli.errors import PixelError, Reason
from livertumor_cli.volume import AIR_HU

MAX_PLAUSIBLE_HU = 100_000
"""Metal reaches some 30000 in extended scales; beyond this the numbers are something else."""

_SLAB_VOXELS = 4_000_000
_INT16_MAX = 32767

StoredArray = NDArray[Any]


def slabs(array: StoredArray) -> Iterator[slice]:
    """Slices along the first axis of about 4 million voxels: temporaries stay small."""
    step = max(1, _SLAB_VOXELS // max(1, array[0].size))
    for start in range(0, array.shape[0], step):
        yield slice(start, start + step)


def is_whole(*numbers: float) -> bool:
    """Whether every number is an integer, so that int16 keeps the result exactly."""
    return all(float(number).is_integer() for number in numbers)


def _stored_range(stored: StoredArray) -> tuple[float, float]:
    lows, highs = [], []
    for part in slabs(stored):
        low, high = float(stored[part].min()), float(stored[part].max())
        if not (np.isfinite(low) and np.isfinite(high)):
            raise PixelError(
                "The image holds voxels that are no numbers (NaN or infinite).",
                reason=Reason.NON_FINITE,
                hint="Export the scan again without resampling or masking.",
            )
        lows.append(low)
        highs.append(high)
    return min(lows), max(highs)


def rescaled(stored: StoredArray, *, slope: float = 1.0, intercept: float = 0.0) -> HuArray:
    """HU of stored numbers; what lies below air is padding and becomes air.

    Args:
        stored: Real numbers of any type and byte order, shape (z, y, x). It may be changed in place
            and must not be used afterwards.
        slope: HU per stored unit.
        intercept: HU of stored 0.

    Returns:
        int16 if the stored type, slope and intercept are integers and the values fit, else float32.

    Raises:
        PixelError: If a voxel is not finite (non_finite), or beyond any HU scale (not_hu).
    """
    ends = [end * slope + intercept for end in _stored_range(stored)]
    if max(ends) > MAX_PLAUSIBLE_HU:
        raise PixelError(
            f"The image holds values up to {max(ends):.6g}: these are not Hounsfield units.",
            reason=Reason.NOT_HU,
            hint="Export the CT with its rescale slope and intercept.",
        )
    whole = stored.dtype.kind in "iu" and is_whole(slope, intercept)
    dtype: type[np.int16 | np.float32] = (
        np.int16 if whole and max(ends) <= _INT16_MAX else np.float32
    )
    unscaled = slope == 1.0 and intercept == 0.0
    if unscaled and stored.dtype == np.dtype(dtype) and stored.flags.writeable:
        np.maximum(stored, dtype(AIR_HU), out=stored)
        return stored
    hu: StoredArray = np.empty(stored.shape, dtype=dtype)
    for part in slabs(stored):
        values = stored[part].astype(np.float64)
        np.maximum(values * slope + intercept, AIR_HU, out=values)
        hu[part] = values
    return hu
