"""The frame that DPC-Net and DARN share: pyramid encoder, attention stages, deep supervision.

Paper: Y. Zhang et al., "Decoupled Pyramid Correlation Network for Liver Tumor Segmentation from CT
images", Medical Physics 49(11), 2022. DOI 10.1002/mp.15723. Its preliminary version is DARN, DOI
10.1109/ICPR48806.2021.9411976. Neither published code; this file was written from the texts.

Stated and tested (sections III.B, III.C, IV.B): five contracting and expanding levels, two blocks
of 3^3 convolution, instance norm and LeakyReLU each; 32 channels, doubled per level, 320 at most;
2^3 strided convolutions in place of pooling, 2^3 transposed convolutions; supervision on every
level of the encoder, of the spatial stage (all levels but the finest) and of the semantic stage
(all but the coarsest), weighted with 1 / (2^i L) (eq. 13); the spatial stage is guided by the next
finer level, the semantic one by the next coarser (eq. 2, 3); either may come first (table 4).

Decisions where the papers are silent:

* The strided convolutions keep the channels, as the pooling that they replace, and are neither
  normalized nor activated; the level's first convolution doubles the channels. The decoder
  concatenates, as the U-Net of which the encoder "is a variant".
* A 1^3 convolution brings every decoder level, and the bottleneck, to the same number of channels:
  both orders of the stages have the same parameter count (table 4), so stages keep the channels.
* What a stage does not refine (the finest level of the spatial one, the coarsest of the semantic
  one) passes through it.
* "The refined feature maps are aggregated for final segmentation" (DARN): the logits are a 1^3
  convolution of all refined levels at the finest resolution. It is written as one per level, added
  from coarse to fine with trilinear up-sampling between, so that only class maps are enlarged. In
  the loss these logits take the place of the finest level of the semantic stage.
* In eval mode the heads of deep supervision are not computed: one output, which is exported.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from livertumor_cli.networks.input_size import require_divisible


class StageOrder(StrEnum):
    """Which attention stage comes first."""

    SPATIAL_FIRST = "spatial-first"
    SEMANTIC_FIRST = "semantic-first"


@dataclass(frozen=True, slots=True, kw_only=True)
class PyramidConfig:
    """The whole configuration of a pyramid network.

    Attributes:
        in_channels: Channels of the input.
        classes: Channels of the output (logits).
        widths: Features of each encoder level, finest first.
        pyramid_channels: Channels of every level in the attention stages.
        order: Which attention stage comes first.
    """

    in_channels: int = 1
    classes: int = 3
    widths: Sequence[int] = (32, 64, 128, 256, 320)
    pyramid_channels: int
    order: StageOrder = StageOrder.SPATIAL_FIRST


class LevelLogits(NamedTuple):
    """One supervised output: logits (B, classes, D/2^level, H/2^level, W/2^level)."""

    level: int
    logits: Tensor


def level_weight(level: int, *, levels: int) -> float:
    """Weight of a level's loss (paper eq. 13).

    Args:
        level: 0 is the finest.
        levels: Levels of the network (the paper's L).
    """
    return 1 / ((1 << level) * levels)


class ConvUnit3D(nn.Sequential):
    """Convolution 3^3, instance norm, LeakyReLU; keeps the size."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(
            nn.Conv3d(in_channels, out_channels, 3, padding=1, bias=False),
            nn.InstanceNorm3d(out_channels, affine=True),
            nn.LeakyReLU(inplace=True),
        )


