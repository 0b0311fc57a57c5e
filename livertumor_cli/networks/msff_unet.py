"""Multi-scale feature U-Net: dense residual blocks, and every level's features in every skip.

Paper: M. Gong, J. Soraghan, G. Di Caterina, D. Grose, "A U-Net based multi-scale feature extraction
for liver tumour segmentation in CT images", 10th International Conference on Communications, Signal
Processing, and Systems (CSPS), 2021; accepted manuscript strathprints.strath.ac.uk/id/eprint/77483.
No code was published; this file was written from the text. It is the second network of the paper's
cascade, for crops of 256x256; the first is `UNet2D`.

Stated by the paper (section 2.2) and tested: a 7x7 convolution first; four levels with three
poolings; in every block dense connections (each layer sees all before it, all together are the
output) inside a residual connection; at every level the features of all four are concatenated,
brought to one size by max-pooling and up-sampling; the decoder takes these through its skip
connections and enlarges by deconvolution. The sigmoid at the end belongs to whoever reads the
logits.

Decisions where the paper is silent:

* Widths 64 to 512, those of the paper's first network.
* A dense block has four layers that each add a quarter of the level's width, so that they add as
  many features as came in; a 1x1 convolution brings all of them back to the width, without which
  nothing could be added to the input. Where a block changes the width, a 1x1 convolution before it
  does, and its result is the identity of the residual connection.
* Convolutions are followed by batch norm and ReLU as in the other 2D networks here; the sum of a
  residual connection is followed by ReLU as in reference 11.
* The 7x7 convolution has no stride: the prediction has the size of the crop.
* A 1x1 convolution brings the concatenation of all levels to the level's width; with 960 channels
  at full resolution the decoder would cost more than all the rest. Up-sampling is bilinear.
* The deepest level's fused features start the decoder.

That 1x1 convolution is written as one per source level, added up, which is the same; for coarser
sources it stands before the up-sampling, with which it commutes, on a fraction of the pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from livertumor_cli.networks.input_size import require_divisible
from livertumor_cli.networks.unet2d import ConvUnit2D

STEM_KERNEL = 7


@dataclass(frozen=True, slots=True)
class MSFFUNetConfig:
    """The whole configuration of a multi-scale feature U-Net.

    Attributes:
        in_channels: Channels of the input.
        classes: Channels of the output (logits).
        widths: Features of each level, finest first; each divisible by `dense_layers`.
        dense_layers: Layers of a dense block.
    """

    in_channels: int = 1
    classes: int = 2
    widths: Sequence[int] = (64, 128, 256, 512)
    dense_layers: int = 4


class ResidualDenseBlock(nn.Module):
    """A dense block whose result is added to its input (paper fig. 3)."""

    def __init__(self, in_channels: int, out_channels: int, *, layers: int) -> None:
        super().__init__()
        growth = out_channels // layers
        self.project = (
            nn.Identity()
            if in_channels == out_channels
            else ConvUnit2D(in_channels, out_channels, kernel=1)
        )
        self.layers = nn.ModuleList(
            ConvUnit2D(out_channels + number * growth, growth) for number in range(layers)
        )
        self.compress = nn.Sequential(
            nn.Conv2d(out_channels + layers * growth, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Shape (B, out_channels, H, W) of (B, in_channels, H, W)."""
        identity: Tensor = self.project(features)  # (B, C, H, W)
        dense = identity
        for layer in self.layers:
            dense = torch.cat([dense, layer(dense)], dim=1)  # (B, C + k C/layers, H, W)
        return functional.relu(identity + self.compress(dense))


class MultiScaleFusion(nn.Module):
    """All levels' features at the size and width of one of them (paper section 2.2)."""

    def __init__(self, widths: Sequence[int], *, level: int) -> None:
        super().__init__()
        self.level = level
        self.project = nn.ModuleList(
            nn.Conv2d(width, widths[level], 1, bias=False) for width in widths
        )
        self.norm = nn.BatchNorm2d(widths[level])

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Fused features of this level.

        Args:
            features: Of every level, finest first, shape (B, Ci, H/2^i, W/2^i).

        Returns:
            Shape (B, C, H/2^level, W/2^level), C this level's width.
        """
        total = self._at_this_level(0, features[0])
        for source in range(1, len(features)):
            total = total + self._at_this_level(source, features[source])
        return functional.relu(self.norm(total))

    def _at_this_level(self, source: int, features: Tensor) -> Tensor:
        if source < self.level:
            features = functional.max_pool2d(features, 2 ** (self.level - source))
        projected: Tensor = self.project[source](features)
        if source > self.level:
            scale = 2 ** (source - self.level)
            return functional.interpolate(projected, scale_factor=scale, mode="bilinear")
        return projected


class MSFFUNet(nn.Module):
    """Multi-scale feature U-Net; both axes of the input must be divisible by 2^(levels - 1).

    Raises:
        ValueError: If a width is not divisible by the number of dense layers.
    """

    def __init__(self, config: MSFFUNetConfig | None = None) -> None:
        super().__init__()
        self.config = config or MSFFUNetConfig()
        widths, layers = list(self.config.widths), self.config.dense_layers
        if any(width % layers for width in widths):
            raise ValueError(f"every width must be divisible by {layers} dense layers: {widths}")
        self.stem = ConvUnit2D(self.config.in_channels, widths[0], kernel=STEM_KERNEL)
        self.encoder = nn.ModuleList(
            ResidualDenseBlock(before, width, layers=layers)
            for before, width in zip([widths[0], *widths[:-1]], widths, strict=True)
        )
        self.pool = nn.MaxPool2d(2)
        self.fusion = nn.ModuleList(
            MultiScaleFusion(widths, level=level) for level in range(len(widths))
        )
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(deep, width, 2, stride=2)
            for deep, width in zip(widths[1:], widths[:-1], strict=True)
        )
        self.decoder = nn.ModuleList(
            ResidualDenseBlock(2 * width, width, layers=layers) for width in widths[:-1]
        )
        self.head = nn.Conv2d(widths[0], self.config.classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Logits (B, classes, H, W) of an image (B, in_channels, H, W).

        Raises:
            ValueError: If an axis is not divisible by 2^(levels - 1).
        """
        require_divisible(image, 2 ** len(self.up))
        features = [self.encoder[0](self.stem(image))]  # (B, C0, H, W)
        for block in self.encoder[1:]:
            features.append(block(self.pool(features[-1])))  # (B, Ci, H/2^i, W/2^i)
        fused = [fusion(features) for fusion in self.fusion]  # (B, Ci, H/2^i, W/2^i)
        decoded = fused.pop()
        for level in reversed(range(len(fused))):
            up = self.up[level](decoded)  # (B, Ci, H/2^i, W/2^i)
            decoded = self.decoder[level](torch.cat([fused[level], up], dim=1))
        logits: Tensor = self.head(decoded)
        return logits
