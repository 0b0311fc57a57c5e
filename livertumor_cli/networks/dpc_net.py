"""DPC-Net: pyramid features that correlate with their neighbors in space and in meaning.

Paper: Y. Zhang, J. Yang, Y. Liu, J. Tian, S. Wang, C. Zhong, Z. Shi, Y. Zhang, Z. He, "Decoupled
Pyramid Correlation Network for Liver Tumor Segmentation from CT images", Medical Physics 49(11),
2022. DOI 10.1002/mp.15723. No code was published; this file was written from the text. The encoder,
the order of the stages and deep supervision are in `pyramid.py`.

Stated by the paper and tested: SpaCor (eq. 4 to 6) up-samples a level to the next finer one,
squeezes the concatenation over the channels to average plus maximum, makes a map from it with three
3^3 convolutions and LeakyReLUs, and multiplies its sigmoid on a 1^3 convolution of the level, which
is then down-sampled again; SemCor (eq. 7 to 9) squeezes the concatenation with the next coarser
level over the voxels to averages and maxima, makes a vector from them with a perceptron of two
weight matrices and multiplies its sigmoid on a 1^3 convolution of the level; 0.43 M parameters in
SpaCor, 0.09 M in SemCor, 0.52 M in both, whichever comes first (table 4).

Decisions where the paper is silent:

* "3-layer convolutional networks" are three convolutions, 1 -> C -> C -> 1 ("the number of channels
  is kept consistent with that of each level"), although eq. 5 names two weights. The "3-layer
  perceptron" has two, 4C -> C -> C, as eq. 8 names them and as perceptrons are counted. So, and
  with the sum in eq. 5, modules on four levels have 0.43 M and 0.09 M at once; with another number
  of convolutions or matrices no C fits both.
* 61 pyramid channels, the only number with which the three counts are met within 0.5 %: 0.431,
  0.090 and 0.521 M. 60 gives 0.504 M in all, 64 gives 0.572 M. The 1^3 convolutions that bring the
  encoder's levels to these channels belong to the encoder. The first SpaCor works at full
  resolution and costs 27 C^2 multiplications per voxel: a network for the CPU sets fewer channels.
* Up-sampling in SpaCor is to the nearest neighbor, down-sampling the mean: eight equal voxels, each
  weighted by its own attention. Both then cost nothing: channel averages and maxima are taken
  before the up-sampling, and the map is averaged to the level's resolution instead of the weighted
  features.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from livertumor_cli.networks.pyramid import PyramidConfig, PyramidNetwork


@dataclass(frozen=True, slots=True, kw_only=True)
class DPCNetConfig(PyramidConfig):
    """The whole configuration of a DPC-Net; see `PyramidConfig`."""

    pyramid_channels: int = 61


class SpatialCorrelation(nn.Module):
    """SpaCor: the next finer level says where in a level to look (paper section III.D)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.attention = nn.Sequential(
            nn.Conv3d(1, channels, 3, padding=1),
            nn.LeakyReLU(inplace=True),
            nn.Conv3d(channels, channels, 3, padding=1),
            nn.LeakyReLU(inplace=True),
            nn.Conv3d(channels, 1, 3, padding=1),
        )
        self.recalibrate = nn.Conv3d(channels, channels, 1)

    def forward(self, features: Tensor, finer: Tensor) -> Tensor:
        """Spatially refined features.

        Args:
            features: The level, shape (B, C, D, H, W).
            finer: The level that guides it, shape (B, C, 2D, 2H, 2W).

        Returns:
            Shape (B, C, D, H, W).
        """
        attention = torch.sigmoid(self.attention(squeeze_channels(features, finer)))
        # (B, 1, 2D, 2H, 2W)
        recalibrated: Tensor = self.recalibrate(features)  # (B, C, D, H, W)
        return recalibrated * functional.avg_pool3d(attention, 2)


def squeeze_channels(features: Tensor, finer: Tensor) -> Tensor:
    """Average plus maximum over the channels of two levels, at the finer one's size (eq. 5).

    Args:
        features: Shape (B, C, D, H, W).
        finer: Shape (B, C, 2D, 2H, 2W).

    Returns:
        Shape (B, 1, 2D, 2H, 2W).
    """
    coarse = torch.cat(
        [features.mean(1, keepdim=True), features.amax(1, keepdim=True)], dim=1
    )  # (B, 2, D, H, W)
    up = functional.interpolate(coarse, scale_factor=2, mode="nearest")  # (B, 2, 2D, 2H, 2W)
    average = (up[:, :1] + finer.mean(1, keepdim=True)) / 2
    return average + torch.maximum(up[:, 1:], finer.amax(1, keepdim=True))


class SemanticCorrelation(nn.Module):
    """SemCor: the next coarser level says which channels matter (paper section III.E)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.attention = nn.Sequential(
            nn.Linear(4 * channels, channels),
            nn.LeakyReLU(inplace=True),
            nn.Linear(channels, channels),
        )
        self.recalibrate = nn.Conv3d(channels, channels, 1)

    def forward(self, features: Tensor, coarser: Tensor) -> Tensor:
        """Semantically refined features.

        Args:
            features: The level, shape (B, C, D, H, W).
            coarser: The level that guides it, shape (B, C, D/2, H/2, W/2).

        Returns:
            Shape (B, C, D, H, W).
        """
        attention = torch.sigmoid(self.attention(squeeze_voxels(features, coarser)))  # (B, C)
        recalibrated: Tensor = self.recalibrate(features)  # (B, C, D, H, W)
        return recalibrated * attention[:, :, None, None, None]


def squeeze_voxels(features: Tensor, coarser: Tensor) -> Tensor:
    """Averages, then maxima, of every channel of two levels (eq. 8).

    Args:
        features: Shape (B, C, D, H, W).
        coarser: Shape (B, C, D/2, H/2, W/2).

    Returns:
        Shape (B, 4C).
    """
    voxels = (2, 3, 4)
    averages = [features.mean(voxels), coarser.mean(voxels)]
    maxima = [features.amax(voxels), coarser.amax(voxels)]
    return torch.cat(averages + maxima, dim=1)


class DPCNet(PyramidNetwork):
    """DPC-Net; every axis of the input must be divisible by 2^(levels - 1)."""

    def __init__(self, config: DPCNetConfig | None = None) -> None:
        super().__init__(
            config or DPCNetConfig(), spatial=SpatialCorrelation, semantic=SemanticCorrelation
        )
