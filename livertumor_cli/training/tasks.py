"""What each stage of a recipe learns: grid, patch, classes, network, loss.

All recipes share one first stage, `uca-net/liver`: it only has to find the liver, and what it found
is the second stage's input (SFAN, section 3: "we truncate the liver region"). DPC-Net and DARN are
single networks for whole scans in their papers; here they too see the liver region only, since a
few thousand patches of a few dozen patients do not teach one network both.

UCA-Net has the paper's widths; the other networks have half of theirs or less, so that two CPU
cores can train them.

What a few thousand steps on two dozen patients ask for departs from the papers in every recipe:

* More patches with tumors than the papers draw (DPC-Net: a third with foreground), and heavier
  weights for tumors in the cross entropy, which DPC-Net states without weights.
* The rate rises to 0.001, as UCA-Net's, and falls to nearly nothing; other papers have 0.0001 and
  less.
* Augmentation covers other scanners and phases too; UCA-Net's only turns.
* Gong et al. state no loss; cross entropy + Dice is that of the other networks here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import nn

from livertumor_cli.anatomy import SEGMENT_CLASSES
from livertumor_cli.errors import ConfigError
from livertumor_cli.geometry import Spacing
from livertumor_cli.networks.darn import DARN, DARNConfig
from livertumor_cli.networks.dpc_net import DPCNet, DPCNetConfig
from livertumor_cli.networks.msff_unet import MSFFUNet, MSFFUNetConfig
from livertumor_cli.networks.sfan import SFAN, SFANConfig
from livertumor_cli.networks.uca_net import UCANet, UCANetConfig
from livertumor_cli.networks.unet3d import UNet3D, UNet3DConfig
from livertumor_cli.training.augment import Augmentation
from livertumor_cli.training.losses import (
    Loss,
    entropy_and_dice,
    entropy_and_squared_dice,
    segment_loss,
    weighted_entropy,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One stage's training.

    Attributes:
        name: Name on the command line and in checkpoints.
        network: Name of the network's class, for recipes.
        build: Makes the network with fresh weights.
        wide: Whether it learns from whole scans (`wide_*`), not from the liver's surroundings.
        dimensions: 3, or 2 for a network that sees axial slices one by one.
        spacing_mm: Grid along z, y, x.
        patch: Training patch, voxels along z, y, x; one slice for a 2D network.
        hu_window: Lower and upper HU of the input.
        classes: Channel names.
        loss: Loss of one output.
        class_weights: Weight of each class in the cross entropy.
        tumor_share: Share of the patches that show a tumor near their middle.
        augmentation: Random changes of the patches.
        batch: Patches per step.
        inference_patch: Input size of the exported network.
        overlap: Share of a window that its neighbor also covers.
        scales: Zoom factors that inference averages.
        surroundings_mm: What lies further than this from the liver is blanked in the input; None
            shows everything.
        divisor: Every patch size must be divisible by it, slices of 2D networks aside.
    """

    name: str
    network: str
    build: Callable[[], nn.Module]
    wide: bool = False
    dimensions: int = 3
    spacing_mm: Spacing
    patch: tuple[int, int, int]
    hu_window: tuple[float, float]
    classes: tuple[str, ...]
    loss: Loss = entropy_and_dice
    class_weights: tuple[float, ...]
    tumor_share: float
    augmentation: Augmentation = field(default_factory=Augmentation)
    batch: int = 2
    inference_patch: tuple[int, int, int]
    overlap: tuple[float, float, float]
    scales: tuple[float, ...] = (1.0,)
    surroundings_mm: float | None = None
    divisor: int = 8

    @property
    def is_of_segments(self) -> bool:
        """Whether it learns the liver's segments, from other labels than all other tasks."""
        return SEGMENT_CLASSES[0] in self.classes


CHALLENGE_CLASSES = ("background", "liver", "tumor")
"""What the papers trained on the LiTS challenge tell apart."""

RIM_MM = 15.0
"""A first stage's outline is coarse; the second stage draws the fine one within this rim."""

OFFSET_HU = 25.0
"""Livers of the few training patients are alike; those of other scanners and phases are not."""

PAPER_WINDOW_HU = (-160.0, 240.0)
"""UCA-Net, section 2.2.1; the shared CTs are clipped to the same range."""

