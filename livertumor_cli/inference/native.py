"""From the network's grid back to the scan's own, slab by slab.

Probabilities are interpolated, not labels, so that outlines do not show the coarser grid's steps;
but only a few slabs of them exist at a time, and only the winning label is kept.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from livertumor_cli.anatomy import CLASS_NAMES, Label
from livertumor_cli.arrays import FloatArray, LabelArray
from livertumor_cli.engine.hardware import physical_cores
from livertumor_cli.geometry import Box, Geometry, bounding_box, box_holding, box_of
from livertumor_cli.inference.decide import Tidied, liver_threshold
from livertumor_cli.inference.interpolation import interpolate
from livertumor_cli.inference.prediction import Prediction
from livertumor_cli.inference.resample import to_patient_axes
from livertumor_cli.recipes.recipe import Stage

SLAB_VOXELS = 2_000_000
"""Voxels of a slab: 8 MB for each probability map."""

SLABS_AT_ONCE = 4
"""At most, however many cores there are."""

RIM = (2, 2, 2)
"""Voxels of the stage's grid around the liver within which its interpolated outline lies."""


def labels_on_scan(tidied: Tidied, *, stage: Stage, scan: Geometry) -> LabelArray:
    """Label values on the scan's grid.

    Args:
        tidied: Probabilities on the stage's grid, with a liver in them.
        stage: Its thresholds.
        scan: The scan's own grid.

    Returns:
        uint8 `anatomy.Label` values, shape of the scan.
    """
    labels = np.zeros(scan.shape, dtype=np.uint8)
    oriented, geometry = to_patient_axes(labels, scan)  # a view: writing to it writes to `labels`
    prediction = tidied.prediction
    corners = prediction.geometry.cropped(box_of(tidied.liver)).grown(RIM).corners_lps()

    def draw(slab: Box) -> None:
        grid = geometry.cropped(slab)
        parts = [
            interpolate(part, prediction.geometry, target=grid, outside=0.0)
            for part in prediction.probabilities[1:]
        ]
        oriented[slab] = _choose(parts, prediction.structures, stage=stage)

    with ThreadPoolExecutor(min(SLABS_AT_ONCE, physical_cores()), "draw") as drawers:
        # Asked for, so that what goes wrong on a thread is raised here.
        list(drawers.map(draw, slabs(box_holding(geometry, corners))))
    return labels


def tumor_probabilities(
    prediction: Prediction, labels: LabelArray, *, scan: Geometry
) -> FloatArray | None:
    """Tumor probability of every tumor voxel of the scan, in the order of `labels == TUMOR`.

    Args:
        prediction: Of the stage that knows the tumor.
        labels: From `labels_on_scan`.
        scan: The scan's own grid.

    Returns:
        Shape (tumor voxels,), or None if the stage knows no tumor.
    """
    if "tumor" not in prediction.structures:
        return None
    # Only the box that holds all tumors is interpolated again, and only this one map.
    liver = bounding_box(labels)
    within = None if liver is None else bounding_box(labels[liver] == Label.TUMOR)
    if liver is None or within is None:
        return np.zeros(0, dtype=np.float32)
    tumor = labels[liver][within] == Label.TUMOR
    values = np.zeros(tumor.shape, dtype=np.float32)
    oriented, geometry = to_patient_axes(values, scan.cropped(liver).cropped(within))
    channel = 1 + prediction.structures.index("tumor")
    part = prediction.probabilities[channel]
    depth, height, width = geometry.shape
    for slab in slabs((slice(0, depth), slice(0, height), slice(0, width))):
        oriented[slab] = interpolate(
            part, prediction.geometry, target=geometry.cropped(slab), outside=0.0
        )
    found: FloatArray = values[tumor]
    return found


def _choose(parts: list[FloatArray], structures: tuple[str, ...], *, stage: Stage) -> LabelArray:
    """The label of each voxel from the probabilities of all classes but background.

    A voxel belongs to the liver when liver, tumor and vessel together reach the liver's threshold;
    inside it, a class with a threshold wins from there on, and else the largest.

    Args:
        parts: One map per structure, the liver's first.
        structures: Their names.
        stage: Gives the thresholds.
    """
    inside = sum(parts[1:], parts[0]) >= liver_threshold(stage)
    labels = np.full(inside.shape, Label.LIVER, dtype=np.uint8)
    best = parts[0].copy()
    for name, part in zip(structures[1:], parts[1:], strict=True):
        threshold = stage.thresholds.get(name)
        wins = part >= threshold if threshold is not None else part > best
        np.copyto(labels, CLASS_NAMES.index(name), where=wins)
        np.maximum(best, part, out=best)
    labels[~inside] = Label.BACKGROUND
    return labels


def slabs(box: Box) -> list[Box]:
    """A box cut along z into slabs of about SLAB_VOXELS."""
    plane = (box[1].stop - box[1].start) * (box[2].stop - box[2].start)
    depth = max(1, SLAB_VOXELS // plane)
    return [
        (slice(z, min(z + depth, box[0].stop)), box[1], box[2])
        for z in range(box[0].start, box[0].stop, depth)
    ]
