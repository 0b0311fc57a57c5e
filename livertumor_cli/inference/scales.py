"""One stage at several scales, averaged (SFAN, section on multi-scale inference: 0.5, 1.0, 1.5).

A scale of 0.5 halves the size of the image a network sees: in three dimensions the grid's spacing
doubles, in two the slices are resized and stay apart as they are. Every scale samples the scan
itself, so that an upscaled image holds the detail that the scan has.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from livertumor_cli.arrays import BoolArray, FloatArray, HuArray
from livertumor_cli.engine.engine import Engine
from livertumor_cli.geometry import Geometry
from livertumor_cli.inference.memory import require_memory
from livertumor_cli.inference.prediction import Prediction
from livertumor_cli.inference.resample import resample_to
from livertumor_cli.inference.stage_image import (
    Region,
    StageImage,
    made_ahead,
    scaled_grid,
    stage_images,
)
from livertumor_cli.inference.windows import StepProgress, predict_windows
from livertumor_cli.recipes.recipe import Stage


@dataclass(frozen=True, slots=True)
class ShareOfProgress:
    """Spreads the windows of several scales or networks over one progress count."""

    on_step: StepProgress
    index: int
    count: int

    def __call__(self, done: int, total: int) -> None:
        """Report as if every part had the windows of the present one."""
        self.on_step(self.index * total + done, self.count * total)


def predict_scales(
    hu: HuArray,
    geometry: Geometry,
    *,
    stage: Stage,
    engine: Engine,
    scales: tuple[float, ...],
    region: Region,
    on_step: StepProgress,
) -> Prediction:
    """Mean probabilities of a stage over scales.

    Args:
        hu: The scan, shape (z, y, x).
        geometry: Its grid.
        stage: The stage.
        engine: The stage's network.
        scales: Zoom factors.
        region: Where the stage looks, and the grid of the result.
        on_step: Told after each window.

    Raises:
        BackendError: If the machine's memory will not do.
    """
    images = made_ahead(stage_images(hu, geometry, stage=stage, scales=scales, region=region))
    return predict_images(
        images, stage=stage, engine=engine, scales=scales, region=region, on_step=on_step
    )


def predict_images(
    images: Iterator[StageImage],
    *,
    stage: Stage,
    engine: Engine,
    scales: tuple[float, ...],
    region: Region,
    on_step: StepProgress,
) -> Prediction:
    """As `predict_scales`.

    Args:
        images: From `stage_images`: as many as there are scales are taken from them.
        stage: The stage.
        engine: The stage's network.
        scales: Zoom factors.
        region: Where the stage looks, and the grid of the result.
        on_step: Told after each window.

    Raises:
        BackendError: If the machine's memory will not do.
    """
    classes = 1 + len(stage.structures)
    target = region.target or region.grid
    grids = [scaled_grid(region.grid, scale=scale, dimensions=stage.dimensions) for scale in scales]
    require_memory(grids, target=target, classes=classes)
    mean = np.zeros((classes, *target.shape), dtype=np.float32)
    tumors = []
    # An image more than there are grids must not be taken: it would be another stage's.
    for index, (grid, image) in enumerate(zip(grids, images, strict=False)):
        probabilities = predict_windows(
            image.values,
            engine=engine,
            stage=stage,
            needed=image.needed,
            on_step=ShareOfProgress(on_step, index, len(scales)),
        )
        # What follows needs memory itself: a network's buffers and maps of the finest grid are the
        # most that a run holds.
        engine.free_buffers()
        if grid is not target:
            probabilities = bring_to(probabilities, grid, target=target)
        if len(scales) > 1 and "tumor" in stage.structures:
            tumors.append(np.packbits(tumor_wins(probabilities, stage)))
        probabilities /= np.float32(len(scales))
        mean += probabilities
    return Prediction(mean, stage.structures, target, tuple(tumors))


def tumor_wins(probabilities: FloatArray, stage: Stage) -> BoolArray:
    """Where the tumor reaches its threshold, or without one is the likeliest class.

    Args:
        probabilities: Shape (1 + structures, z, y, x).
        stage: It knows the tumor.
    """
    channel = 1 + stage.structures.index("tumor")
    threshold = stage.thresholds.get("tumor")
    if threshold is not None:
        return np.asarray(probabilities[channel] >= threshold)
    wins = np.zeros_like(probabilities[channel], dtype=np.bool_)
    # By slice: the class numbers of all voxels would take twice the memory of a map.
    for z in range(len(wins)):
        wins[z] = probabilities[:, z].argmax(axis=0) == channel
    return wins


def bring_to(probabilities: FloatArray, grid: Geometry, *, target: Geometry) -> FloatArray:
    """Interpolate probability maps onto another grid; background outside."""
    maps = [
        resample_to(part, grid, target=target, outside_hu=1.0 if channel == 0 else 0.0)
        for channel, part in enumerate(probabilities)
    ]
    return np.stack(maps)
