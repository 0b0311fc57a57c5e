"""Several scales: grids, means, and what a scale of 1 is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fake_engines import constant_logits, logits_of_image
from toy_recipe import Patient, centered_grid, rotation_matrix, toy_stage

from livertumor_cli.geometry import Geometry
from livertumor_cli.inference.intensity import prepare_intensity
from livertumor_cli.inference.prediction import Prediction
from livertumor_cli.inference.scales import bring_to, predict_scales
from livertumor_cli.inference.stage_image import Region, scaled_grid
from livertumor_cli.inference.windows import predict_windows
from livertumor_cli.recipes.recipe import Stage

GRID = centered_grid((20, 30, 36), spacing_mm=(4.0, 3.0, 2.5))
SCAN = Patient().scan(GRID)
STAGE = toy_stage(classes=("background", "liver"), patch=(8, 16, 16))


def predict(
    scales: tuple[float, ...], *, stage: Stage = STAGE, target: Geometry = GRID, steps=None, **more
) -> Prediction:
    return predict_scales(
        SCAN.hu,
        SCAN.geometry,
        stage=stage,
        engine=more.get("engine") or logits_of_image(),
        scales=scales,
        region=Region(target, needed=more.get("needed")),
        on_step=lambda done, total: None if steps is None else steps.append((done, total)),
    )


def test_scale_1_is_a_plain_run() -> None:
    image = prepare_intensity(SCAN.hu.astype(np.float32), STAGE)
    plain = predict_windows(
        image,
        engine=logits_of_image(),
        stage=STAGE,
        needed=SCAN.hu > -500,
        on_step=lambda _done, _total: None,
    )
    found = predict((1.0,))
    assert np.array_equal(found.probabilities, plain)
    assert found.geometry is GRID
    assert found.structures == ("liver",)


def test_several_scales_are_averaged() -> None:
    whole = predict((0.5, 1.0, 1.5)).probabilities
    single = [predict((scale,)).probabilities for scale in (0.5, 1.0, 1.5)]
    assert np.allclose(whole, np.mean(single, axis=0), atol=1e-5)
    assert not np.allclose(single[0], single[1], atol=0.05)
    # Away from its soft edges the patient looks the same at every scale.
    assert np.median(np.abs(single[0] - single[1])) < 0.01


@pytest.mark.parametrize("scale", [0.5, 1.5, 0.7])
@pytest.mark.parametrize("degrees", [(0, 0, 0), (15, -8, 22)])
def test_grids_of_a_scale_cover_the_same_part(scale: float, degrees: tuple[float, ...]) -> None:
    target = centered_grid((9, 31, 17), spacing_mm=(5, 0.8, 0.9), rotation=rotation_matrix(degrees))
    for dimensions in (2, 3):
        grid = scaled_grid(target, scale=scale, dimensions=dimensions)
        z, y, x = (1.0 if dimensions == 2 else scale), scale, scale
        assert grid.spacing_mm == pytest.approx((5 / z, 0.8 / y, 0.9 / x))
        assert np.allclose(grid.direction, target.direction)
        middles = [one.index_to_lps((np.array(one.shape) - 1.0) / 2) for one in (grid, target)]
        assert np.allclose(*middles)
        extents = (
            np.array(grid.shape) * grid.spacing_mm - np.array(target.shape) * target.spacing_mm
        )
        assert (extents > -1e-2).all()
        assert (extents < grid.spacing_mm).all()


def test_slices_of_a_2d_stage_stay_what_they_are() -> None:
    """Each slice has its own value: a mean over neighbors would show."""
    hu = np.repeat(np.array([20, 220] * 5, dtype=np.int16), 24 * 24).reshape(10, 24, 24)
    grid = centered_grid(hu.shape, spacing_mm=(5, 1, 1))
    stage = toy_stage(
        dimensions=2, patch=(1, 16, 16), overlap=(0, 0.5, 0.5), classes=("background", "liver")
    )
    found = predict_scales(
        hu,
        grid,
        stage=stage,
        engine=logits_of_image(),
        scales=(0.5, 1.0, 1.5),
        region=Region(grid),
        on_step=lambda _done, _total: None,
    )
    expected = (hu + 160) / 400
    assert np.allclose(found.probabilities[1], expected, atol=1e-4)


def test_maps_brought_back_sum_to_one_and_are_background_outside() -> None:
    small = centered_grid((6, 6, 6), spacing_mm=(2, 2, 2))
    probabilities = np.stack([np.full(small.shape, share, np.float32) for share in (0.2, 0.8)])
    target = centered_grid((20, 20, 20), spacing_mm=(1, 1, 1))
    found = bring_to(probabilities, small, target=target)
    assert np.allclose(found.sum(axis=0), 1)
    assert found[1, 10, 10, 10] == pytest.approx(0.8)
    assert found[0, 0, 0, 0] == 1


def test_air_is_not_run() -> None:
    engine = constant_logits(0, 5)
    predict_scales(
        np.full(GRID.shape, -1000, dtype=np.int16),
        GRID,
        stage=STAGE,
        engine=engine,
        scales=(1.0,),
        region=Region(GRID),
        on_step=lambda _done, _total: None,
    )
    assert engine.runs == 0


def test_only_what_is_needed_is_run_on_every_scale() -> None:
    def corner(grid: Geometry) -> np.ndarray:
        asked.append(grid)
        needed = np.zeros(grid.shape, dtype=bool)
        middle = tuple(size // 2 for size in grid.shape)
        needed[middle] = True
        return needed

    asked: list[Geometry] = []
    engine = constant_logits(0, 5)
    predict((0.5, 1.0), engine=engine, needed=corner)
    assert [grid.spacing_mm[0] for grid in asked] == [8.0, 4.0]
    assert 2 <= engine.runs <= 2 * 2**3


def test_progress_never_runs_past_its_total() -> None:
    steps: list[tuple[int, int]] = []
    predict((0.5, 1.0, 1.5), steps=steps)
    assert all(0 < done <= total for done, total in steps)
    assert steps[-1][0] == steps[-1][1]


def test_surroundings_are_blank_only_where_the_stage_says_so() -> None:
    left = np.zeros(GRID.shape, dtype=bool)
    left[:, :, : GRID.shape[2] // 2] = True
    blanking = replace(STAGE, surroundings_mm=10.0)
    everything = predict((1.0,)).probabilities
    shown = predict((1.0,), needed=lambda _grid: left).probabilities
    blank = predict((1.0,), stage=blanking, needed=lambda _grid: left).probabilities
    air = predict_windows(
        np.zeros(GRID.shape, dtype=np.float32),
        engine=logits_of_image(),
        stage=STAGE,
        needed=np.ones(GRID.shape, dtype=bool),
        on_step=lambda _done, _total: None,
    )
    border = slice(GRID.shape[2] // 2, GRID.shape[2] // 2 + 4)
    # Windows that reach over the border still show what lies beyond it, or blank it.
    assert np.allclose(shown[:, :, :, border], everything[:, :, :, border], atol=1e-6)
    assert np.allclose(blank[:, :, :, border], air[:, :, :, border], atol=1e-6)
    assert np.allclose(blank[:, left], everything[:, left], atol=1e-6)