class LevelBlock(nn.Sequential):
    """The two cascaded convolution blocks of a level."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(
            ConvUnit3D(in_channels, out_channels), ConvUnit3D(out_channels, out_channels)
        )


class PyramidFeatureEncoder(nn.Module):
    """PFE: a U-Net with learned sampling whose every decoder level is an output."""

    def __init__(self, config: PyramidConfig) -> None:
        super().__init__()
        widths = list(config.widths)
        incoming = [config.in_channels, *widths[:-1]]
        self.contracting = nn.ModuleList(
            LevelBlock(before, width) for before, width in zip(incoming, widths, strict=True)
        )
        self.down = nn.ModuleList(nn.Conv3d(width, width, 2, stride=2) for width in widths[:-1])
        self.up = nn.ModuleList(
            nn.ConvTranspose3d(deep, width, 2, stride=2)
            for deep, width in zip(widths[1:], widths[:-1], strict=True)
        )
        self.expanding = nn.ModuleList(LevelBlock(2 * width, width) for width in widths[:-1])
        self.lateral = nn.ModuleList(
            nn.Conv3d(width, config.pyramid_channels, 1) for width in widths
        )

    def forward(self, image: Tensor) -> list[Tensor]:
        """Pyramid features, finest first, shape (B, P, D/2^i, H/2^i, W/2^i) at level i."""
        features = [self.contracting[0](image)]  # (B, C0, D, H, W)
        for down, block in zip(self.down, self.contracting[1:], strict=True):
            features.append(block(down(features[-1])))  # (B, Ci, D/2^i, H/2^i, W/2^i)
        for level in reversed(range(len(self.up))):
            up = self.up[level](features[level + 1])  # (B, Ci, D/2^i, H/2^i, W/2^i)
            features[level] = self.expanding[level](torch.cat([features[level], up], dim=1))
        return [lateral(level) for lateral, level in zip(self.lateral, features, strict=True)]


class PyramidAggregation(nn.Module):
    """A 1^3 convolution of all levels at the finest resolution, added up from coarse to fine."""

    def __init__(self, channels: int, classes: int, *, levels: int) -> None:
        super().__init__()
        self.project = nn.ModuleList(
            nn.Conv3d(channels, classes, 1, bias=level == 0) for level in range(levels)
        )

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Logits (B, classes, D, H, W) of pyramid features, finest first."""
        coarse, *finer = reversed(list(zip(self.project, features, strict=True)))
        total: Tensor = coarse[0](coarse[1])  # (B, classes, D/2^(L-1), ...)
        for project, level in finer:
            up = functional.interpolate(total, scale_factor=2, mode="trilinear")
            total = up + project(level)  # (B, classes, D/2^i, H/2^i, W/2^i)
        return total


class PyramidNetwork(nn.Module):
    """Encoder, two attention stages and their heads; axes must be divisible by 2^(levels - 1).

    Attributes:
        spatial: One module per level but the finest; called with (features, next finer level).
        semantic: One module per level but the coarsest; called with (features, next coarser level).
    """

    def __init__(
        self,
        config: PyramidConfig,
        *,
        spatial: Callable[[int], nn.Module],
        semantic: Callable[[int], nn.Module],
    ) -> None:
        """Build the network around a paper's two attention modules.

        Args:
            config: The configuration.
            spatial: Makes a spatial module for a number of channels.
            semantic: Makes a semantic module for a number of channels.
        """
        super().__init__()
        self.config = config
        channels, levels = config.pyramid_channels, len(config.widths)
        self.encoder = PyramidFeatureEncoder(config)
        self.spatial = nn.ModuleList(spatial(channels) for _ in range(levels - 1))
        self.semantic = nn.ModuleList(semantic(channels) for _ in range(levels - 1))
        self.aggregate = PyramidAggregation(channels, config.classes, levels=levels)
        self.encoder_heads, self.spatial_heads, self.semantic_heads = (
            nn.ModuleList(nn.Conv3d(channels, config.classes, 1) for _ in range(number))
            for number in (levels, levels - 1, levels - 2)
        )

    def forward(self, image: Tensor) -> Tensor | list[LevelLogits]:
        """Logits of an image (B, in_channels, D, H, W).

        Returns:
            In eval mode the logits (B, classes, D, H, W). In training mode these first, as level 0,
            and then every other supervised output of eq. 13: 3 L - 2 in all.

        Raises:
            ValueError: If an axis is not divisible by 2^(levels - 1).
        """
        require_divisible(image, 2 ** len(self.spatial))
        pyramid: list[Tensor] = self.encoder(image)
        if self.config.order is StageOrder.SPATIAL_FIRST:
            spatial = self._refine_spatially(pyramid)
            last = semantic = self._refine_semantically(spatial)
        else:
            semantic = self._refine_semantically(pyramid)
            last = spatial = self._refine_spatially(semantic)
        logits: Tensor = self.aggregate(last)
        if not self.training:
            return logits
        return [
            LevelLogits(0, logits),
            *_supervise(self.encoder_heads, pyramid, first=0),
            *_supervise(self.spatial_heads, spatial, first=1),
            *_supervise(self.semantic_heads, semantic, first=1),
        ]

    def _refine_spatially(self, features: list[Tensor]) -> list[Tensor]:
        """Every level but the finest, guided by the next finer one."""
        refined = [
            module(level, finer)
            for module, level, finer in zip(self.spatial, features[1:], features[:-1], strict=True)
        ]
        return [features[0], *refined]

    def _refine_semantically(self, features: list[Tensor]) -> list[Tensor]:
        """Every level but the coarsest, guided by the next coarser one."""
        refined = [
            module(level, coarser)
            for module, level, coarser in zip(
                self.semantic, features[:-1], features[1:], strict=True
            )
        ]
        return [*refined, features[-1]]


def _supervise(heads: nn.ModuleList, features: list[Tensor], *, first: int) -> list[LevelLogits]:
    """Outputs of consecutive levels, one per head, from level `first` on."""
    return [LevelLogits(level, head(features[level])) for level, head in enumerate(heads, first)]
