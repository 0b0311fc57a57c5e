"""The stages: find the liver on a coarse grid, look closely in its box, tell its segments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from livertumor_cli.arrays import BoolArray, HuArray
from livertumor_cli.engine.engine import Engine
from livertumor_cli.errors import ConfigError, NoLiverError
from livertumor_cli.geometry import Geometry
from livertumor_cli.inference.decide import Tidied, liver_region, tidy
from livertumor_cli.inference.liver_box import (
    KnownLiver,
    grid_about,
    near,
    reach_mm,
    share_of,
    stage_grid,
)
from livertumor_cli.inference.opinions import averaged
from livertumor_cli.inference.prediction import Prediction
from livertumor_cli.inference.resample import to_patient_axes
from livertumor_cli.inference.scales import ShareOfProgress, predict_images, predict_scales
from livertumor_cli.inference.segments import predict_segments
from livertumor_cli.inference.stage_image import Region, made_ahead, stage_images
from livertumor_cli.recipes.recipe import Recipe, Stage, StageRole
from livertumor_cli.stopwatch import StopWatch
from livertumor_cli.volume import Volume

SMALLEST_LIVER_ML = 20.0
"""Less than this is no liver: the smallest part of a liver that a scan's end cuts off and that
still can be told from spleen and stomach is larger."""

CascadeProgress = Callable[[str, int, int], None]
"""Told (stage, windows done, windows in all)."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What the networks see of a scan, on the grids that they look at.

    Attributes:
        lesions: What the stages that look for lesions say.
        stage: The one of them that names the structures.
        segments: Of the stage for Couinaud segments; None where the recipe has none.
    """

    lesions: Tidied
    stage: Stage
    segments: Prediction | None = None


def run_cascade(
    volume: Volume,
    *,
    recipe: Recipe,
    engines: Mapping[StageRole, Engine],
    scales: tuple[float, ...] | None,
    on_progress: CascadeProgress,
    watch: StopWatch,
) -> Seen:
    """Show one scan to the networks; `segmentation.on_scan` brings the result back to its grid.

    Args:
        volume: The scan in HU.
        recipe: The cascade.
        engines: An opened network for every stage of the recipe.
        scales: Zoom factors of the stages that look for lesions; the recipe's own where None.
        on_progress: Told after each window.
        watch: Books the steps find_liver, segment_lesions and find_segments.

    Raises:
        NoLiverError: If a stage finds less liver than SMALLEST_LIVER_ML.
        BackendError: If memory will not do for a stage.
    """
    hu, geometry = to_patient_axes(volume.hu, volume.geometry)
    coarse = None
    if recipe.has_stage(StageRole.LIVER):
        coarse = _find_liver(hu, geometry, recipe=recipe, engines=engines, on_progress=on_progress)
        watch.lap("find_liver")
    lesion = recipe.stage(StageRole.LESION)
    prediction = _look_closely(
        (hu, geometry),
        coarse,
        recipe=recipe,
        engines=engines,
        scales=scales,
        on_step=partial(on_progress, "lesions"),
    )
    tidied = _tidy_or_refuse(prediction, lesion)
    watch.lap("segment_lesions")
    segments = None
    if recipe.has_stage(StageRole.SEGMENTS):
        segments = predict_segments(
            (hu, geometry),
            KnownLiver(tidied.liver, tidied.prediction.geometry),
            stage=recipe.stage(StageRole.SEGMENTS),
            engine=engines[StageRole.SEGMENTS],
            on_step=partial(on_progress, "segments"),
        )
        watch.lap("find_segments")
    return Seen(tidied, lesion, segments)


def _find_liver(
    hu: HuArray,
    geometry: Geometry,
    *,
    recipe: Recipe,
    engines: Mapping[StageRole, Engine],
    on_progress: CascadeProgress,
) -> KnownLiver:
    """The largest liver component of the whole scan."""
    stage = recipe.stage(StageRole.LIVER)
    prediction = predict_scales(
        hu,
        geometry,
        stage=stage,
        engine=engines[StageRole.LIVER],
        scales=stage.scales,
        region=Region(stage_grid(geometry, stage)),
        on_step=partial(on_progress, "liver"),
    )
    mask = liver_region(prediction, stage)
    _require_liver(mask, prediction.geometry)
    return KnownLiver(mask, prediction.geometry)


def _look_closely(
    scan: tuple[HuArray, Geometry],
    coarse: KnownLiver | None,
    *,
    recipe: Recipe,
    engines: Mapping[StageRole, Engine],
    scales: tuple[float, ...] | None,
    on_step: Callable[[int, int], None],
) -> Prediction:
    """What the lesion stage, and with it a second opinion, see in the liver's box.

    Without a first stage they look at the whole scan.

    Raises:
        ConfigError: If a stage looks around a liver that no first stage finds.
    """
    hu, geometry = scan
    margin_mm = recipe.liver_box_margin_mm
    stages = recipe.opinions
    if coarse is None and any(stage.surroundings_mm is not None for stage in stages):
        raise ConfigError(
            f"the recipe '{recipe.name}' lacks the liver stage that its lesion stage looks around.",
            hint="Export the liver stage into the same folder.",
        )
    regions = _regions(geometry, coarse, stages=stages, margin_mm=margin_mm)
    zooms = [scales or stage.scales for stage in stages]
    parts = list(zip(stages, zooms, regions, strict=True))
    images = made_ahead(
        image
        for stage, zoom, region in parts
        for image in stage_images(hu, geometry, stage=stage, scales=zoom, region=region)
    )
    predictions = tuple(
        predict_images(
            images,
            stage=stage,
            engine=engines[stage.name],
            scales=zoom,
            region=region,
            on_step=ShareOfProgress(on_step, index, len(stages)),
        )
        for index, (stage, zoom, region) in enumerate(parts)
    )
    prediction = predictions[0] if len(predictions) == 1 else averaged(*predictions, stages=stages)
    if coarse and "liver" not in stages[0].structures:
        prediction = _with_liver(prediction, coarse)
    return prediction


def _regions(
    geometry: Geometry,
    coarse: KnownLiver | None,
    *,
    stages: tuple[Stage, ...],
    margin_mm: float,
) -> list[Region]:
    """Where each stage looks; the results stand on the finest of their grids."""
    grids = [grid_about(geometry, coarse, stage=stage, margin_mm=margin_mm) for stage in stages]
    target = min(grids, key=lambda grid: grid.voxel_ml)
    reaches = [reach_mm(stage, margin_mm) for stage in stages]
    # Distances take long, and mostly all stages look equally far.
    needed = {reach: near(coarse, reach) for reach in set(reaches)} if coarse else {}
    return [
        Region(grid, needed=needed.get(reach), target=target)
        for grid, reach in zip(grids, reaches, strict=True)
    ]


def _require_liver(mask: BoolArray, geometry: Geometry) -> None:
    if mask.sum() * geometry.voxel_ml < SMALLEST_LIVER_ML:
        raise NoLiverError(
            "no liver was found in the scan.",
            hint="Give an abdominal CT that shows the liver, with soft-tissue contrast.",
        )


def _with_liver(prediction: Prediction, coarse: KnownLiver) -> Prediction:
    """Add the first stage's liver where the second stage knows only what lies in a liver."""
    inside = share_of(coarse, prediction.geometry)
    structures = np.minimum(prediction.probabilities[1:], inside)
    liver = np.maximum(inside - structures.sum(axis=0), 0)
    return Prediction(
        np.stack([1 - inside, liver, *structures]),
        ("liver", *prediction.structures),
        prediction.geometry,
        prediction.tumor_at_scales,
    )


def _tidy_or_refuse(prediction: Prediction, stage: Stage) -> Tidied:
    """One liver without holes, tumors and vessels only inside it."""
    tidied = tidy(prediction, stage)
    _require_liver(tidied.liver, prediction.geometry)
    return tidied
