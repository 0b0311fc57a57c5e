"""Where a stage looks that knows the liver from the stage before it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from livertumor_cli.arrays import BoolArray, HuArray
from livertumor_cli.geometry import Geometry, box_holding, box_of
from livertumor_cli.inference.resample import patient_grid, resample_to
from livertumor_cli.recipes.recipe import Stage


@dataclass(frozen=True, slots=True)
class KnownLiver:
    """The liver as a stage before has found it: one component on that stage's grid."""

    mask: BoolArray
    geometry: Geometry


def stage_grid(geometry: Geometry, stage: Stage) -> Geometry:
    """The grid of a stage over the whole scan: along the patient's axes, or the scan's own."""
    return patient_grid(geometry, stage.spacing_mm) if stage.spacing_mm else geometry


def grid_about(
    geometry: Geometry, liver: KnownLiver | None, *, stage: Stage, margin_mm: float
) -> Geometry:
    """A stage's grid over the liver with a margin, as far as the scan reaches.

    A liver smaller than the network's patch is given the patch's size: what surrounds it in the
    patient is a better frame than padding.

    Args:
        geometry: The scan's grid.
        liver: What is known of the liver; the whole scan where None.
        stage: Its spacing and patch.
        margin_mm: Added on every side.
    """
    whole = stage_grid(geometry, stage)
    if liver is None:
        return whole
    box = liver.geometry.cropped(box_of(liver.mask))
    grown = box.grown(_margin_voxels(margin_mm, liver.geometry))
    return whole.cropped(box_holding(whole, grown.corners_lps(), least=stage.patch))


def reach_mm(stage: Stage, margin_mm: float) -> float:
    """How far from the liver a stage looks."""
    return margin_mm if stage.surroundings_mm is None else stage.surroundings_mm


def near(liver: KnownLiver, margin_mm: float) -> Callable[[Geometry], BoolArray]:
    """Which voxels of a grid lie within a margin of the liver."""
    margin = _margin_voxels(margin_mm, liver.geometry)
    padded = np.pad(liver.mask, [(few, few) for few in margin])
    # Padding has moved the liver by the margin, and what is near ends as far beyond it.
    spans = zip(box_of(liver.mask), margin, strict=True)
    box = tuple(slice(span.start, span.stop + 2 * few) for span, few in spans)
    distance_mm = ndimage.distance_transform_edt(~padded[box], sampling=liver.geometry.spacing_mm)
    is_near = np.zeros_like(padded)
    is_near[box] = distance_mm <= margin_mm
    reached = KnownLiver(is_near, liver.geometry.grown(margin))
    return lambda target: np.asarray(share_of(reached, target) >= 0.5)


def share_of(liver: KnownLiver, target: Geometry) -> HuArray:
    """How much of each voxel of a grid the liver fills, 0 to 1."""
    mask = liver.mask.astype(np.float32)
    return resample_to(mask, liver.geometry, target=target, outside_hu=0.0)


def _margin_voxels(margin_mm: float, geometry: Geometry) -> tuple[int, int, int]:
    """A margin in voxels along z, y, x; one more than fit, as grids end at voxel centers."""
    z, y, x = (int(margin_mm / step) + 1 for step in geometry.spacing_mm)
    return z, y, x