UCA_NET = (
    Task(
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
    Task(
        name="uca-net/lesion",
        network="UCANet",
        build=lambda: UCANet(UCANetConfig(classes=4)),
        spacing_mm=(2.5, 2.0, 2.0),
        patch=(24, 80, 80),
        hu_window=PAPER_WINDOW_HU,
        classes=("background", "liver", "tumor", "vessel"),
        class_weights=(1.0, 1.0, 3.0, 2.0),
        tumor_share=0.6,
        inference_patch=(32, 128, 128),
        overlap=(0.5, 0.35, 0.35),
        surroundings_mm=RIM_MM,
        augmentation=Augmentation(offset_hu=OFFSET_HU, painted_tumor_chance=0.6),
    ),
)

# No paper's: a plain network that sees the shape of the liver and its large vessels as a whole. The
# finer grids of the other stages would show it nothing more that tells segments apart.
SEGMENTS = Task(
    name="uca-net/segments",
    network="UNet3D",
    build=lambda: UNet3D(UNet3DConfig(classes=9, widths=(16, 32, 64, 96))),
    spacing_mm=(5.0, 5.0, 5.0),
    # A whole liver: where a segment begins depends on where the liver ends.
    patch=(48, 48, 56),
    hu_window=PAPER_WINDOW_HU,
    classes=("background", *SEGMENT_CLASSES),
    loss=segment_loss,
    class_weights=(1.0,) * 9,
    tumor_share=0.0,
    augmentation=Augmentation(rotation_z_deg=15.0, rotation_xy_deg=10.0, elastic_chance=0.6),
    inference_patch=(48, 48, 56),
    overlap=(0.5, 0.5, 0.5),
    # The stage before it has drawn the liver: nothing beside it is a segment.
    surroundings_mm=0.0,
)

SFAN_LESION = Task(
    name="sfan/lesion",
    network="SFAN",
    build=lambda: SFAN(SFANConfig(classes=3, widths=(32, 64, 128, 256, 512), aligned_channels=32)),
    dimensions=2,
    spacing_mm=(2.0, 1.5, 1.5),
    # A whole liver, in training too: the attention vectors are averages over all that is seen.
    patch=(1, 160, 192),
    hu_window=(-75.0, 175.0),  # section 3
    classes=CHALLENGE_CLASSES,
    loss=weighted_entropy,
    class_weights=(1.0, 1.0, 3.0),
    tumor_share=0.6,
    # Of the scales of inference 1.5 is met in training; 0.5 is smaller than anything drawn (0.66).
    augmentation=Augmentation(
        rotation_xy_deg=3.0, log_scale=0.35, offset_hu=OFFSET_HU, painted_tumor_chance=0.3
    ),
    batch=8,
    inference_patch=(1, 160, 192),
    overlap=(0.0, 0.25, 0.25),
    scales=(0.5, 1.0, 1.5),
    surroundings_mm=RIM_MM,
    divisor=16,
)

MSFF_LESION = Task(
    name="msff-unet/lesion",
    network="MSFFUNet",
    build=lambda: MSFFUNet(MSFFUNetConfig(classes=3, widths=(32, 64, 128, 256))),
    dimensions=2,
    spacing_mm=(2.0, 1.0, 1.0),
    # In millimeters the paper's crop of 256 pixels. A crop about the whole liver is larger, but
    # leaves no tumor out that a first stage did not see.
    patch=(1, 192, 192),
    hu_window=(-75.0, 175.0),  # "contrast enhancement", as SFAN does it
    classes=CHALLENGE_CLASSES,
    class_weights=(1.0, 1.0, 2.0),
    tumor_share=0.6,
    augmentation=Augmentation(  # all but offset and painting: section 3
        rotation_xy_deg=3.0,
        shear=0.05,
        mirror_chance=0.5,
        offset_hu=OFFSET_HU,
        painted_tumor_chance=0.3,
    ),
    batch=6,
    inference_patch=(1, 256, 256),
    overlap=(0.0, 0.25, 0.25),
    surroundings_mm=RIM_MM,
)


def _pyramid_task(name: str, network: str, build: Callable[[], nn.Module]) -> Task:
    """DPC-Net or DARN, which share their training (DPC-Net, sections III.A, III.F and IV.B)."""
    return Task(
        name=name,
        network=network,
        build=build,
        spacing_mm=(2.47, 1.9, 1.9),
        patch=(48, 96, 96),
        # About the 0.5th and 99.5th percentile of the training livers (-6 and 186), as nnU-Net
        # takes them, whose design the paper follows: those of a scan would depend on how much of a
        # body it shows. The z-score is left to the instance norm behind the first convolution.
        hu_window=(-10.0, 190.0),
        classes=CHALLENGE_CLASSES,
        loss=entropy_and_squared_dice,
        class_weights=(1.0, 1.0, 2.0),
        tumor_share=0.6,
        augmentation=Augmentation(mirror_chance=0.5, offset_hu=OFFSET_HU, painted_tumor_chance=0.3),
        # Instance norm: a network must see as much at once as in training.
        inference_patch=(48, 96, 96),
        overlap=(0.5, 0.5, 0.5),
        surroundings_mm=RIM_MM,
        divisor=16,
    )


PYRAMID_WIDTHS = (16, 32, 64, 128, 160)
PYRAMID_CHANNELS = 16
"""The first spatial module works at full resolution, and its cost grows with their square."""

DPC_NET_LESION = _pyramid_task(
    "dpc-net/lesion",
    "DPCNet",
    lambda: DPCNet(DPCNetConfig(widths=PYRAMID_WIDTHS, pyramid_channels=PYRAMID_CHANNELS)),
)

DARN_LESION = _pyramid_task(
    "darn/lesion",
    "DARN",
    lambda: DARN(DARNConfig(widths=PYRAMID_WIDTHS, pyramid_channels=PYRAMID_CHANNELS)),
)

TASKS = {
    task.name: task
    for task in (*UCA_NET, SEGMENTS, SFAN_LESION, MSFF_LESION, DPC_NET_LESION, DARN_LESION)
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
