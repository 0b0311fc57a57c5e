"""What the networks saw, brought back to the scan's own grid; it needs no network any more."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from livertumor_cli.anatomy import Label
from livertumor_cli.arrays import BoolArray, FloatArray, LabelArray
from livertumor_cli.geometry import Geometry, bounding_box
from livertumor_cli.inference.cascade import Seen
from livertumor_cli.inference.native import labels_on_scan, tumor_probabilities
from livertumor_cli.inference.segments import segments_on_scan
from livertumor_cli.recipes.recipe import Stage

FULL_LIVER_ML = 500.0
"""A liver of an adult has more, and vessels that every network of these recipes sees."""


@dataclass(frozen=True, slots=True)
class Segmentation:
    """The cascade's result on the scan's own grid.

    Attributes:
        labels: `anatomy.Label` values, shape of the scan.
        flags: Sentences the reader of the result must see.
        tumor_probabilities: Of every tumor voxel, in the order of `labels == Label.TUMOR`.
        scale_tumors: What each scale alone calls tumor; None with one scale.
        segments: Couinaud segment of every liver voxel, 1 to 8, shape of the scan; None where the
            recipe has no stage for them.
        tells_vessels: Whether the recipe labels vessels; without, none in `labels` means nothing.
    """

    labels: LabelArray
    flags: tuple[str, ...]
    tumor_probabilities: FloatArray | None = None
    scale_tumors: ScaleTumors | None = None
    segments: LabelArray | None = None
    tells_vessels: bool = True


@dataclass(frozen=True, slots=True)
class ScaleTumors:
    """What each scale alone calls tumor, for the spread of volumes over scales.

    Attributes:
        packed: A bit per voxel of the stage's grid for each scale.
        liver: The liver on that grid: tumor outside it does not count.
        geometry: The grid.
    """

    packed: tuple[NDArray[np.uint8], ...]
    liver: BoolArray
    geometry: Geometry

    def masks(self) -> Iterator[BoolArray]:
        """One mask after the other: together they would take much memory."""
        size = self.liver.size
        for bits in self.packed:
            mask = np.unpackbits(bits, count=size).reshape(self.liver.shape).view(np.bool_)
            yield mask & self.liver


def on_scan(seen: Seen, scan: Geometry) -> Segmentation:
    """The segmentation of one scan.

    Args:
        seen: What the networks say.
        scan: The scan's own grid.
    """
    lesions, stage = seen.lesions, seen.stage
    labels = labels_on_scan(lesions, stage=stage, scan=scan)
    prediction, found = lesions.prediction, seen.segments
    packed = prediction.tumor_at_scales
    return Segmentation(
        labels,
        flags=(*lesions.flags, *vessel_flags(labels, stage=stage, geometry=scan)),
        tumor_probabilities=tumor_probabilities(prediction, labels, scan=scan),
        scale_tumors=ScaleTumors(packed, lesions.liver, prediction.geometry) if packed else None,
        segments=None if found is None else segments_on_scan(found, labels, scan=scan),
        tells_vessels="vessel" in stage.classes,
    )


def vessel_flags(labels: LabelArray, *, stage: Stage, geometry: Geometry) -> tuple[str, ...]:
    """Whether a network that draws vessels saw none in a liver of full size: no patient has one.

    Args:
        labels: Values of `anatomy.Label`, shape (z, y, x).
        stage: The one that drew them.
        geometry: Grid of the labels.
    """
    box = bounding_box(labels)
    if "vessel" not in stage.classes or box is None or Label.VESSEL in labels[box]:
        return ()
    liver_ml = np.count_nonzero(labels) * geometry.voxel_ml
    if liver_ml < FULL_LIVER_ML:
        return ()
    return (f"No vessel was found in a liver of {liver_ml:.0f} ml: it may be no liver.",)
