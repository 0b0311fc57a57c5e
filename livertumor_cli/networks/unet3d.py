"""3D U-Net, the liver network and the baseline of the UCA-Net and DPC-Net papers.

Paper: O. Cicek, A. Abdulkadir, S. S. Lienkamp, T. Brox, O. Ronneberger, "3D U-Net: Learning Dense
Volumetric Segmentation from Sparse Annotation", MICCAI 2016. DOI 10.1007/978-3-319-46723-8_49.

Decisions where the papers that use it are silent:

* Two 3^3 convolutions with batch norm and ReLU per level, both with the level's width, max-pooling,
  3^3 stride-2 transposed convolutions and concatenation. With widths 32-64-128-256 this has 6.42 M
  parameters, the figure of the UCA-Net paper (Table 1, "3D Unet"); Cicek's own widening inside a
  level would not.
* Convolutions before a batch norm carry no bias: the norm would remove it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from livertumor_cli.networks.input_size import require_divisible


@dataclass(frozen=True, slots=True)
class UNet3DConfig:
    """The whole configuration of a 3D U-Net.

    Attributes:
        in_channels: Channels of the input.
        classes: Channels of the output (logits).
        widths: Features of each level, finest first.
    """

    in_channels: int = 1
    classes: int = 2
    widths: Sequence[int] = (32, 64, 128, 256)


class DoubleConv(nn.Sequential):
    """Two times convolution 3^3, batch norm, ReLU; keeps the size."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(
            nn.Conv3d(in_channels, out_channels, 3, padding=1, bias=False),
            nn.BatchNorm3d(out_channels),
            nn.ReLU(inplace=True),
            nn.Conv3d(out_channels, out_channels, 3, padding=1, bias=False),
            nn.BatchNorm3d(out_channels),
            nn.ReLU(inplace=True),
        )


class UpConv(nn.ConvTranspose3d):
    """Transposed convolution 3^3 with stride 2: exactly doubles every axis."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(
            in_channels, out_channels, kernel_size=3, stride=2, padding=1, output_padding=1
        )


class UNet3D(nn.Module):
    """3D U-Net; every axis of the input must be divisible by 2^(levels - 1)."""

    def __init__(self, config: UNet3DConfig | None = None) -> None:
        super().__init__()
        self.config = config or UNet3DConfig()
        widths = list(self.config.widths)
        incoming = [self.config.in_channels, *widths[:-1]]
        self.encoder = nn.ModuleList(
            DoubleConv(before, width) for before, width in zip(incoming, widths, strict=True)
        )
        self.pool = nn.MaxPool3d(2)
        self.up = nn.ModuleList(
            UpConv(deep, width) for deep, width in zip(widths[1:], widths[:-1], strict=True)
        )
        self.decoder = nn.ModuleList(DoubleConv(2 * width, width) for width in widths[:-1])
        self.head = nn.Conv3d(widths[0], self.config.classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Logits (B, classes, D, H, W) of an image (B, in_channels, D, H, W).

        Raises:
            ValueError: If an axis is not divisible by 2^(levels - 1).
        """
        require_divisible(image, 2 ** len(self.up))
        features = [self.encoder[0](image)]  # (B, C0, D, H, W)
        for block in self.encoder[1:]:
            features.append(block(self.pool(features[-1])))  # (B, Ci, D/2^i, H/2^i, W/2^i)
        decoded = features.pop()
        for level in reversed(range(len(features))):
            up = self.up[level](decoded)  # (B, Ci, D/2^i, H/2^i, W/2^i)
            decoded = self.decoder[level](torch.cat([features[level], up], dim=1))
        logits: Tensor = self.head(decoded)
        return logits
