"""What each stage of a recipe learns: grid, patch, classes and network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from livertumor_cli.errors import ConfigError
from livertumor_cli.geometry import Spacing
from livertumor_cli.networks.uca_net import UCANet, UCANetConfig
from livertumor_cli.networks.unet3d import UNet3D, UNet3DConfig


@dataclass(frozen=True, slots=True)
class Task:
    """One stage's training.

    Attributes:
        name: Name on the command line and in checkpoints.
        network: Name of the network's class, for recipes.
        build: Makes the network with fresh weights.
        wide: Whether it learns from whole scans (`wide_*`), not from the liver's surroundings.
        spacing_mm: Grid along z, y, x.
        patch: Training patch, voxels along z, y, x.
        hu_window: Lower and upper HU of the input.
        classes: Channel names.
        class_weights: Weight of each class in the cross entropy.
        tumor_share: Share of the patches that are centered on a tumor.
        inference_patch: Input size of the exported network.
        overlap: Share of a window that its neighbor also covers.
        surroundings_mm: What lies further than this from the liver is blanked in the input; None
            shows everything.
        divisor: Every patch size must be divisible by it.
    """

    name: str
    network: str
    build: Callable[[], nn.Module]
    wide: bool
    spacing_mm: Spacing
    patch: tuple[int, int, int]
    hu_window: tuple[float, float]
    classes: tuple[str, ...]
    class_weights: tuple[float, ...]
    tumor_share: float
    inference_patch: tuple[int, int, int]
    overlap: tuple[float, float, float]
    surroundings_mm: float | None = None
    divisor: int = 8


PAPER_WINDOW_HU = (-160.0, 240.0)
"""UCA-Net, section 2.2.1; the shared CTs are clipped to the same range."""

TASKS = {
    "uca-net/liver": Task(
        name="uca-net/liver",
        network="UNet3D",
        build=lambda: UNet3D(UNet3DConfig(classes=2, widths=(16, 32, 64, 128, 192))),
        wide=True,
        spacing_mm=(4.0, 4.0, 4.0),
        patch=(48, 80, 96),
        hu_window=PAPER_WINDOW_HU,
        classes=("background", "liver"),
        class_weights=(1.0, 1.0),
        tumor_share=0.0,
        inference_patch=(48, 80, 96),
        overlap=(0.5, 0.25, 0.25),
        divisor=16,
    ),
    "uca-net/lesion": Task(
        name="uca-net/lesion",
        network="UCANet",
        build=lambda: UCANet(UCANetConfig(classes=4)),
        wide=False,
        spacing_mm=(2.0, 1.5, 1.5),
        patch=(32, 96, 96),
        hu_window=PAPER_WINDOW_HU,
        classes=("background", "liver", "tumor", "vessel"),
        class_weights=(1.0, 1.0, 2.0, 2.0),
        tumor_share=0.6,
        inference_patch=(32, 128, 128),
        overlap=(0.5, 0.35, 0.35),
        surroundings_mm=15.0,
    ),
}


def find_task(name: str) -> Task:
    """The task of that name.

    Raises:
        ConfigError: If there is none; the sentence lists those there are.
    """
    if name not in TASKS:
        raise ConfigError(
            f"there is no training task '{name}'.", hint=f"Choose one of: {', '.join(TASKS)}."
        )
    return TASKS[name]
