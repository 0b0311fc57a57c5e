"""What a stage's network is shown, made while the network before it still runs."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from livertumor_cli.arrays import BoolArray, FloatArray, HuArray
from livertumor_cli.geometry import Geometry
from livertumor_cli.inference.intensity import prepare_intensity
from livertumor_cli.inference.resample import resample_to
from livertumor_cli.recipes.recipe import Stage
from livertumor_cli.volume import AIR_HU

AIR_LIMIT_HU = -500.0
"""A window whose every voxel lies below it shows no tissue and is not run."""

_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class Region:
    """Where a stage looks.

    Attributes:
        grid: The stage's own grid (scale 1).
        needed: Gives for a grid the voxels worth looking at; all tissue where None. A stage with
            `surroundings_mm` sees nothing else.
        target: The grid on which the result stands; the stage's own where None.
    """

    grid: Geometry
    needed: Callable[[Geometry], BoolArray] | None = None
    target: Geometry | None = None


@dataclass(frozen=True, slots=True)
class StageImage:
    """The input of a stage at one scale.

    Attributes:
        values: Normalized, shape (z, y, x).
        needed: Voxels worth looking at, of the same shape.
    """

    values: FloatArray
    needed: BoolArray


def stage_images(
    hu: HuArray, geometry: Geometry, *, stage: Stage, scales: tuple[float, ...], region: Region
) -> Iterator[StageImage]:
    """The input at each scale, made when it is asked for.

    Args:
        hu: The scan, shape (z, y, x).
        geometry: Its grid.
        stage: The stage.
        scales: Zoom factors.
        region: Where the stage looks.
    """
    for scale in scales:
        grid = scaled_grid(region.grid, scale=scale, dimensions=stage.dimensions)
        image = resample_to(hu, geometry, target=grid, outside_hu=AIR_HU)
        look = image > AIR_LIMIT_HU
        if region.needed is not None:
            near = region.needed(grid)
            look &= near
            if stage.surroundings_mm is not None:
                image[~near] = AIR_HU
        yield StageImage(prepare_intensity(image, stage), look)


def made_ahead(items: Iterable[_Item]) -> Generator[_Item, None, None]:
    """The same items, each made on a thread while the caller works with the one before it."""
    source = iter(items)
    with ThreadPoolExecutor(1, "prepare") as maker:
        coming = maker.submit(next, source, None)
        while (item := coming.result()) is not None:
            coming = maker.submit(next, source, None)
            yield item


def scaled_grid(target: Geometry, *, scale: float, dimensions: int) -> Geometry:
    """The grid of a stage at a scale, over the same part of the patient."""
    if scale == 1.0:
        return target
    depth, height, width = target.spacing_mm
    return target.respaced(
        (depth if dimensions == 2 else depth / scale, height / scale, width / scale)
    )
