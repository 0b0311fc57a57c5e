"""The stages: find the liver on a coarse grid, look closely in its box, tell its segments."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from livertumor_cli.anatomy import Label
from livertumor_cli.arrays import BoolArray, FloatArray, HuArray, LabelArray
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
from livertumor_cli.inference.native import labels_on_scan, tumor_probabilities
from livertumor_cli.inference.opinions import averaged
from livertumor_cli.inference.prediction import Prediction
from livertumor_cli.inference.resample import to_patient_axes
from livertumor_cli.inference.scales import Region, ShareOfProgress, predict_scales
from livertumor_cli.inference.segments import find_segments
from livertumor_cli.recipes.recipe import Recipe, Stage, StageRole
from livertumor_cli.stopwatch import StopWatch
from livertumor_cli.volume import Volume

SMALLEST_LIVER_ML = 20.0
"""Less than this is no liver: the smallest part of a liver that a scan's end cuts off and that
still can be told from spleen and stomach is larger."""

FULL_LIVER_ML = 500.0
"""A liver of an adult has more, and vessels that every network of these recipes sees."""

CascadeProgress = Callable[[str, int, int], None]
"""Told (stage, windows done, windows in all)."""


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


def run_cascade(
    volume: Volume,
    *,
    recipe: Recipe,
    engines: Mapping[StageRole, Engine],
    scales: tuple[float, ...] | None,
    on_progress: CascadeProgress,
    watch: StopWatch,
) -> Segmentation:
    """Segment one scan.

    Args:
        volume: The scan in HU.
        recipe: The cascade.
        engines: An opened network for every stage of the recipe.
        scales: Zoom factors of the stages that look for lesions; the recipe's own where None.
        on_progress: Told after each window.
        watch: Books the steps find_liver, segment_lesions, back_to_scan and find_segments.

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
    watch.lap("segment_lesions")
    tidied = _tidy_or_refuse(prediction, lesion)
    labels = labels_on_scan(tidied, stage=lesion, scan=volume.geometry)
    probabilities = tumor_probabilities(tidied.prediction, labels, scan=volume.geometry)
    watch.lap("back_to_scan")
    segments = None
    if recipe.has_stage(StageRole.SEGMENTS):
        liver = KnownLiver(tidied.liver, tidied.prediction.geometry)
        network = recipe.stage(StageRole.SEGMENTS), engines[StageRole.SEGMENTS]
        step = partial(on_progress, "segments")
        segments = find_segments(volume, labels, liver=liver, network=network, on_step=step)
        watch.lap("find_segments")
    flags = (*tidied.flags, *vessel_flags(labels, stage=lesion, geometry=volume.geometry))
    tumors, tells_vessels = _scale_tumors(tidied), "vessel" in lesion.classes
    return Segmentation(labels, flags, probabilities, tumors, segments, tells_vessels)


def _scale_tumors(tidied: Tidied) -> ScaleTumors | None:
    packed = tidied.prediction.tumor_at_scales
    return ScaleTumors(packed, tidied.liver, tidied.prediction.geometry) if packed else None


def vessel_flags(labels: LabelArray, *, stage: Stage, geometry: Geometry) -> tuple[str, ...]:
    """Whether a network that draws vessels saw none in a liver of full size: no patient has one.

    Args:
        labels: Values of `anatomy.Label`, shape (z, y, x).
        stage: The one that drew them.
        geometry: Grid of the labels.
    """
    liver_ml = np.count_nonzero(labels) * geometry.voxel_ml
    is_doubtful = liver_ml >= FULL_LIVER_ML and not (labels == Label.VESSEL).any()
    if "vessel" not in stage.classes or not is_doubtful:
        return ()
    return (f"No vessel was found in a liver of {liver_ml:.0f} ml: it may be no liver.",)


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
    grids = [grid_about(geometry, coarse, stage=stage, margin_mm=margin_mm) for stage in stages]
    target = min(grids, key=lambda grid: grid.voxel_ml)
    predictions = tuple(
        predict_scales(
            hu,
            geometry,
            stage=stage,
            engine=engines[stage.name],
            scales=scales or stage.scales,
            region=Region(
                grid,
                needed=near(coarse, reach_mm(stage, margin_mm)) if coarse else None,
                target=target,
            ),
            on_step=ShareOfProgress(on_step, index, len(stages)),
        )
        for index, (stage, grid) in enumerate(zip(stages, grids, strict=True))
    )
    prediction = predictions[0] if len(predictions) == 1 else averaged(*predictions, stages=stages)
    if coarse and "liver" not in stages[0].structures:
        prediction = _with_liver(prediction, coarse)
    return prediction


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
