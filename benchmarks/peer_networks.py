"""The networks of the comparison with other programs; imports no more than the network asked for.

Each program's process imports this file, so that what it imports counts against the program.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

CLASSES = ("background", "liver", "tumor")
HU_WINDOW = (-160.0, 240.0)
OVERLAP = 0.5
NOISE_HU = 3.0
"""Little: livertumor averages a fine scan's voxels on the way to a coarser grid, others pick some,
and networks would see different noise."""

SEED = 391
"""Of weights and phantom: one whose liver, vessels and tumors have other HU than the organs
about them, so that minutes of teaching do."""

NETWORKS = ("unet3d", "uca-net", "nnunet-bn", "nnunet")

COMPARED = NETWORKS[:3]
"""About which the programs agree after minutes of teaching; with instance norm they do not."""


@dataclass(frozen=True)
class Setup:
    """What all programs have in common.

    Attributes:
        network: One of NETWORKS.
        width: Features of the finest level; each level below has twice as many.
        spacing_mm: The network's grid along z, y, x.
        patch: Its input.
    """

    network: str
    width: int
    spacing_mm: Sequence[float]
    patch: Sequence[int]


def build_network(name: str, width: int) -> nn.Module:
    """A network with fresh weights.

    "unet3d" and "uca-net" with 32 features are those of the UCA-Net paper (6.42 and 5.90 M
    parameters), "nnunet" with 32 is what nnU-Net plans for five levels (16.5 M), and "nnunet-bn"
    the same with the norm of nnU-Net's own `nnUNetTrainerBN`.
    """
    widths = tuple(width * 2**level for level in range(4))
    if name == "unet3d":
        from livertumor_cli.networks.unet3d import UNet3D, UNet3DConfig

        return UNet3D(UNet3DConfig(classes=len(CLASSES), widths=widths))
    if name == "uca-net":
        from livertumor_cli.networks.uca_net import UCANet, UCANetConfig

        return UCANet(UCANetConfig(classes=len(CLASSES), widths=widths))
    from dynamic_network_architectures.architectures.unet import PlainConvUNet

    return PlainConvUNet(
        input_channels=1,
        n_stages=5,
        features_per_stage=[min(width * 2**level, 10 * width) for level in range(5)],
        conv_op=nn.Conv3d,
        kernel_sizes=3,
        strides=[1, 2, 2, 2, 2],
        n_conv_per_stage=2,
        num_classes=len(CLASSES),
        n_conv_per_stage_decoder=2,
        conv_bias=True,
        norm_op=nn.BatchNorm3d if name == "nnunet-bn" else nn.InstanceNorm3d,
        norm_op_kwargs={"eps": 1e-5, "affine": True},
        nonlin=nn.LeakyReLU,
        nonlin_kwargs={"inplace": True},
        deep_supervision=False,
    )


def load_network(setup: Setup, weights: Path) -> nn.Module:
    """The network with the weights that `prepare` wrote."""
    network = build_network(setup.network, setup.width)
    network.load_state_dict(torch.load(weights, weights_only=True))
    return network.eval()
