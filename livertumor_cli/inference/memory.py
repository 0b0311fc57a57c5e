"""The memory that a stage will need, told before the work instead of by its crash."""

from __future__ import annotations

import math
from collections.abc import Iterable

from livertumor_cli.errors import BackendError
from livertumor_cli.geometry import Geometry
from livertumor_cli.process_memory import available_memory_bytes

MAPS_BESIDE_CLASSES = 8
"""Maps of 4 bytes a voxel that exist beside one for each class: the image before and after its
normalization, its padded copy, the windows' weights, two for the next image, which is made
meanwhile, and two for everything shorter-lived."""


def forecast_bytes(grid: Geometry, *, classes: int) -> int:
    """Memory of sliding windows over a grid."""
    return 4 * math.prod(grid.shape) * (classes + MAPS_BESIDE_CLASSES)


def require_memory(grids: Iterable[Geometry], *, target: Geometry, classes: int) -> None:
    """Refuse what this machine cannot hold.

    Args:
        grids: Where the stage looks, one after the other.
        target: Where the mean of their probabilities stands meanwhile.
        classes: Channels of the network, background included.

    Raises:
        BackendError: If the largest grid needs more memory than is free.
    """
    largest = max(forecast_bytes(grid, classes=classes) for grid in grids)
    needed = largest + 4 * math.prod(target.shape) * classes
    available = available_memory_bytes()
    if needed > available:
        raise BackendError(
            f"this scan needs about {needed / 1e9:.1f} GB of memory, and {available / 1e9:.1f} GB "
            "are free.",
            hint="Close other programs, or leave out the largest of --scales.",
        )
