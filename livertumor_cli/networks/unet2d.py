"""2D U-Net, the stage-1 network of the SFAN and multi-scale feature U-Net papers.

Paper: O. Ronneberger, P. Fischer, T. Brox, "U-Net: Convolutional Networks for Biomedical Image
Segmentation", MICCAI 2015. DOI 10.1007/978-3-319-24574-4_28. Its code is for another framework and
was not read; this file was written from the text.

Stated and tested: two 3x3 convolutions with ReLU per level, 2x2 max-pooling, features doubled from
64, 2x2 up-convolutions that halve the features, concatenation, a 1x1 convolution; 23 convolutions
at five levels. SFAN compares itself with five levels from 64 features (section 3); Gong et al. find
the liver with 64 to 512 (section 2.2).

Deviations and decisions:

* Convolutions pad, so that the output has the size of the input, as Gong et al. ask; the original
  crops.
* Batch norm after every 3x3 convolution: these networks are trained from scratch, in far fewer
  steps than the papers took. Convolutions before it carry no bias: the norm would remove it.
* Gong et al. write "four down-sampling" and "64 to 512 in a double increment", which cannot both
  hold with one doubling per down-sampling. The default takes the numbers: four levels, 64 to 512.
  The other reading is `widths=(64, 128, 256, 512, 512)`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from livertumor_cli.networks.input_size import require_divisible

FIVE_LEVELS = (64, 128, 256, 512, 1024)
"""Widths of the original and of SFAN's comparison."""


@dataclass(frozen=True, slots=True)
class UNet2DConfig:
    """The whole configuration of a 2D U-Net.

    Attributes:
        in_channels: Channels of the input.
        classes: Channels of the output (logits).
        widths: Features of each level, finest first.
    """

    in_channels: int = 1
    classes: int = 2
    widths: Sequence[int] = (64, 128, 256, 512)


class ConvUnit2D(nn.Sequential):
    """Convolution, batch norm, ReLU; keeps the size. Without the norm there is a bias."""

    def __init__(
        self, in_channels: int, out_channels: int, *, kernel: int = 3, normalize: bool = True
    ) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2, bias=not normalize),
            *([nn.BatchNorm2d(out_channels)] if normalize else []),
            nn.ReLU(inplace=True),
        )


class DoubleConv2D(nn.Sequential):
    """Two 3x3 convolution units with the level's width."""

    def __init__(self, in_channels: int, out_channels: int, *, normalize: bool = True) -> None:
        super().__init__(
            ConvUnit2D(in_channels, out_channels, normalize=normalize),
            ConvUnit2D(out_channels, out_channels, normalize=normalize),
        )


class UNet2D(nn.Module):
    """2D U-Net; both axes of the input must be divisible by 2^(levels - 1)."""

    def __init__(self, config: UNet2DConfig | None = None) -> None:
        super().__init__()
        self.config = config or UNet2DConfig()
        widths = list(self.config.widths)
        incoming = [self.config.in_channels, *widths[:-1]]
        self.encoder = nn.ModuleList(
            DoubleConv2D(before, width) for before, width in zip(incoming, widths, strict=True)
        )
        self.pool = nn.MaxPool2d(2)
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(deep, width, 2, stride=2)
            for deep, width in zip(widths[1:], widths[:-1], strict=True)
        )
        self.decoder = nn.ModuleList(DoubleConv2D(2 * width, width) for width in widths[:-1])
        self.head = nn.Conv2d(widths[0], self.config.classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Logits (B, classes, H, W) of an image (B, in_channels, H, W).

        Raises:
            ValueError: If an axis is not divisible by 2^(levels - 1).
        """
        require_divisible(image, 2 ** len(self.up))
        features = [self.encoder[0](image)]  # (B, C0, H, W)
        for block in self.encoder[1:]:
            features.append(block(self.pool(features[-1])))  # (B, Ci, H/2^i, W/2^i)
        decoded = features.pop()
        for level in reversed(range(len(features))):
            up = self.up[level](decoded)  # (B, Ci, H/2^i, W/2^i)
            decoded = self.decoder[level](torch.cat([features[level], up], dim=1))
        logits: Tensor = self.head(decoded)
        return logits
