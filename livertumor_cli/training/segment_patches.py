"""Training patches of Couinaud segments: the liver alone, as the stage before has drawn it."""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from livertumor_cli.geometry import Spacing
from livertumor_cli.training.augment import change_intensity, sample, sampling_grid
from livertumor_cli.training.batch import Batch
from livertumor_cli.training.cache import NO_SEGMENT, OUTSIDE_HU, TrainingCase
from livertumor_cli.training.losses import UNKNOWN
from livertumor_cli.training.tasks import Task

DEEPEST_MM = 20.0
"""Depths are cut here, on both sides of the outline: no outline wavers further."""

WAVER_MM = 2.5
"""Standard deviation of an outline's errors: those of the stage that draws it are of this size."""

SHIFT = 0.15
"""How far a patch's middle lies from the liver's, as a share of the patch. Inference puts the liver
in the middle, unless the scan ends close by."""


class SegmentSampler:
    """Draws patches; the same seed and step give the same batch, so a resumed run goes on alike."""

    def __init__(self, cases: list[TrainingCase], *, task: Task, seed: int) -> None:
        self.task = task
        self.seed = seed
        self.images = [torch.from_numpy(case.hu) - int(OUTSIDE_HU) for case in cases]
        self.references = [torch.from_numpy(case.labels) for case in cases]
        # Shifted so that outside the array reads as far outside the liver.
        self.depths = [_depth_mm(case, task.spacing_mm) + DEEPEST_MM for case in cases]
        self.middles = [_liver_middle(case) for case in cases]

    def batch(self, step: int, size: int) -> Batch:
        """The batch of one step."""
        rng = np.random.default_rng((self.seed, step))
        patches = [self._patch(rng) for _ in range(size)]
        images = torch.stack([image for image, _ in patches])[:, None]  # (B, 1, D, H, W)
        labels = torch.stack([labels for _, labels in patches])  # (B, D, H, W)
        return Batch(images, labels, torch.zeros(size, dtype=torch.bool))

    def _patch(self, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Image in 0..1 and labels with UNKNOWN, each (D, H, W)."""
        task = self.task
        index = int(rng.integers(len(self.images)))
        grid = sampling_grid(
            rng, patch=task.patch, spacing_mm=task.spacing_mm, augmentation=task.augmentation
        )
        shift = rng.uniform(-SHIFT, SHIFT, 3) * np.array(task.patch)
        middle = torch.from_numpy(self.middles[index] + shift).float()
        hu = sample(self.images[index], middle, grid, mode="bilinear") + OUTSIDE_HU
        labels = sample(self.references[index], middle, grid, mode="nearest").long()
        depth_mm = sample(self.depths[index], middle, grid, mode="bilinear") - DEEPEST_MM
        region = depth_mm > _waver(rng, task.patch)
        hu = change_intensity(rng, hu, augmentation=task.augmentation)
        hu = torch.where(region, hu, OUTSIDE_HU)
        # What an outline takes in too much has no segment that could be learned.
        labels[(labels == NO_SEGMENT) | (labels == 0)] = UNKNOWN
        labels[~region] = 0
        low, high = task.hu_window
        return (hu.clamp(low, high) - low) / (high - low), labels


def _waver(rng: np.random.Generator, patch: tuple[int, int, int]) -> Tensor:
    """Smooth errors of an outline in mm, shape (D, H, W)."""
    coarse = rng.normal(0.0, WAVER_MM, (1, 1, 5, 6, 6)).astype(np.float32)
    field = functional.interpolate(
        torch.from_numpy(coarse), size=patch, mode="trilinear", align_corners=True
    )
    return field[0, 0]


def _depth_mm(case: TrainingCase, spacing_mm: Spacing) -> Tensor:
    """Distance to the liver's outline, positive inside, shape (z, y, x)."""
    liver = np.pad(case.labels > 0, 1)
    inside = ndimage.distance_transform_edt(liver, sampling=spacing_mm)
    outside = ndimage.distance_transform_edt(~liver, sampling=spacing_mm)
    depth = np.clip(inside - outside, -DEEPEST_MM, DEEPEST_MM)[1:-1, 1:-1, 1:-1]
    return torch.from_numpy(depth.astype(np.float32))


def _liver_middle(case: TrainingCase) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Middle of the liver's box, voxel index z, y, x."""
    found = np.argwhere(case.labels > 0)
    return np.asarray(0.5 * (found.min(axis=0) + found.max(axis=0)))
