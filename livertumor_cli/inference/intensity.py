"""HU to network input, as a recipe says."""

from __future__ import annotations

import numpy as np

from livertumor_cli.arrays import FloatArray, HuArray


def window_unit(hu: HuArray, hu_window: tuple[float, float]) -> FloatArray:
    """Clip to a window and map it to 0..1.

    Args:
        hu: Any shape, HU.
        hu_window: Lower and upper HU.

    Returns:
        float32 of the same shape.
    """
    low, high = hu_window
    clipped = np.clip(hu, low, high).astype(np.float32, copy=False)
    return np.asarray((clipped - np.float32(low)) / np.float32(high - low), dtype=np.float32)
