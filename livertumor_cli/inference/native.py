"""From the network's grid back to the scan's own, slab by slab.

Probabilities are interpolated, not labels, so that outlines do not show the coarser grid's steps; but
only one slab of them exists at a time, and only the winning label is kept.
"""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk  # noqa: N813 (the name its own documentation uses)

from livertumor_cli.anatomy import CLASS_NAMES
from livertumor_cli.arrays import FloatArray, LabelArray
from livertumor_cli.geometry import Box, Geometry
from livertumor_cli.inference.decide import DEFAULT_THRESHOLD, Tidied
from livertumor_cli.inference.resample import grid_image, to_image, to_patient_axes
from livertumor_cli.recipes.recipe import Stage

SLAB_VOXELS = 8_000_000
"""Voxels handled at once: 32 MB for each probability map."""


def labels_on_scan(tidied: Tidied, *, stage: Stage, scan: Geometry) -> LabelArray:
    """Label values on the scan's grid.

    Args:
        tidied: Probabilities on the stage's grid.
        stage: Its classes and thresholds.
        scan: The scan's own grid.

    Returns:
        uint8 `anatomy.Label` values, shape of the scan.
    """
    labels = np.zeros(scan.shape, dtype=np.uint8)
    oriented, geometry = to_patient_axes(labels, scan)  # a view: writing to it writes to `labels`
    box = _touched(tidied, geometry)
    maps = [to_image(part, tidied.geometry) for part in tidied.probabilities[1:]]
    for slab in _slabs(box):
        grid = grid_image(geometry.cropped(slab))
        parts = [_interpolate(image, grid) for image in maps]
        oriented[slab] = _choose(parts, stage)
    return labels


def _interpolate(image: sitk.Image, grid: sitk.Image) -> FloatArray:
    values: FloatArray = sitk.GetArrayFromImage(
        sitk.Resample(image, grid, sitk.Transform(), sitk.sitkLinear, 0.0, sitk.sitkFloat32)
    )
    return values


def _choose(parts: list[FloatArray], stage: Stage) -> LabelArray:
    """The label of each voxel from the probabilities of all classes but background.

    A voxel belongs to the liver when liver, tumor and vessel together reach the liver's threshold;
    inside it, a class with a threshold wins from there on, and else the largest.
    """
    names = stage.classes[1:]
    inside = np.add.reduce(parts) >= stage.thresholds.get("liver", DEFAULT_THRESHOLD)
    labels = np.full(inside.shape, CLASS_NAMES.index(names[0]), dtype=np.uint8)
    best = parts[0].copy()
    for name, part in zip(names[1:], parts[1:], strict=True):
        threshold = stage.thresholds.get(name)
        wins = part >= threshold if threshold is not None else part > best
        labels[wins] = CLASS_NAMES.index(name)
        np.maximum(best, part, out=best)
    labels[~inside] = 0
    return labels


def _touched(tidied: Tidied, geometry: Geometry) -> Box:
    """The box of the scan that the liver can reach, with two voxels of margin on its own grid."""
    occupied = np.argwhere(tidied.liver)
    first, last = occupied.min(axis=0) - 2, occupied.max(axis=0) + 2
    corners = np.array(
        [[z, y, x] for z in (first[0], last[0]) for y in (first[1], last[1]) for x in (first[2], last[2])],
        dtype=np.float64,
    )
    indices = geometry.lps_to_index(tidied.geometry.index_to_lps(corners))
    sizes = np.array(geometry.shape)
    low = np.clip(np.floor(indices.min(axis=0)).astype(int), 0, sizes - 1)
    high = np.clip(np.ceil(indices.max(axis=0)).astype(int) + 1, low + 1, sizes)
    return slice(low[0], high[0]), slice(low[1], high[1]), slice(low[2], high[2])


def _slabs(box: Box) -> list[Box]:
    """A box cut along z into slabs of about SLAB_VOXELS."""
    plane = (box[1].stop - box[1].start) * (box[2].stop - box[2].start)
    depth = max(1, SLAB_VOXELS // plane)
    return [
        (slice(z, min(z + depth, box[0].stop)), box[1], box[2])
        for z in range(box[0].start, box[0].stop, depth)
    ]
