"""How well a predicted mask agrees with a reference mask: overlap and surface distances.

Empty masks: two empty masks agree fully (Dice and Jaccard 1, VOE 0), an empty and a non-empty one
not at all (Dice and Jaccard 0, VOE 1). What is divided by nothing, or measured from a surface that
does not exist, is NaN; the LiTS code writes 9001 there, which then enters its means.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from livertumor_cli.arrays import BoolArray, DoubleArray
from livertumor_cli.geometry import Box, Spacing, bounding_box


@dataclass(frozen=True, slots=True)
class OverlapScores:
    """Overlap of two masks, by voxel counts.

    Attributes:
        dice: Twice the common voxels per voxels of both.
        jaccard: Common voxels per voxels of either.
        voe: Volume overlap error, 1 - jaccard.
        rvd: Relative volume difference, (prediction - reference) / reference: above 0 is too large.
            NaN for an empty reference.
        rvd_lits: As the LiTS code computes it, (reference - prediction) / prediction; NaN for an
            empty prediction.
        common_voxels: Voxels of both.
        prediction_voxels: Voxels of the prediction.
        reference_voxels: Voxels of the reference.
    """

    dice: float
    jaccard: float
    voe: float
    rvd: float
    rvd_lits: float
    common_voxels: int
    prediction_voxels: int
    reference_voxels: int


@dataclass(frozen=True, slots=True)
class SurfaceScores:
    """Distances between the surfaces of two masks in mm; all NaN if either mask is empty.

    A surface is the set of voxels removed by an erosion with the 18-neighborhood; voxels on the
    edge of the array belong to it. Distances run between voxel centers.

    Attributes:
        assd_mm: Mean over all surface voxels of both masks of the distance to the other surface.
        rmsd_mm: Root of the mean of the squares of the same distances.
        hd95_mm: The larger of the two 95th percentiles, prediction to reference and back.
        msd_mm: The largest distance (Hausdorff).
    """

    assd_mm: float
    rmsd_mm: float
    hd95_mm: float
    msd_mm: float


def overlap(prediction: BoolArray, reference: BoolArray) -> OverlapScores:
    """Overlap scores of two masks.

    Args:
        prediction: Shape (z, y, x).
        reference: Same shape.

    Raises:
        ValueError: If the shapes differ.
    """
    _require_same_shape(prediction, reference)
    common = int(np.count_nonzero(prediction & reference))
    predicted, expected = int(np.count_nonzero(prediction)), int(np.count_nonzero(reference))
    either = predicted + expected - common
    jaccard = common / either if either else 1.0
    return OverlapScores(
        dice=2 * common / (predicted + expected) if either else 1.0,
        jaccard=jaccard,
        voe=1.0 - jaccard,
        rvd=(predicted - expected) / expected if expected else math.nan,
        rvd_lits=(expected - predicted) / predicted if predicted else math.nan,
        common_voxels=common,
        prediction_voxels=predicted,
        reference_voxels=expected,
    )


def surface_distances(
    prediction: BoolArray, reference: BoolArray, *, spacing_mm: Spacing
) -> SurfaceScores:
    """Surface distances of two masks.

    Args:
        prediction: Shape (z, y, x).
        reference: Same shape.
        spacing_mm: Voxel size along z, y, x of a rectangular grid.

    Raises:
        ValueError: If the shapes differ.
    """
    _require_same_shape(prediction, reference)
    boxes = bounding_box(prediction), bounding_box(reference)
    if boxes[0] is None or boxes[1] is None:
        return SurfaceScores(math.nan, math.nan, math.nan, math.nan)
    surface = _surface_mm(prediction, boxes[0], spacing_mm)
    other = _surface_mm(reference, boxes[1], spacing_mm)
    there, back = _nearest_mm(surface, other), _nearest_mm(other, surface)
    both = np.concatenate([there, back])
    return SurfaceScores(
        assd_mm=float(both.mean()),
        rmsd_mm=float(np.sqrt(np.mean(both**2))),
        hd95_mm=float(max(np.percentile(there, 95), np.percentile(back, 95))),
        msd_mm=float(both.max()),
    )


def _require_same_shape(prediction: BoolArray, reference: BoolArray) -> None:
    if prediction.shape != reference.shape:
        raise ValueError(f"shapes differ: {prediction.shape} and {reference.shape}")


def _surface_mm(mask: BoolArray, box: Box, spacing_mm: Spacing) -> DoubleArray:
    """Centers of the surface voxels in mm along z, y, x from the first voxel, shape (n, 3)."""
    inside = np.pad(mask[box], 1)
    core = inside[1:-1, 1:-1, 1:-1].copy()
    depth, height, width = core.shape
    steps = (-1, 0, 1)
    # Nineteen shifted views are several times faster than a binary erosion with a structure.
    for dz, dy, dx in ((z, y, x) for z in steps for y in steps for x in steps):
        if abs(dz) + abs(dy) + abs(dx) in (1, 2):
            z, y, x = 1 + dz, 1 + dy, 1 + dx
            core &= inside[z : z + depth, y : y + height, x : x + width]
    index = np.argwhere(mask[box] & ~core) + [part.start for part in box]
    return np.asarray(index * np.array(spacing_mm, dtype=np.float64))


def _nearest_mm(points: DoubleArray, others: DoubleArray) -> DoubleArray:
    """Distance of each point to the nearest of the others in mm."""
    distances, _ = cKDTree(others).query(points)
    return np.asarray(distances)
