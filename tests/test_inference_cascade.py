"""The second stage's grid and what of it is looked at; the whole cascade is in test_pipeline."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fake_engines import FunctionEngine, constant_logits
from toy_recipe import (
    Ball,
    Patient,
    centered_grid,
    rotation_matrix,
    silent,
    toy_stage,
    write_toy_recipe,
)

from livertumor_cli.engine.engine import Engine
from livertumor_cli.errors import NoLiverError
from livertumor_cli.geometry import Geometry
from livertumor_cli.inference.cascade import run_cascade
from livertumor_cli.inference.liver_box import KnownLiver, grid_about, near
from livertumor_cli.inference.resample import patient_grid
from livertumor_cli.inference.segmentation import Segmentation, on_scan, vessel_flags
from livertumor_cli.recipes.recipe import Recipe, StageRole
from livertumor_cli.stopwatch import StopWatch
from livertumor_cli.volume import Volume

GRID = centered_grid((40, 64, 64), spacing_mm=(3.0, 2.0, 2.0))


def coarse_liver(scan: Geometry) -> KnownLiver:
    grid = patient_grid(scan, (4.0, 4.0, 4.0))
    return KnownLiver(Patient().truth(grid) > 0, grid)


def lesion_grid(
    scan: Geometry, coarse: KnownLiver | None, *, margin_mm: float = 6.0, **stage: object
) -> Geometry:
    return grid_about(scan, coarse, stage=toy_stage(**stage), margin_mm=margin_mm)


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    return write_toy_recipe(tmp_path / "toy")


def by_hu(threshold: float) -> Callable[[np.ndarray], np.ndarray]:
    """Logits of two classes from the window 0..1, whose half is at `threshold`."""

    def logits(batch: np.ndarray) -> np.ndarray:
        return np.concatenate([np.zeros_like(batch), 50 * (batch - threshold)], axis=1)

    return logits


def run(
    volume: Volume, recipe: Recipe, *, lesion: Engine, liver: Engine | None = None
) -> Segmentation:
    share = (60.5 + 160) / 400
    engines = {
        StageRole.LIVER: liver or FunctionEngine(by_hu(share)),
        StageRole.LESION: lesion,
    }
    seen = run_cascade(
        volume,
        recipe=recipe,
        engines=engines,
        scales=None,
        on_progress=silent,
        watch=StopWatch(),
    )
    return on_scan(seen, volume.geometry)


@pytest.mark.parametrize("degrees", [(0, 0, 0), (12, 20, -30)])
@pytest.mark.parametrize("spacing_mm", [None, (2.0, 1.5, 1.5)])
def test_the_grid_holds_the_liver_with_its_margin(
    degrees: tuple[float, ...], spacing_mm: tuple[float, ...] | None
) -> None:
    scan = centered_grid((60, 80, 80), spacing_mm=(2.5, 2, 2), rotation=rotation_matrix(degrees))
    coarse = coarse_liver(scan)
    grid = lesion_grid(scan, coarse, spacing_mm=spacing_mm, patch=(4, 4, 4))
    liver_mm = coarse.geometry.index_to_lps(np.argwhere(coarse.mask).astype(float))
    for axis in range(3):
        for sign in (-1, 1):
            shift = np.zeros(3)
            shift[axis] = sign * 6.0
            index = grid.lps_to_index(liver_mm + shift)
            assert (index > -0.5).all()
            assert (index < np.array(grid.shape) - 0.5).all()
    assert np.prod(grid.shape) < 0.6 * np.prod(lesion_grid(scan, None, spacing_mm=spacing_mm).shape)


def test_a_native_grid_lies_on_the_scans_voxels() -> None:
    scan = centered_grid((40, 64, 64), spacing_mm=(3, 2, 2), rotation=rotation_matrix((5, 5, 5)))
    grid = lesion_grid(scan, coarse_liver(scan))
    start = scan.lps_to_index(grid.origin_mm)
    assert np.allclose(start, np.rint(start), atol=1e-6)
    assert np.allclose(grid.affine_lps[:3, :3], scan.affine_lps[:3, :3])


def test_the_grid_stays_inside_the_scan() -> None:
    """A liver that a scan's end cuts off, with a margin that reaches far beyond it."""
    scan = centered_grid((10, 20, 20), spacing_mm=(3.0, 3.0, 3.0))
    for spacing_mm in (None, (2.0, 1.5, 1.5)):
        whole = lesion_grid(scan, None, spacing_mm=spacing_mm)
        grid = lesion_grid(scan, coarse_liver(scan), spacing_mm=spacing_mm, margin_mm=80.0)
        assert grid.is_same_grid(whole)


