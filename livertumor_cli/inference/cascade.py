"""Two stages: find the liver on a coarse grid of the whole scan, then look closely inside its box."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from scipy import ndimage

from livertumor_cli.arrays import BoolArray, HuArray, LabelArray
from livertumor_cli.engine.engine import Engine
from livertumor_cli.errors import NoLiverError
from livertumor_cli.geometry import Geometry
from livertumor_cli.inference.decide import Tidied, liver_region, tidy
from livertumor_cli.inference.native import labels_on_scan
from livertumor_cli.inference.resample import (
    crop_around,
    patient_grid,
    resample_to,
    to_patient_axes,
)
from livertumor_cli.inference.scales import Prediction, predict_scales
from livertumor_cli.recipes.recipe import Recipe, Stage, StageRole
from livertumor_cli.volume import Volume

SMALLEST_LIVER_ML = 20.0
"""Less than this is no liver: the smallest part of a liver that a scan's end cuts off and that still
can be told from spleen and stomach is larger."""

MARGIN_OF_SCAN_MM = 6.0
"""Scan kept around the liver box, so that interpolation at the box's rim has neighbors."""

CascadeProgress = Callable[[str, int, int], None]
"""Told (stage, windows done, windows in all)."""


@dataclass(frozen=True, slots=True)
class Segmentation:
    """The cascade's result on the scan's own grid.

    Attributes:
        labels: `anatomy.Label` values, shape of the scan.
        timings_s: Seconds by step.
        flags: Sentences the reader of the result must see.
    """

    labels: LabelArray
    timings_s: dict[str, float]
    flags: tuple[str, ...]


@dataclass(slots=True)
class StopWatch:
    """Seconds by step."""

    timings_s: dict[str, float] = field(default_factory=dict)
    _since: float = field(default_factory=time.perf_counter)

    def lap(self, step: str) -> None:
        """Book the time since the last lap under a step's name."""
        now = time.perf_counter()
        self.timings_s[step] = self.timings_s.get(step, 0.0) + now - self._since
        self._since = now


def run_cascade(
    volume: Volume,
    *,
    recipe: Recipe,
    engines: Mapping[StageRole, Engine],
    scales: tuple[float, ...] | None,
    on_progress: CascadeProgress,
) -> Segmentation:
    """Segment one scan.

    Args:
        volume: The scan in HU.
        recipe: The cascade.
        engines: An opened network for every stage of the recipe.
        scales: Zoom factors of the second stage; the recipe's own where None.
        on_progress: Told after each window.

    Raises:
        NoLiverError: If the first stage finds less than SMALLEST_LIVER_ML.
    """
    watch = StopWatch()
    hu, geometry = to_patient_axes(volume.hu, volume.geometry)
    lesion = recipe.stage(StageRole.LESION)
    coarse = None
    if recipe.has_stage(StageRole.LIVER):
        liver = recipe.stage(StageRole.LIVER)
        coarse = _find_liver(
            hu, geometry, stage=liver, engine=engines[StageRole.LIVER], on_progress=on_progress
        )
        watch.lap("find_liver")
        hu, geometry, target = _liver_box(
            hu, geometry, coarse=coarse, stage=lesion, margin_mm=recipe.liver_box_margin_mm
        )
    else:
        target = _stage_grid(geometry, lesion)
    prediction = predict_scales(
        hu,
        geometry,
        stage=lesion,
        engine=engines[StageRole.LESION],
        scales=scales or lesion.scales,
        target=target,
        needed=_near(coarse, recipe.liver_box_margin_mm) if coarse else None,
        on_step=lambda done, total: on_progress("lesions", done, total),
    )
    watch.lap("segment_lesions")
    tidied = _tidy_or_refuse(prediction, lesion)
    labels = labels_on_scan(tidied, stage=lesion, scan=volume.geometry)
    watch.lap("back_to_scan")
    return Segmentation(labels, watch.timings_s, tidied.flags)


@dataclass(frozen=True, slots=True)
class CoarseLiver:
    """The liver as the first stage sees it: one component on a coarse grid."""

    mask: BoolArray
    geometry: Geometry


