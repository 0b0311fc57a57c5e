"""What a network asks of the size of its input."""

from __future__ import annotations

from torch import Tensor


def require_divisible(image: Tensor, divisor: int) -> None:
    """Refuse an image that cannot be halved and doubled back to the same size.

    Pooling an odd size drops its last voxel, and every level below is then shifted against the one
    above; who cuts the patches knows better what to add at the border than the network does.

    Args:
        image: Shape (B, C, ...).
        divisor: What every spatial axis must be divisible by.

    Raises:
        ValueError: If an axis is not.
    """
    sizes = tuple(image.shape[2:])
    if any(size % divisor for size in sizes):
        raise ValueError(f"every axis of the input must be divisible by {divisor}, not {sizes}")
