"""What the second stage sees of a patient: the liver that the first stage found, and a rim.

UCA-Net, section 2.2.3: "the segmented liver region" is the network's input. The first stage's
outline is coarse, so a rim is kept, in which the second stage draws the fine outline. In training
the first stage's errors are imitated: the reach of the rim wavers, pieces beside the liver come in,
and pieces of it go missing.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from livertumor_cli.geometry import Spacing
from livertumor_cli.training.cache import TrainingCase

FARTHEST_MM = 80.0
"""Distances are cut here: no rim reaches further."""

WAVER_MM = 4.0
LARGE_WAVER_MM = 11.0
LARGE_WAVER_CHANCE = 0.25
REACH_SPREAD_MM = 5.0
EXTRA_PIECE_CHANCE = 0.35


def distance_to_liver(case: TrainingCase, *, spacing_mm: Spacing) -> Tensor:
    """Distance of every voxel to the reference liver, 0 inside, FARTHEST_MM without a liver.

    Measured on every second voxel: the rim wavers by more than that.

    Args:
        case: The case; labels shape (z, y, x).
        spacing_mm: Its grid.

    Returns:
        float32 mm, shape (z, y, x).
    """
    outside = case.labels[::2, ::2, ::2] == 0
    if outside.all():
        return torch.full(case.labels.shape, FARTHEST_MM)
    steps = [2 * step for step in spacing_mm]
    coarse = ndimage.distance_transform_edt(outside, sampling=steps).astype(np.float32)
    fine = coarse.repeat(2, axis=0).repeat(2, axis=1).repeat(2, axis=2)
    depth, height, width = case.labels.shape
    return torch.from_numpy(np.minimum(fine[:depth, :height, :width], FARTHEST_MM))


def random_region(
    rng: np.random.Generator, distance_mm: Tensor, *, reach_mm: float, spacing_mm: Spacing
) -> Tensor:
    """A first stage's region with its rim, as it might have been.

    Args:
        rng: Decides the errors.
        distance_mm: Distance to the reference liver, shape (D, H, W).
        reach_mm: Width of the rim.
        spacing_mm: Grid of the patch.

    Returns:
        bool, shape (D, H, W).
    """
    large = rng.random() < LARGE_WAVER_CHANCE
    waver = rng.normal(0.0, LARGE_WAVER_MM if large else WAVER_MM, (1, 1, 4, 5, 5))
    field = functional.interpolate(
        torch.from_numpy(waver.astype(np.float32)),
        size=tuple(distance_mm.shape),
        mode="trilinear",
        align_corners=True,
    )[0, 0]
    reach = reach_mm + float(rng.uniform(-1, 1)) * REACH_SPREAD_MM
    region = distance_mm <= field + reach
    if rng.random() < EXTRA_PIECE_CHANCE:
        region |= _ball(rng, tuple(distance_mm.shape), spacing_mm=spacing_mm)
    return region


def _ball(rng: np.random.Generator, shape: tuple[int, ...], *, spacing_mm: Spacing) -> Tensor:
    """A ball at a random place: an organ that the first stage took for liver."""
    radius = float(rng.uniform(15.0, 45.0))
    center = [
        float(rng.uniform(0, size * step)) for size, step in zip(shape, spacing_mm, strict=True)
    ]
    z, y, x = (
        torch.arange(size, dtype=torch.float32) * step - middle
        for size, step, middle in zip(shape, spacing_mm, center, strict=True)
    )
    squared = z[:, None, None] ** 2 + y[None, :, None] ** 2 + x[None, None, :] ** 2
    return squared <= radius**2
