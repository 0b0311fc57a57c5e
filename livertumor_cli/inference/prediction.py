"""What a stage says about every voxel of its grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from livertumor_cli.arrays import BoolArray, FloatArray
from livertumor_cli.geometry import Geometry


@dataclass(frozen=True, slots=True)
class Prediction:
    """Probabilities on a stage's grid.

    Attributes:
        probabilities: float32, shape (1 + structures, z, y, x); the first is background.
        structures: Names of the others, in the order of their label values.
        geometry: The grid.
        tumor_at_scales: Where the tumor wins at each scale alone, a bit per voxel
            (`numpy.packbits`); empty with one scale.
    """

    probabilities: FloatArray
    structures: tuple[str, ...]
    geometry: Geometry
    tumor_at_scales: tuple[NDArray[np.uint8], ...] = ()

    def inside(self, threshold: float) -> BoolArray:
        """Where all that is not background together reaches a probability, shape (z, y, x)."""
        return np.asarray(self.probabilities[0] <= np.float32(1.0 - threshold))
