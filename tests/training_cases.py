"""Tiny tasks and cases for the tests of training and export; needs torch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from livertumor_cli.networks.unet3d import UNet3D, UNet3DConfig
from livertumor_cli.training.cache import TrainingCase
from livertumor_cli.training.tasks import Task

# The tests' networks are so small that threads only cost time.
torch.set_num_threads(1)

TINY_LESION = Task(
    name="tiny/lesion",
    network="UNet3D",
    build=lambda: UNet3D(UNet3DConfig(classes=4, widths=(2, 4))),
    wide=False,
    spacing_mm=(2.0, 2.0, 2.0),
    patch=(8, 16, 16),
    hu_window=(-160.0, 240.0),
    classes=("background", "liver", "tumor", "vessel"),
    class_weights=(1.0, 1.0, 2.0, 2.0),
    tumor_share=0.6,
    inference_patch=(8, 16, 16),
    overlap=(0.5, 0.25, 0.25),
    divisor=2,
)

TINY_LIVER = replace(
    TINY_LESION,
    name="tiny/liver",
    build=lambda: UNet3D(UNet3DConfig(classes=2, widths=(4, 8))),
    wide=True,
    classes=("background", "liver"),
    class_weights=(1.0, 1.0),
    tumor_share=0.0,
)


def a_case(
    name: str = "case",
    *,
    tumor: bool = True,
    vessels: bool = False,
    phantom: bool = False,
    shape: tuple[int, int, int] = (20, 32, 36),
) -> TrainingCase:
    """A bright liver in fat, with a dark tumor of 4 x 6 x 6 voxels and a vessel along x."""
    labels = np.zeros(shape, dtype=np.uint8)
    labels[4:-4, 6:-6, 5:-8] = 1
    if tumor:
        labels[8:12, 12:18, 10:16] = 2
    if vessels:
        labels[14, 20:22, 6:-9] = 3
    hu = np.select([labels == 1, labels == 2, labels == 3], [110, 60, 170], -100)
    noise = np.random.default_rng(3).normal(0, 5, shape)
    return TrainingCase(name, (hu + noise).astype(np.int16), labels, vessels, phantom)
