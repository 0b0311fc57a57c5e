"""Sliding windows: where they lie, how they are blended, and that a network's answer comes back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from fake_engines import FunctionEngine, constant_logits, logits_of_image
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_recipe import toy_stage

from livertumor_cli.errors import BackendError
from livertumor_cli.inference.windows import (
    activate,
    class_probabilities,
    plan_crops,
    plan_windows,
    predict_windows,
    window_weights,
)
from livertumor_cli.recipes.recipe import Activation, Stage, Weighting

sizes = st.integers(1, 40)
edges = st.integers(1, 16)
overlaps = st.floats(0, 0.95)


def predict(image: np.ndarray, engine: FunctionEngine, stage: Stage, needed=None) -> np.ndarray:
    if needed is None:
        needed = np.ones(image.shape, dtype=bool)
    return predict_windows(
        image, engine=engine, stage=stage, needed=needed, on_step=lambda _done, _total: None
    )


def two_classes(**changes) -> Stage:
    return toy_stage(classes=("background", "liver"), **changes)


@given(size=sizes, edge=edges, overlap=overlaps)
def test_windows_cover_evenly_and_overlap_enough(size: int, edge: int, overlap: float) -> None:
    plan = plan_windows((1, 1, size), patch=(1, 1, edge), overlap=(0, 0, overlap))
    starts = [box[2].start for box in plan.boxes]
    assert all(box[2].stop - box[2].start == edge for box in plan.boxes)
    covered = np.zeros(plan.padded[2], dtype=int)
    for start in starts:
        covered[start : start + edge] += 1
    assert covered.min() >= 1
    assert plan.padded[2] == max(size, edge)
    steps = np.diff(starts)
    if len(steps):
        # One voxel apart at least: an overlap above 1 - 1/edge cannot be had.
        assert edge - steps.max() >= min(overlap * edge, edge - 1) - 1e-4
        assert steps.min() >= 1
        assert steps.max() - steps.min() <= 1


@given(size=sizes, edge=edges, overlap=overlaps)
def test_no_window_is_superfluous(size: int, edge: int, overlap: float) -> None:
    count = len(plan_windows((size, 1, 1), patch=(edge, 1, 1), overlap=(overlap, 0, 0)).boxes)
    step = max(1.0, np.floor(edge * (1 - overlap) + 1e-6))
    assert count == max(1, np.ceil((size - edge) / step) + 1)


def test_overlaps_that_binary_fractions_miss_cost_no_extra_window() -> None:
    plan = plan_windows((1, 1, 30), patch=(1, 1, 10), overlap=(0, 0, 0.8))
    assert len(plan.boxes) == 11  # steps of 2, not of 1


def test_windows_are_the_product_of_the_axes() -> None:
    plan = plan_windows((9, 20, 5), patch=(4, 8, 8), overlap=(0.5, 0.25, 0))
    assert len(plan.boxes) == len(set(map(str, plan.boxes))) == 4 * 3 * 1
    assert plan.padded == (9, 20, 8)


@pytest.mark.parametrize("weighting", list(Weighting))
@pytest.mark.parametrize("patch", [(1, 1, 1), (1, 9, 8), (32, 128, 128)])
def test_weights_are_positive_and_symmetric(
    weighting: Weighting, patch: tuple[int, int, int]
) -> None:
    weights = window_weights(patch, weighting)
    assert weights.dtype == np.float32
    assert weights.shape == patch
    assert weights.min() > 0
    assert weights.max() == 1
    assert np.allclose(weights, weights[::-1, ::-1, ::-1])
    if weighting is Weighting.GAUSSIAN and min(patch) > 8:
        assert weights[0, 0, 0] < 0.01


shapes = st.tuples(st.integers(1, 12), st.integers(1, 14), st.integers(1, 14))


@settings(max_examples=30)
@given(shape=shapes, overlap=st.floats(0, 0.8), weighting=st.sampled_from(list(Weighting)))
def test_a_network_that_returns_its_input_returns_the_image(
    shape: tuple[int, int, int], overlap: float, weighting: Weighting
) -> None:
    image = np.random.default_rng(1).random(shape, dtype=np.float32)
    stage = two_classes(patch=(4, 5, 6), overlap=(overlap,) * 3, weighting=weighting)
    probabilities = predict(image, logits_of_image(), stage)
    assert probabilities.shape == (2, *shape)
    assert np.allclose(probabilities[1], image, atol=1e-4)
    assert np.allclose(probabilities.sum(axis=0), 1, atol=1e-5)


@settings(max_examples=20)
@given(shape=shapes, weighting=st.sampled_from(list(Weighting)))
def test_blending_a_constant_gives_the_constant(
    shape: tuple[int, int, int], weighting: Weighting
) -> None:
    stage = toy_stage(patch=(3, 7, 4), overlap=(0.5, 0.3, 0.6), weighting=weighting)
    engine = constant_logits(0.3, 2.0, -1.0, 0.5)
    expected = np.exp([0.3, 2.0, -1.0, 0.5]) / np.exp([0.3, 2.0, -1.0, 0.5]).sum()
    probabilities = predict(np.zeros(shape, dtype=np.float32), engine, stage)
    assert np.allclose(probabilities, expected[:, None, None, None], atol=1e-5)


def test_two_dimensional_networks_see_every_slice_once() -> None:
    image = np.random.default_rng(2).random((5, 20, 18), dtype=np.float32)
    stage = two_classes(dimensions=2, patch=(1, 16, 16), overlap=(0.5, 0.5, 0.5))
    engine = logits_of_image()
    probabilities = predict(image, engine, stage)
    assert engine.shapes == {(1, 1, 16, 16)}
    assert engine.runs == 5 * 2 * 2
    assert np.allclose(probabilities[1], image, atol=1e-4)


def crops_of(needed: np.ndarray, patch: tuple[int, int, int], overlap: float = 0.25) -> list[Any]:
    boxes = plan_crops(needed, patch=patch, overlap=(0.0, overlap, overlap)).boxes
    return [(z.start, y.start, x.start) for z, y, x in boxes]


def test_a_crop_lies_about_what_is_needed_in_its_slice() -> None:
    needed = np.zeros((4, 60, 80), dtype=bool)
    needed[1, 20:30, 30:44] = True
    needed[2, 0:4, 70:80] = True  # at the grid's corner: the crop stays inside
    assert crops_of(needed, (1, 16, 20)) == [(1, 17, 27), (2, 0, 60)]


def test_what_is_larger_than_a_crop_is_covered_by_several() -> None:
    needed = np.zeros((1, 60, 80), dtype=bool)
    needed[0, 5:25, 10:60] = True
    starts = crops_of(needed, (1, 24, 24))
    assert [y for _, y, _ in starts] == [3] * len(starts)
    columns = [x for _, _, x in starts]
    assert (columns[0], columns[-1] + 24) == (10, 60)
    assert max(np.diff(columns)) <= 18


@settings(max_examples=30)
@given(seed=st.integers(0, 99), shape=shapes, overlap=st.floats(0, 0.8))
def test_crops_hold_every_needed_voxel(
    seed: int, shape: tuple[int, int, int], overlap: float
) -> None:
    needed = np.random.default_rng(seed).random(shape) < 0.1
    plan = plan_crops(needed, patch=(1, 5, 6), overlap=(0, overlap, overlap))
    seen = np.zeros(plan.padded, dtype=bool)
    for box in plan.boxes:
        assert seen[box].shape == (1, 5, 6)
        seen[box] = True
    assert not (needed & ~seen[: shape[0], : shape[1], : shape[2]]).any()
    assert set(np.flatnonzero(seen.any(axis=(1, 2)))) == set(
        np.flatnonzero(needed.any(axis=(1, 2)))
    )


def test_predictions_of_crops_are_pasted_back_where_they_were_cut() -> None:
    image = np.random.default_rng(3).random((3, 40, 44), dtype=np.float32)
    needed = np.zeros(image.shape, dtype=bool)
    needed[1, 25:33, 8:18] = True
    stage = two_classes(dimensions=2, patch=(1, 16, 16), overlap=(0, 0.5, 0.5))
    engine = logits_of_image()
    probabilities = predict(image, engine, stage, needed)
    assert engine.runs == 1
    crop = (1, slice(21, 37), slice(5, 21))
    assert np.allclose(probabilities[1][crop], image[crop], atol=1e-4)
    probabilities[1][crop] = 0
    assert not probabilities[1].any()


def test_skipped_windows_count_as_background() -> None:
    stage = two_classes(patch=(4, 4, 4), overlap=(0, 0, 0), weighting=Weighting.UNIFORM)
    needed = np.zeros((4, 4, 12), dtype=bool)
    needed[1, 2, 5] = True
    engine = constant_logits(0.0, 10.0)
    probabilities = predict(np.zeros((4, 4, 12), dtype=np.float32), engine, stage, needed)
    assert engine.runs == 1
    assert (probabilities[1, :, :, 4:8] > 0.99).all()
    for part in (slice(0, 4), slice(8, 12)):
        assert (probabilities[0, :, :, part] == 1).all()
        assert (probabilities[1, :, :, part] == 0).all()


def test_nothing_needed_is_all_background() -> None:
    engine = constant_logits(0.0, 10.0)
    needed = np.zeros((3, 3, 3), dtype=bool)
    probabilities = predict(np.zeros((3, 3, 3), dtype=np.float32), engine, two_classes(), needed)
    assert engine.runs == 0
    assert (probabilities[0] == 1).all()


def test_a_small_image_is_padded_with_its_lowest_value() -> None:
    seen = []

    def remember(batch: np.ndarray) -> np.ndarray:
        seen.append(batch[0, 0])
        return np.zeros((1, 2, *batch.shape[2:]), dtype=np.float32)

    image = np.full((2, 3, 3), 0.75, dtype=np.float32)
    image[0, 0, 0] = 0.25
    predict(image, FunctionEngine(remember), two_classes(patch=(4, 4, 4)))
    assert np.array_equal(seen[0][:2, :3, :3], image)
    assert (seen[0][2:] == 0.25).all()


def test_progress_counts_the_windows() -> None:
    steps: list[tuple[int, int]] = []
    predict_windows(
        np.ones((4, 4, 12), dtype=np.float32),
        engine=constant_logits(0, 1),
        stage=two_classes(patch=(4, 4, 4), overlap=(0, 0, 0)),
        needed=np.ones((4, 4, 12), dtype=bool),
        on_step=lambda done, total: steps.append((done, total)),
    )
    assert steps == [(1, 3), (2, 3), (3, 3)]


def test_activations_do_not_overflow() -> None:
    logits = np.array([[-1e4, 0.0, 1e4], [1e4, 0.0, -1e4]], dtype=np.float32)
    assert np.allclose(activate(logits, Activation.SOFTMAX), [[0, 0.5, 1], [1, 0.5, 0]])
    assert np.allclose(activate(logits, Activation.SIGMOID), [[0, 0.5, 1], [1, 0.5, 0]])


def test_channels_come_in_the_order_of_their_labels() -> None:
    stage = toy_stage(classes=("background", "vessel", "liver"))
    logits = np.array([0.0, 1.0, 2.0], dtype=np.float32).reshape(3, 1, 1, 1)
    background, liver, vessel = class_probabilities(logits, stage).ravel()
    assert background < vessel < liver


def test_a_sigmoid_leaves_the_rest_to_the_background() -> None:
    stage = toy_stage(classes=("liver", "tumor"), activation=Activation.SIGMOID)
    logits = np.log(np.array([0.9, 0.2], dtype=np.float32) / np.float32([0.1, 0.8]))
    found = class_probabilities(logits.reshape(2, 1, 1, 1), stage).ravel()
    assert np.allclose(found, [0.1, 0.9, 0.2], atol=1e-5)


@pytest.mark.parametrize("activation", list(Activation))
@pytest.mark.parametrize("fault", [np.nan, np.inf])
def test_what_is_no_number_is_refused(activation: Activation, fault: float) -> None:
    """One voxel of one class is enough: comparisons would silently call it background."""

    def overflow(batch: np.ndarray) -> np.ndarray:
        logits = np.zeros((1, 2, *batch.shape[2:]), dtype=np.float32)
        logits[0, 1, 0, 0, 0] = fault
        return logits

    stage = two_classes(activation=activation)
    engine = FunctionEngine(overflow)
    image = np.zeros(stage.patch, dtype=np.float32)
    if activation is Activation.SIGMOID and np.isinf(fault):
        assert np.isfinite(predict(image, engine, stage)).all()  # as certain as can be
        return
    with np.errstate(invalid="ignore"), pytest.raises(BackendError, match="no numbers"):
        predict(image, engine, stage)
