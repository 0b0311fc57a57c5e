"""HU to network input, as a recipe's stage says."""

from __future__ import annotations

import numpy as np

from livertumor_cli.arrays import FloatArray, HuArray
from livertumor_cli.recipes.recipe import Normalization, Stage

BODY_HU = -200.0
"""Voxels above it are body: percentiles and z-scores of air would only tell how much air there
is."""


def prepare_intensity(hu: HuArray, stage: Stage) -> FloatArray:
    """Clip to the stage's window or percentiles, then normalize.

    Args:
        hu: HU on the stage's grid, any shape.
        stage: Its `hu_window` or `percentiles`, and its `normalization`.

    Returns:
        float32 of the same shape.
    """
    low, high = intensity_range(hu, stage)
    clipped = np.clip(hu, np.float32(low), np.float32(high)).astype(np.float32, copy=False)
    match stage.normalization:
        case Normalization.UNIT:
            return np.asarray((clipped - np.float32(low)) / np.float32(high - low))
        case Normalization.SYMMETRIC:
            return np.asarray((clipped - np.float32(low)) * np.float32(2 / (high - low)) - 1)
        case Normalization.ZSCORE:
            body = clipped[hu > BODY_HU] if (hu > BODY_HU).any() else clipped
            return np.asarray((clipped - body.mean()) / max(float(body.std()), 1e-6))


def intensity_range(hu: HuArray, stage: Stage) -> tuple[float, float]:
    """Lower and upper HU of the input; the percentiles are those of the body."""
    if stage.hu_window is not None:
        return stage.hu_window
    body = hu[hu > BODY_HU]
    if body.size == 0 or stage.percentiles is None:
        return -1.0, 0.0
    low, high = np.percentile(body, stage.percentiles)
    return float(low), max(float(high), float(low) + 1.0)
