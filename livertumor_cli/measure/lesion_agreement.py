"""Lesions of a prediction and of a reference, one by one and by their size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy import ndimage

from livertumor_cli.arrays import BoolArray, InstanceArray
from livertumor_cli.geometry import Box, Geometry
from livertumor_cli.measure.agreement import (
    OverlapScores,
    SurfaceScores,
    overlap,
    surface_distances,
)
from livertumor_cli.measure.detection import Detection, found_fractions
from livertumor_cli.measure.diameters import axial_diameters
from livertumor_cli.measure.volumetry import volume_ml

SIZE_LIMITS_MM = (0.0, 10.0, 20.0, 50.0, math.inf)
"""Longest axial diameters between which figures are stated: measurable (10), staging (20, 50)."""


@dataclass(frozen=True, slots=True)
class ReferenceLesion:
    """One 26-connected lesion of the reference.

    Attributes:
        id: 1, 2, ... in order of falling volume.
        volume_ml: Its volume.
        longest_axial_diameter_mm: Its longest diameter in an axial slice.
        found_fraction: Share of its voxels that the predicted tumor covers.
        is_found: Whether it matches a predicted lesion one-to-one.
    """

    id: int
    volume_ml: float
    longest_axial_diameter_mm: float
    found_fraction: float
    is_found: bool


@dataclass(frozen=True, slots=True)
class PredictedLesion:
    """One 26-connected lesion of the prediction.

    Attributes:
        id: 1, 2, ... in order of falling volume.
        volume_ml: Its volume.
        longest_axial_diameter_mm: Its longest diameter in an axial slice.
        is_right: Whether it matches a reference lesion one-to-one.
    """

    id: int
    volume_ml: float
    longest_axial_diameter_mm: float
    is_right: bool


@dataclass(frozen=True, slots=True)
class MatchedLesion:
    """Agreement of lesions that match; pieces that were joined count as one.

    Attributes:
        prediction_ids: Numbers of the predicted lesions.
        reference_ids: Numbers of the reference lesions.
        overlap: Scores by voxel counts.
        surface: Distances of the surfaces.
    """

    prediction_ids: tuple[int, ...]
    reference_ids: tuple[int, ...]
    overlap: OverlapScores
    surface: SurfaceScores


@dataclass(frozen=True, slots=True)
class SizeClass:
    """Lesions whose longest axial diameter lies between two limits.

    Reference lesions are sorted by their own diameter and predicted ones by theirs.

    Attributes:
        from_mm: Diameters from this on ...
        below_mm: ... and below this.
        count: Reference lesions.
        found: Those found.
        covered: Mean share of the voxels of a reference lesion that is predicted as tumor; NaN
            without one.
        predicted: Predicted lesions.
        right: Those that match a reference lesion.
    """

    from_mm: float
    below_mm: float
    count: int
    found: int
    covered: float
    predicted: int
    right: int

    @property
    def recall(self) -> float:
        """Share of the reference lesions found; NaN without one."""
        return self.found / self.count if self.count else math.nan

    @property
    def precision(self) -> float:
        """Share of the predicted lesions that match; NaN without one."""
        return self.right / self.predicted if self.predicted else math.nan


def list_reference_lesions(
    tumor: BoolArray, lesions: InstanceArray, *, detection: Detection, geometry: Geometry
) -> tuple[ReferenceLesion, ...]:
    """Every lesion of the reference with its size and whether it was found.

    Args:
        tumor: Predicted tumor mask, shape (z, y, x).
        lesions: Numbered reference lesions, same shape.
        detection: How they were matched.
        geometry: Grid of both.
    """
    sizes = _sizes(lesions, geometry)
    shares = found_fractions(tumor, lesions)
    rows = zip(sizes, shares, detection.found, strict=True)
    return tuple(
        ReferenceLesion(number, *size, share, found)
        for number, (size, share, found) in enumerate(rows, start=1)
    )


def list_predicted_lesions(
    lesions: InstanceArray, *, detection: Detection, geometry: Geometry
) -> tuple[PredictedLesion, ...]:
    """Every lesion of the prediction with its size and whether it is one.

    Args:
        lesions: Numbered predicted lesions, shape (z, y, x).
        detection: How they were matched.
        geometry: Their grid.
    """
    rows = zip(_sizes(lesions, geometry), detection.right, strict=True)
    return tuple(
        PredictedLesion(number, *size, right) for number, (size, right) in enumerate(rows, start=1)
    )


def score_matches(
    predicted: InstanceArray, reference: InstanceArray, *, detection: Detection, geometry: Geometry
) -> tuple[MatchedLesion, ...]:
    """Overlap and surface distances of the lesions that match, each in a box of its own.

    Args:
        predicted: Numbered predicted lesions, shape (z, y, x).
        reference: Numbered reference lesions, same shape.
        detection: How they were matched.
        geometry: Grid of both.
    """
    boxes = _boxes(predicted), _boxes(reference)
    scored = []
    for match in detection.matches:
        sides = match.predictions, match.references
        box = _common_box(
            [found[i - 1] for found, side in zip(boxes, sides, strict=True) for i in side]
        )
        masks = np.isin(predicted[box], sides[0]), np.isin(reference[box], sides[1])
        scored.append(
            MatchedLesion(
                *sides, overlap(*masks), surface_distances(*masks, spacing_mm=geometry.spacing_mm)
            )
        )
    return tuple(scored)


def classes_by_size(
    references: Sequence[ReferenceLesion],
    predictions: Sequence[PredictedLesion],
    *,
    limits_mm: Sequence[float] = SIZE_LIMITS_MM,
) -> tuple[SizeClass, ...]:
    """Detection by size, over the lesions of one case or of many.

    Args:
        references: Lesions of the references.
        predictions: Lesions of the predictions.
        limits_mm: Ascending limits between the sizes.
    """
    rows = []
    for low, high in pairwise(limits_mm):
        known = [one for one in references if low <= one.longest_axial_diameter_mm < high]
        drawn = [one for one in predictions if low <= one.longest_axial_diameter_mm < high]
        rows.append(
            SizeClass(
                from_mm=low,
                below_mm=high,
                count=len(known),
                found=sum(one.is_found for one in known),
                covered=sum(one.found_fraction for one in known) / len(known)
                if known
                else math.nan,
                predicted=len(drawn),
                right=sum(one.is_right for one in drawn),
            )
        )
    return tuple(rows)


def _sizes(lesions: InstanceArray, geometry: Geometry) -> list[tuple[float, float]]:
    """Volume in ml and longest axial diameter in mm of each lesion, in order of their numbers."""
    sizes = []
    for number, box in enumerate(_boxes(lesions), start=1):
        mask, grid = lesions[box] == number, geometry.cropped(box)
        diameter_mm = axial_diameters(mask, geometry=grid).longest.length_mm
        sizes.append((volume_ml(mask, geometry=grid), diameter_mm))
    return sizes


def _boxes(lesions: InstanceArray) -> list[Box]:
    """The box of each lesion, in order of their numbers."""
    return [(z, y, x) for z, y, x in ndimage.find_objects(lesions)]


def _common_box(boxes: Sequence[Box]) -> Box:
    """The smallest box that holds all of these."""
    z, y, x = (
        slice(min(part.start for part in parts), max(part.stop for part in parts))
        for parts in zip(*boxes, strict=True)
    )
    return z, y, x
