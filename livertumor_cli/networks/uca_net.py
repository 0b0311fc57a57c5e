"""UCA-Net: a 3D U-Net whose skip connections are channel- and slice-wise cross-attention.

Paper: H. Kuang, D. Yang, S. Wang, X. Wang, L. Zhang, "Towards Simultaneous Segmentation of Liver
Tumors and Intrahepatic Vessels via Cross-Attention Mechanism", ICASSP 2023.
DOI 10.1109/ICASSP49357.2023.10096351. No code was published; this file was written from the text.

Stated by the paper and tested: three attention levels; queries from the up-sampled decoder
features, keys and values from the encoder (eq. 1, 3); a C x C similarity in CCA (eq. 2) and a D x D
one in SCA (eq. 4), softmax; SCA projects to one channel and restores the channels at its end; both
outputs are added; 6.42 M parameters without either module, 5.84 M with SCA, 5.90 M with CCA, 5.91 M
with both. The last is met within 0.2 % (5.903 M): SCA as described has 0.9 thousand parameters, and
5.91 M would take 3 to 7 thousand, of which the text says nothing.

Decisions where the paper is silent:

* The counts leave no room for concatenation: the attention output enters the decoder instead of it.
  Both streams that attend to each other are added to it, as the streams of every transformer's
  cross-attention block are; addition has no parameters, so the counts still hold. Without the
  up-sampled features, what deeper levels know would reach the voxels only through C x C and D x D
  weights. Without the encoder's, fine detail would: after 500 training steps with the up-sampled
  features alone, the CCA output at full resolution had two or three directions that mattered, a
  tenth of the up-sampled features' local contrast, and no tumor was found yet.
* L is the voxel count of the level, so C x C costs linear in voxels. The products are divided by
  it, which makes the similarity a mean: it does not change with the patch size.
* Before the softmax the similarity is normalized to zero mean and unit variance over the matrix, as
  in UCTransNet (reference 15, on which the paper builds); raw products of unnormalized features
  would make the softmax a constant choice of one channel.
* Projections are 1^3 convolutions without bias in CCA (3 C^2 per level), C -> 1 in SCA with one
  1 -> C restoration.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from livertumor_cli.networks.input_size import require_divisible
from livertumor_cli.networks.unet3d import DoubleConv, UpConv


@dataclass(frozen=True, slots=True)
class UCANetConfig:
    """The whole configuration of a UCA-Net.

    Attributes:
        in_channels: Channels of the input.
        classes: Channels of the output (logits).
        widths: Features of each level, finest first.
        channel_attention: Whether the CCA module is there.
        slice_attention: Whether the SCA module is there.
    """

    in_channels: int = 1
    classes: int = 4
    widths: Sequence[int] = (32, 64, 128, 256)
    channel_attention: bool = True
    slice_attention: bool = True


def attention_weights(similarity: Tensor) -> Tensor:
    """Softmax over the last axis of a similarity brought to zero mean and unit variance.

    Args:
        similarity: Shape (B, N, N).

    Returns:
        Shape (B, N, N), float32; every row sums to one.
    """
    similarity = similarity.float()
    centered = similarity - similarity.mean(dim=(1, 2), keepdim=True)
    variance = (centered * centered).mean(dim=(1, 2), keepdim=True)
    return torch.softmax(centered * torch.rsqrt(variance + 1e-5), dim=-1)


def mix_channels(mixing: Tensor, encoded: Tensor) -> Tensor:
    """Multiply every voxel's channels by a matrix, in the memory layout that the tensor has.

    Both ways give the same numbers; the other one would reorder all voxels twice.

    Args:
        mixing: Shape (B, C, C).
        encoded: Shape (B, C, D, H, W).

    Returns:
        Shape (B, C, D, H, W).
    """
    tokens = encoded.flatten(2)  # (B, C, L)
    if encoded.is_contiguous():
        mixed = mixing @ tokens
    else:  # channels last
        mixed = (tokens.transpose(1, 2) @ mixing.transpose(1, 2)).transpose(1, 2)
    return mixed.reshape(encoded.shape)  # (B, C, D, H, W)


class ChannelCrossAttention(nn.Module):
    """CCA: which encoder channels the decoder asks for (paper eq. 1 and 2).

    With Q = Wq U, K = Wk E, V = Wv E the paper's softmax(Q K^T) V equals
    (softmax(Wq (U E^T) Wk^T) Wv) E: the projections are applied to the C x C product instead of to
    every voxel, which leaves two passes over the voxels in place of five.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query = nn.Conv3d(channels, channels, 1, bias=False)
        self.key = nn.Conv3d(channels, channels, 1, bias=False)
        self.value = nn.Conv3d(channels, channels, 1, bias=False)

    def forward(self, encoded: Tensor, upsampled: Tensor) -> Tensor:
        """Attention output, shape (B, C, D, H, W) as both inputs."""
        tokens = encoded.flatten(2)  # (B, C, L), L = D H W
        product = upsampled.flatten(2) @ tokens.transpose(1, 2)  # (B, C, C)
        query, key, value = (
            projection.weight.flatten(1) for projection in (self.query, self.key, self.value)
        )  # (C, C) each
        similarity = query @ (product.float() / tokens.shape[-1]) @ key.T  # (B, C, C)
        mixing = attention_weights(similarity) @ value  # (B, C, C)
        return mix_channels(mixing.to(encoded.dtype), encoded)  # (B, C, D, H, W)


