"""From probabilities to one liver with tumors and vessels inside it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from livertumor_cli.arrays import BoolArray, FloatArray
from livertumor_cli.geometry import Geometry
from livertumor_cli.inference.scales import Prediction
from livertumor_cli.recipes.recipe import Stage

DEFAULT_THRESHOLD = 0.5


@dataclass(frozen=True, slots=True)
class Tidied:
    """Probabilities in which only one liver is left.

    Attributes:
        probabilities: float32, shape (classes, z, y, x); certain background outside the liver.
        liver: The liver with everything in it, shape (z, y, x).
        geometry: The grid.
        flags: What was taken away, as sentences.
    """

    probabilities: FloatArray
    liver: BoolArray
    geometry: Geometry
    flags: tuple[str, ...]


def inside_probability(probabilities: FloatArray) -> FloatArray:
    """Probability of liver, tumor or vessel together: all that is not background."""
    return np.asarray(np.float32(1.0) - probabilities[0])


def liver_region(prediction: Prediction, stage: Stage) -> BoolArray:
    """The largest 6-connected component of the liver with everything in it, holes filled."""
    threshold = stage.thresholds.get("liver", DEFAULT_THRESHOLD)
    inside = inside_probability(prediction.probabilities) >= threshold
    return largest_region(inside)


def largest_region(mask: BoolArray) -> BoolArray:
    """The largest 6-connected component, its holes filled; empty for an empty mask."""
    numbered, count = ndimage.label(mask)
    if count == 0:
        return np.zeros_like(mask)
    sizes = np.bincount(numbered.ravel())
    sizes[0] = 0
    filled: BoolArray = ndimage.binary_fill_holes(numbered == sizes.argmax())
    return filled


def tidy(prediction: Prediction, stage: Stage) -> Tidied:
    """Keep one liver, and of tumors and vessels only what lies in it.

    Args:
        prediction: Probabilities; class 0 is background.
        stage: Its classes and thresholds.
    """
    liver = liver_region(prediction, stage)
    probabilities = prediction.probabilities
    flags = _removed_tumor(prediction, stage, liver)
    # One voxel of rim keeps its probabilities: there the outline is interpolated on the way back.
    rim = ndimage.binary_dilation(liver)
    probabilities[0][~rim] = 1.0
    probabilities[1:, ~rim] = 0.0
    holes = liver & (probabilities[0] > DEFAULT_THRESHOLD)
    probabilities[0][holes] = 0.0
    probabilities[stage.classes.index("liver")][holes] = 1.0
    return Tidied(probabilities, liver, prediction.geometry, flags)


def _removed_tumor(prediction: Prediction, stage: Stage, liver: BoolArray) -> tuple[str, ...]:
    """A sentence when tumor outside the liver was dropped."""
    if "tumor" not in stage.classes:
        return ()
    channel = stage.classes.index("tumor")
    threshold = stage.thresholds.get("tumor", DEFAULT_THRESHOLD)
    outside = (prediction.probabilities[channel] >= threshold) & ~liver
    removed_ml = float(outside.sum()) * prediction.geometry.voxel_ml
    if removed_ml < 0.1:
        return ()
    return (f"Tumor outside the liver was removed: {removed_ml:.1f} ml.",)