def test_a_small_liver_is_framed_by_the_patient_up_to_the_patch() -> None:
    grid = lesion_grid(GRID, coarse_liver(GRID), margin_mm=0.0, patch=(40, 50, 100))
    assert grid.shape == (40, 50, 64)
    tiny = lesion_grid(GRID, coarse_liver(GRID), margin_mm=0.0, patch=(1, 1, 1))
    assert all(12 < size < 40 for size in tiny.shape)


def test_no_margin_still_holds_the_liver() -> None:
    coarse = coarse_liver(GRID)
    grid = lesion_grid(GRID, coarse, margin_mm=0.0, patch=(1, 1, 1))
    truth = Patient().truth(GRID) > 0
    inside = Patient().truth(grid) > 0
    assert inside.sum() == truth.sum()


@pytest.mark.parametrize("margin_mm", [0.0, 5.0, 15.0])
def test_only_the_livers_surroundings_are_needed(margin_mm: float) -> None:
    coarse = coarse_liver(GRID)
    is_near = near(coarse, margin_mm)(GRID)
    liver = Patient().liver
    assert liver is not None
    depth = liver.depth_mm(GRID.index_to_lps(np.stack(np.indices(GRID.shape), -1).astype(float)))
    assert is_near[depth > 4 - margin_mm].all()
    assert not is_near[depth < -margin_mm - 8].any()


def test_a_liver_of_full_size_without_a_vessel_is_flagged() -> None:
    labels = np.ones((10, 10, 10), np.uint8)
    full, small = (
        Geometry.from_spacing(labels.shape, spacing_mm=(size,) * 3) for size in (10.0, 7.0)
    )
    (flag,) = vessel_flags(labels, stage=toy_stage(), geometry=full)
    assert flag == "No vessel was found in a liver of 1000 ml: it may be no liver."
    assert vessel_flags(labels, stage=toy_stage(), geometry=small) == ()
    blind = toy_stage(classes=("background", "liver", "tumor"))
    assert vessel_flags(labels, stage=blind, geometry=full) == ()
    labels[5, 5, 5] = 3
    assert vessel_flags(labels, stage=toy_stage(), geometry=full) == ()


def test_windows_away_from_the_liver_are_not_run(recipe: Recipe) -> None:
    everywhere, nearby = constant_logits(0, 5, 0, 0), constant_logits(0, 5, 0, 0)
    volume = Patient().scan(GRID)
    run(volume, recipe, lesion=nearby)
    all_liver = constant_logits(0.0, 9.0)
    run(volume, recipe, lesion=everywhere, liver=all_liver)
    assert 0 < nearby.runs < everywhere.runs


def test_less_than_20_ml_is_no_liver(recipe: Recipe) -> None:
    small = Patient(liver=Ball((0.0, 0.0, 0.0), 15.0), tumor=None, vessel=None)
    with pytest.raises(NoLiverError):
        run(small.scan(GRID), recipe, lesion=constant_logits(0, 5, 0, 0))
    large = Patient(liver=Ball((0.0, 0.0, 0.0), 19.0), tumor=None, vessel=None)
    assert run(large.scan(GRID), recipe, lesion=constant_logits(0, 5, 0, 0)).labels.any()


def test_a_second_stage_that_sees_no_liver_refuses(recipe: Recipe) -> None:
    lesion = constant_logits(5, 0, 0, 0)
    with pytest.raises(NoLiverError):
        run(Patient().scan(GRID), recipe, lesion=lesion)
    assert lesion.runs > 0


def test_a_scan_of_air_has_no_liver(recipe: Recipe) -> None:
    volume = Volume(np.full(GRID.shape, -1000, dtype=np.int16), GRID)
    with pytest.raises(NoLiverError):
        run(volume, recipe, lesion=constant_logits(0, 5, 0, 0))


def test_the_scan_is_left_as_it_was(recipe: Recipe) -> None:
    volume = Patient().scan(GRID)
    before = volume.hu.copy()
    run(volume, recipe, lesion=constant_logits(0, 5, 0, 0))
    assert np.array_equal(volume.hu, before)


def test_a_lesion_stage_alone_works_on_the_whole_scan(tmp_path: Path) -> None:
    recipe = write_toy_recipe(tmp_path / "toy")
    recipe = replace(recipe, stages=recipe.stages[1:])
    share = (60.5 + 160) / 400

    def logits(batch: np.ndarray) -> np.ndarray:
        two = by_hu(share)(batch)
        return np.concatenate([two, np.full_like(two, -50)], axis=1)

    segmentation = run(Patient().scan(GRID, edge_mm=0), recipe, lesion=FunctionEngine(logits))
    assert np.array_equal(segmentation.labels > 0, Patient().truth(GRID) > 0)
