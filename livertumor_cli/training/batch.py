"""What a network is trained on in one step."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Batch:
    """Network input and reference; 2D networks have no axis D.

    Attributes:
        image: Shape (B, 1, D, H, W), 0..1.
        labels: int64, shape (B, D, H, W).
        has_vessels: bool, shape (B,).
    """

    image: Tensor
    labels: Tensor
    has_vessels: Tensor


def network_axes(patches: Tensor, *, dimensions: int) -> Tensor:
    """Patches with the spatial axes that a network has.

    Args:
        patches: Shape (..., D, H, W); D is 1 for a 2D network.
        dimensions: 3, or 2 for a network that sees axial slices.

    Returns:
        Shape (..., D, H, W) or (..., H, W).
    """
    return patches if dimensions == 3 else patches.squeeze(-3)
