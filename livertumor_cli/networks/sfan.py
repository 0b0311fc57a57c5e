"""SFAN: a 2D encoder whose levels are weighted by their neighbors and fused by global context.

Paper: Y. Zhang, C. Zhong, Y. Zhang, Z. Shi, Z. He, "Semantic Feature Attention Network for Liver
Tumor Segmentation in Large-scale CT database", 2019. DOI 10.48550/arXiv.1911.00282. No code was
published; this file was written from the text.

Stated by the paper and tested: five blocks of two 3x3 convolutions, each with ReLU, 2x2 max-pooling
after every block but the last; SAT (eq. 1): global average pooling of the next level, two 1x1
convolutions, sigmoid, multiplied on, the last level passes straight; alignment blocks (eq. 2): 1x1
convolution to a common number of channels, bilinear up-sampling to the highest resolution,
concatenation; GCA (eq. 3): the same vector from the deepest level, multiplied on the concatenation;
a 3x3 and a 1x1 convolution at the end; Gaussian initialization.

Deviations and decisions where the paper is silent:

* Widths 64 to 1024, those of the U-Net that it is compared with; 64 aligned channels, the width of
  the finest level.
* Batch norm between convolution and ReLU in the blocks and the head: the paper trained ten hours on
  one GPU without mentioning any. `batch_norm=False` is the letter of the paper.
* A ReLU stands between the two 1x1 convolutions of a vector: "each convolution layer is activated
  by a RELU", and without it the two would be one. The first brings the channels to those of the
  features that are weighted, the second keeps them.
* The Gaussian's width is He's, which keeps the variance of features through ReLUs.
* The 3x3 convolution of the head gives the aligned number of channels.

The weights of GCA are applied before the up-sampling: a weight per channel and up-sampling commute,
and the coarse maps have a fraction of the pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from livertumor_cli.networks.input_size import require_divisible
from livertumor_cli.networks.unet2d import FIVE_LEVELS, ConvUnit2D, DoubleConv2D


@dataclass(frozen=True, slots=True)
class SFANConfig:
    """The whole configuration of an SFAN.

    Attributes:
        in_channels: Channels of the input.
        classes: Channels of the output (logits).
        widths: Features of each level, finest first.
        aligned_channels: Channels of each level after its alignment block (the paper's C').
        batch_norm: Whether convolutions are normalized; the paper mentions no norm.
    """

    in_channels: int = 1
    classes: int = 2
    widths: Sequence[int] = FIVE_LEVELS
    aligned_channels: int = 64
    batch_norm: bool = True


class AttentionVector(nn.Sequential):
    """Global average pooling, two 1x1 convolutions, sigmoid (paper eq. 1 and 3)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(in_channels, out_channels, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(out_channels, out_channels, 1),
            nn.Sigmoid(),
        )


class SemanticAttentionTransmission(nn.Module):
    """SAT: the next higher level says which channels of a level matter."""

    def __init__(self, channels: int, *, higher_channels: int) -> None:
        super().__init__()
        self.vector = AttentionVector(higher_channels, channels)

    def forward(self, features: Tensor, higher: Tensor) -> Tensor:
        """Weighted features, shape (B, C, H, W) as `features`."""
        weights: Tensor = self.vector(higher)  # (B, C, 1, 1)
        return features * weights


class AlignmentBlock(nn.Module):
    """1x1 convolution to the common channels, then bilinear up-sampling (paper eq. 2)."""

    def __init__(self, channels: int, aligned_channels: int, *, scale: int) -> None:
        super().__init__()
        self.align = nn.Conv2d(channels, aligned_channels, 1)
        self.scale = scale

    def forward(self, features: Tensor, weights: Tensor) -> Tensor:
        """Aligned, weighted features at the highest resolution.

        Args:
            features: Shape (B, C, H/scale, W/scale).
            weights: This level's part of the global context vector, shape (B, C', 1, 1).

        Returns:
            Shape (B, C', H, W).
        """
        aligned: Tensor = self.align(features) * weights  # (B, C', H/scale, W/scale)
        if self.scale == 1:
            return aligned
        return functional.interpolate(aligned, scale_factor=self.scale, mode="bilinear")


class SFAN(nn.Module):
    """SFAN; both axes of the input must be divisible by 2^(levels - 1)."""

    def __init__(self, config: SFANConfig | None = None) -> None:
        super().__init__()
        self.config = config or SFANConfig()
        widths = list(self.config.widths)
        aligned, normalize = self.config.aligned_channels, self.config.batch_norm
        incoming = [self.config.in_channels, *widths[:-1]]
        self.encoder = nn.ModuleList(
            DoubleConv2D(before, width, normalize=normalize)
            for before, width in zip(incoming, widths, strict=True)
        )
        self.pool = nn.MaxPool2d(2)
        self.transmission = nn.ModuleList(
            SemanticAttentionTransmission(width, higher_channels=higher)
            for width, higher in pairwise(widths)
        )
        self.alignment = nn.ModuleList(
            AlignmentBlock(width, aligned, scale=2**level) for level, width in enumerate(widths)
        )
        self.context = AttentionVector(widths[-1], len(widths) * aligned)
        self.fuse = ConvUnit2D(len(widths) * aligned, aligned, normalize=normalize)
        self.head = nn.Conv2d(aligned, self.config.classes, 1)
        self.apply(_initialize)

    def forward(self, image: Tensor) -> Tensor:
        """Logits (B, classes, H, W) of an image (B, in_channels, H, W).

        Raises:
            ValueError: If an axis is not divisible by 2^(levels - 1).
        """
        require_divisible(image, 2 ** len(self.transmission))
        features = [self.encoder[0](image)]  # (B, C0, H, W)
        for block in self.encoder[1:]:
            features.append(block(self.pool(features[-1])))  # (B, Ci, H/2^i, W/2^i)
        context = self.context(features[-1])  # (B, L C', 1, 1)
        weights = context.chunk(len(features), dim=1)  # L times (B, C', 1, 1)
        transmitted = [
            module(level, higher)
            for module, level, higher in zip(
                self.transmission, features[:-1], features[1:], strict=True
            )
        ]  # (B, Ci, H/2^i, W/2^i)
        transmitted.append(features[-1])
        fused = torch.cat(
            [
                block(level, weight)
                for block, level, weight in zip(self.alignment, transmitted, weights, strict=True)
            ],
            dim=1,
        )  # (B, L C', H, W)
        logits: Tensor = self.head(self.fuse(fused))
        return logits


def _initialize(module: nn.Module) -> None:
    """Gaussian weights (paper section 3), no bias at the start."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
