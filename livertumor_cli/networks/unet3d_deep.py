"""The five-level 3D U-Net that DPC-Net is compared with.

Papers: that of `unet3d.py` for the network; Y. Zhang et al., "Decoupled Pyramid Correlation Network
for Liver Tumor Segmentation from CT images", Medical Physics 49(11), 2022. DOI 10.1002/mp.15723,
for the baseline of 22.58 M parameters (table 4).

Stated by the paper and tested: 22.58 M parameters.

Decisions where the paper is silent: five levels from 32 features doubled to 512, double
convolutions and names as in `unet3d.py`, and 2^3 transposed convolutions; with them the count is
met (3^3 ones would give 25.89 M). Three classes: background, liver, tumor.
"""

from __future__ import annotations

from torch import nn

from livertumor_cli.networks.unet3d import UNet3D, UNet3DConfig

DEEP_WIDTHS = (32, 64, 128, 256, 512)


class DeepUNet3D(UNet3D):
    """3D U-Net with 2^3 up-convolutions; axes must be divisible by 2^(levels - 1)."""

    def __init__(self, config: UNet3DConfig | None = None) -> None:
        super().__init__(config or UNet3DConfig(classes=3, widths=DEEP_WIDTHS))
        widths = list(self.config.widths)
        self.up = nn.ModuleList(
            nn.ConvTranspose3d(deep, width, 2, stride=2)
            for deep, width in zip(widths[1:], widths[:-1], strict=True)
        )