class SliceCrossAttention(nn.Module):
    """SCA: which encoder slices each decoder slice asks for (paper eq. 3 and 4)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query = nn.Conv3d(channels, 1, 1, bias=False)
        self.key = nn.Conv3d(channels, 1, 1, bias=False)
        self.value = nn.Conv3d(channels, 1, 1, bias=False)
        self.restore = nn.Conv3d(1, channels, 1, bias=False)

    def forward(self, encoded: Tensor, upsampled: Tensor) -> Tensor:
        """Attention output, shape (B, C, D, H, W) as both inputs."""
        query = self.query(upsampled).flatten(3).squeeze(1)  # (B, D, H W)
        # One convolution for key and value reads the encoder's features once.
        both = nn.functional.conv3d(encoded, torch.cat([self.key.weight, self.value.weight]))
        key, value = both.flatten(3).unbind(1)  # (B, D, H W) each
        similarity = query @ key.transpose(1, 2)  # (B, D, D)
        weights = attention_weights(similarity.float() / query.shape[-1])
        attended = (weights.to(value.dtype) @ value).unsqueeze(1)  # (B, 1, D, H W)
        restored: Tensor = self.restore(attended.reshape(both[:, :1].shape))
        return restored  # (B, C, D, H, W)


class CrossAttentionSkip(nn.Module):
    """CSCA: CCA and SCA added, together with both streams (see the decisions above)."""

    def __init__(self, channels: int, *, config: UCANetConfig) -> None:
        super().__init__()
        self.channel = ChannelCrossAttention(channels) if config.channel_attention else None
        self.slice = SliceCrossAttention(channels) if config.slice_attention else None

    def forward(self, encoded: Tensor, upsampled: Tensor) -> Tensor:
        """What enters the decoder, shape (B, C, D, H, W) as both inputs."""
        output = upsampled + encoded
        if self.channel is not None:
            output = output + self.channel(encoded, upsampled)
        if self.slice is not None:
            output = output + self.slice(encoded, upsampled)
        return output


class UCANet(nn.Module):
    """UCA-Net; every axis of the input must be divisible by 2^(levels - 1).

    Raises:
        ValueError: If both attention modules are off (that network is `UNet3D`).
    """

    def __init__(self, config: UCANetConfig | None = None) -> None:
        super().__init__()
        self.config = config or UCANetConfig()
        if not (self.config.channel_attention or self.config.slice_attention):
            raise ValueError("UCA-Net without both attention modules is the 3D U-Net: use UNet3D")
        widths = list(self.config.widths)
        incoming = [self.config.in_channels, *widths[:-1]]
        self.encoder = nn.ModuleList(
            DoubleConv(before, width) for before, width in zip(incoming, widths, strict=True)
        )
        self.pool = nn.MaxPool3d(2)
        self.up = nn.ModuleList(
            UpConv(deep, width) for deep, width in zip(widths[1:], widths[:-1], strict=True)
        )
        self.skip = nn.ModuleList(
            CrossAttentionSkip(width, config=self.config) for width in widths[:-1]
        )
        self.decoder = nn.ModuleList(DoubleConv(width, width) for width in widths[:-1])
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
            upsampled = self.up[level](decoded)  # (B, Ci, D/2^i, H/2^i, W/2^i)
            decoded = self.decoder[level](self.skip[level](features[level], upsampled))
        logits: Tensor = self.head(decoded)
        return logits
