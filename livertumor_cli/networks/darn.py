"""DARN: pyramid features refined by their neighbors, the preliminary version of DPC-Net.

Paper: Y. Zhang, J. Tian, C. Zhong, Y. Zhang, Z. Shi, Z. He, "DARN: Deep Attentive Refinement
Network for Liver Tumor Segmentation from 3D CT volume", ICPR 2020.
DOI 10.1109/ICPR48806.2021.9411976. No code was published; this file was written from the summary
that its authors presented.

Stated and tested: a pyramid feature encoder; SemRef, which enhances low-level features with the
guidance of the neighboring high-level ones in the semantic dimension (channels); SpaRef, which
enhances high-level features with the guidance of the neighboring low-level ones in the spatial
dimension; both orders, Spa + Sem being the better one (table III) and so the default; the refined
maps are aggregated for the final segmentation.

Decisions where the text is silent:

* Encoder, frame, aggregation and deep supervision are those of `pyramid.py`: the DPC-Net paper
  calls this network its preliminary version and describes the encoder that both name.
* The guide alone makes the attention, from averages. Correlating a level with its neighbor, and
  maxima beside averages, is what the DPC-Net paper adds and ablates (section III.B, table 1).
* SemRef is the SAT module of SFAN (same authors, one year before) in three dimensions: average over
  the voxels, two layers, sigmoid. SpaRef is its counterpart: average over the channels, two 3^3
  convolutions, sigmoid, and the mean of the map over each voxel of the coarser level. LeakyReLU
  between the two layers, as everywhere else in the network.
* 64 pyramid channels; no count is given. The only work at the finer level's resolution is on maps
  of one channel in and out, so this network costs little more than its encoder.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from livertumor_cli.networks.pyramid import PyramidConfig, PyramidNetwork


@dataclass(frozen=True, slots=True, kw_only=True)
class DARNConfig(PyramidConfig):
    """The whole configuration of a DARN; see `PyramidConfig`."""

    pyramid_channels: int = 64


class SpatialRefinement(nn.Module):
    """SpaRef: the next finer level says where in a level to look."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.attention = nn.Sequential(
            nn.Conv3d(1, channels, 3, padding=1),
            nn.LeakyReLU(inplace=True),
            nn.Conv3d(channels, 1, 3, padding=1),
        )

    def forward(self, features: Tensor, finer: Tensor) -> Tensor:
        """Spatially refined features.

        Args:
            features: The level, shape (B, C, D, H, W).
            finer: The level that guides it, shape (B, C, 2D, 2H, 2W).

        Returns:
            Shape (B, C, D, H, W).
        """
        guide = finer.mean(1, keepdim=True)  # (B, 1, 2D, 2H, 2W)
        return features * functional.avg_pool3d(torch.sigmoid(self.attention(guide)), 2)


class SemanticRefinement(nn.Module):
    """SemRef: the next coarser level says which channels matter."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.attention = nn.Sequential(
            nn.Linear(channels, channels),
            nn.LeakyReLU(inplace=True),
            nn.Linear(channels, channels),
        )

    def forward(self, features: Tensor, coarser: Tensor) -> Tensor:
        """Semantically refined features.

        Args:
            features: The level, shape (B, C, D, H, W).
            coarser: The level that guides it, shape (B, C, D/2, H/2, W/2).

        Returns:
            Shape (B, C, D, H, W).
        """
        attention = torch.sigmoid(self.attention(coarser.mean((2, 3, 4))))  # (B, C)
        return features * attention[:, :, None, None, None]


class DARN(PyramidNetwork):
    """DARN; every axis of the input must be divisible by 2^(levels - 1)."""

    def __init__(self, config: DARNConfig | None = None) -> None:
        super().__init__(
            config or DARNConfig(), spatial=SpatialRefinement, semantic=SemanticRefinement
        )