def _find_liver(
    hu: HuArray,
    geometry: Geometry,
    *,
    stage: Stage,
    engine: Engine,
    on_progress: CascadeProgress,
) -> CoarseLiver:
    """The largest liver component of the whole scan."""
    prediction = predict_scales(
        hu,
        geometry,
        stage=stage,
        engine=engine,
        scales=stage.scales,
        target=_stage_grid(geometry, stage),
        needed=None,
        on_step=lambda done, total: on_progress("liver", done, total),
    )
    mask = liver_region(prediction, stage)
    if mask.sum() * prediction.geometry.voxel_ml < SMALLEST_LIVER_ML:
        raise _no_liver()
    return CoarseLiver(mask, prediction.geometry)


def _no_liver() -> NoLiverError:
    return NoLiverError(
        "no liver was found in the scan.",
        hint="Give an abdominal CT that shows the liver, with soft-tissue contrast.",
    )


def _stage_grid(geometry: Geometry, stage: Stage) -> Geometry:
    """The grid of a stage over the whole scan."""
    return patient_grid(geometry, stage.spacing_mm or geometry.spacing_mm)


def _liver_box(
    hu: HuArray,
    geometry: Geometry,
    *,
    coarse: CoarseLiver,
    stage: Stage,
    margin_mm: float,
) -> tuple[HuArray, Geometry, Geometry]:
    """The part of the scan around the liver, its grid, and the second stage's grid over it."""
    box = ndimage.find_objects(coarse.mask.astype(np.uint8))[0]
    around = coarse.geometry.cropped(box)
    steps = np.array([stage.spacing_mm or geometry.spacing_mm][0])
    grown = _grown(patient_grid(around, (steps[0], steps[1], steps[2])), margin_mm)
    target = _within_scan(grown, geometry)
    part, part_geometry = crop_around(hu, geometry, target, margin_mm=MARGIN_OF_SCAN_MM)
    return part, part_geometry, target


def _grown(grid: Geometry, margin_mm: float) -> Geometry:
    """A grid along the patient's axes with a margin on every side, in whole voxels."""
    steps = np.array(grid.spacing_mm)
    extra = np.ceil(margin_mm / steps - 1e-6).astype(int)
    sizes = np.array(grid.shape) + 2 * extra
    origin = grid.origin_mm - (extra * steps)[::-1]
    return Geometry.from_spacing(
        (int(sizes[0]), int(sizes[1]), int(sizes[2])),
        spacing_mm=grid.spacing_mm,
        origin_mm=(float(origin[0]), float(origin[1]), float(origin[2])),
    )


def _within_scan(grid: Geometry, scan: Geometry) -> Geometry:
    """The part of a grid along the patient's axes that the scan's bounding box can fill."""
    corners = scan.corners_lps()
    half = 0.5 * np.abs(scan.affine_lps[:3, :3]).sum(axis=1)
    low = grid.lps_to_index(corners.min(axis=0) - half)
    high = grid.lps_to_index(corners.max(axis=0) + half)
    first = np.clip(np.ceil(low - 0.5 - 1e-3).astype(int), 0, np.array(grid.shape) - 1)
    last = np.clip(np.floor(high + 0.5 + 1e-3).astype(int), first + 1, grid.shape)
    return grid.cropped(tuple(slice(int(a), int(b)) for a, b in zip(first, last, strict=True)))  # type: ignore[arg-type]


def _near(coarse: CoarseLiver, margin_mm: float) -> Callable[[Geometry], BoolArray]:
    """Which voxels of a grid lie within the margin of the coarse liver."""
    steps = np.array(coarse.geometry.spacing_mm)
    pad = tuple(int(np.ceil(margin_mm / step)) for step in steps)
    padded = np.pad(coarse.mask, [(n, n) for n in pad])
    distance_mm = ndimage.distance_transform_edt(~padded, sampling=steps)
    near = (distance_mm <= margin_mm).astype(np.uint8)
    origin = coarse.geometry.index_to_lps(-np.array(pad, dtype=float))
    affine = coarse.geometry.affine_lps.copy()
    affine[:3, 3] = origin
    grid = Geometry((near.shape[0], near.shape[1], near.shape[2]), affine)

    def on(target: Geometry) -> BoolArray:
        share = resample_to(near.astype(np.float32), grid, target=target, outside_hu=0.0)
        return np.asarray(share >= 0.5)

    return on


def _tidy_or_refuse(prediction: Prediction, stage: Stage) -> Tidied:
    """One liver without holes, tumors and vessels only inside it."""
    tidied = tidy(prediction, stage)
    if tidied.liver.sum() * prediction.geometry.voxel_ml < SMALLEST_LIVER_ML:
        raise _no_liver()
    return tidied
