"""From probabilities to one liver with tumors and vessels inside it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from livertumor_cli.arrays import BoolArray
from livertumor_cli.inference.prediction import Prediction
from livertumor_cli.recipes.recipe import Stage

DEFAULT_THRESHOLD = 0.5

SMALLEST_REMOVAL_ML = 0.1
"""Less tumor outside the liver is not worth a sentence: a few voxels at its outline."""


@dataclass(frozen=True, slots=True)
class Tidied:
    """A prediction in which only one liver is left.

    Attributes:
        prediction: Certain background outside the liver.
        liver: The liver with everything in it, shape (z, y, x).
        flags: What was taken away, as sentences.
    """

    prediction: Prediction
    liver: BoolArray
    flags: tuple[str, ...]


def liver_threshold(stage: Stage) -> float:
    """Probability of liver, tumor and vessel together from which a voxel is liver."""
    return stage.thresholds.get("liver", DEFAULT_THRESHOLD)


def liver_region(prediction: Prediction, stage: Stage) -> BoolArray:
    """The largest 6-connected component of the liver with everything in it, holes filled."""
    return largest_region(prediction.inside(liver_threshold(stage)))


def largest_region(mask: BoolArray) -> BoolArray:
    """The largest 6-connected component, its holes filled; empty for an empty mask."""
    region = np.zeros_like(mask)
    numbered, count = ndimage.label(mask)
    if count == 0:
        return region
    sizes = np.bincount(numbered.ravel())
    sizes[0] = 0
    largest = int(sizes.argmax())
    box = ndimage.find_objects(numbered, max_label=largest)[-1]
    region[box] = ndimage.binary_fill_holes(numbered[box] == largest)
    return region


def tidy(prediction: Prediction, stage: Stage) -> Tidied:
    """Keep one liver, and of tumors and vessels only what lies in it.

    Args:
        prediction: With a liver among its structures; its probabilities are changed in place, as a
            second set of them would not fit into small machines.
        stage: Its thresholds.
    """
    liver = liver_region(prediction, stage)
    flags = _removed_tumor(prediction, stage, liver)
    background, liver_alone = prediction.probabilities[:2]
    holes = liver & ~prediction.inside(liver_threshold(stage))
    # One voxel of rim keeps its probabilities: there the outline is interpolated on the way back.
    outside = ~ndimage.binary_dilation(liver)
    prediction.probabilities[1:, outside] = 0.0
    background[outside] = 1.0
    liver_alone[holes] += background[holes]
    background[holes] = 0.0
    return Tidied(prediction, liver, flags)


def _removed_tumor(prediction: Prediction, stage: Stage, liver: BoolArray) -> tuple[str, ...]:
    """A sentence when tumor outside the liver was dropped."""
    if "tumor" not in prediction.structures:
        return ()
    channel = 1 + prediction.structures.index("tumor")
    threshold = stage.thresholds.get("tumor", DEFAULT_THRESHOLD)
    outside = (prediction.probabilities[channel] >= threshold) & ~liver
    removed_ml = float(outside.sum()) * prediction.geometry.voxel_ml
    if removed_ml < SMALLEST_REMOVAL_ML:
        return ()
    return (f"Tumor outside the liver was removed: {removed_ml:.1f} ml.",)
