"""Couinaud segments: the network sees the liver alone, and every liver voxel gets a segment."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from axis_orders import ORDERS, stored
from fake_engines import FunctionEngine
from toy_recipe import (
    WINDOW_HU,
    Patient,
    centered_grid,
    dice,
    grid_points,
    rotation_matrix,
    segment_stage,
)

from livertumor_cli.anatomy import SEGMENT_CLASSES
from livertumor_cli.geometry import Geometry
from livertumor_cli.inference.interpolation import interpolate
from livertumor_cli.inference.liver_box import KnownLiver
from livertumor_cli.inference.prediction import Prediction
from livertumor_cli.inference.resample import patient_grid, to_patient_axes
from livertumor_cli.inference.segments import predict_segments, segments_on_scan

GRID = centered_grid((40, 64, 64), spacing_mm=(3.0, 2.0, 2.0))
FIRST_HU, STEP_HU = 10.0, 25.0


def layer(points: np.ndarray) -> np.ndarray:
    """4 to 8: layers of 14 mm across the liver, slanted so that no axis can be mistaken.

    Neighbors differ by one: the mean HU of two layers is never that of a third.
    """
    liver = Patient().liver
    assert liver is not None
    across = (points - np.array(liver.center_mm)) @ np.array([0.8, 0.36, -0.48])
    return 4 + np.clip(np.floor((across + 35.0) / 14.0), 0, 4)


def a_scan(geometry: Geometry) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """HU that tell the layer, labels of a liver of one piece, and its true segments."""
    points = grid_points(geometry)
    labels = (Patient(tumor=None, vessel=None).truth(geometry) > 0).astype(np.uint8)
    segments = layer(points).astype(np.uint8)
    hu = (FIRST_HU + STEP_HU * segments).astype(np.int16)
    segments[labels == 0] = 0
    return hu, labels, segments


def reading_engine(seen: list[np.ndarray]) -> FunctionEngine:
    """Tells each voxel's layer from its HU; all else is background."""
    low, high = WINDOW_HU

    def logits(batch: np.ndarray) -> np.ndarray:
        seen.append(batch)
        hu = low + batch * (high - low)
        values = (FIRST_HU + STEP_HU * np.arange(9))[None, :, None, None, None]
        return (-np.abs(hu - values) / 5.0).astype(np.float32)

    return FunctionEngine(logits)


def known_liver(scan: Geometry) -> KnownLiver:
    grid = patient_grid(scan, (2.5, 2.5, 2.5))
    return KnownLiver(Patient().truth(grid) > 0, grid)


def segments_of(
    geometry: Geometry, seen: list[np.ndarray] | None = None, **stage: object
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    hu, labels, truth = a_scan(geometry)
    prediction = predict_segments(
        to_patient_axes(hu, geometry),
        known_liver(geometry),
        stage=segment_stage(**stage),
        engine=reading_engine([] if seen is None else seen),
        on_step=lambda done, total: None,
    )
    return segments_on_scan(prediction, labels, scan=geometry), labels, truth


def least_dice(found: np.ndarray, truth: np.ndarray) -> float:
    assert set(np.unique(truth)) == {0, 4, 5, 6, 7, 8}
    return min(dice(found == value, truth == value) for value in range(4, 9))


@pytest.mark.parametrize("spacing_mm", [None, (4.0, 4.0, 4.0), (5.0, 3.0, 3.0)])
def test_segments_lie_where_they_are(spacing_mm: tuple[float, ...] | None) -> None:
    found, labels, truth = segments_of(GRID, spacing_mm=spacing_mm)
    assert np.array_equal(found > 0, labels > 0)
    assert least_dice(found, truth) > 0.92


@pytest.mark.parametrize(("order", "flips"), ORDERS[3::11])
def test_the_order_of_the_axes_changes_nothing(
    order: tuple[int, ...], flips: tuple[bool, ...]
) -> None:
    _, turned = stored(np.zeros(GRID.shape, dtype=np.uint8), GRID, order, flips)
    found, labels, truth = segments_of(turned)
    assert np.array_equal(found > 0, labels > 0)
    assert least_dice(found, truth) > 0.92


def test_an_oblique_scan_has_its_segments() -> None:
    oblique = centered_grid(
        (60, 70, 70), spacing_mm=(2.5, 2, 2), rotation=rotation_matrix((10, 15, -20))
    )
    found, labels, truth = segments_of(oblique)
    assert np.array_equal(found > 0, labels > 0)
    assert least_dice(found, truth) > 0.92


def test_the_network_sees_the_liver_alone() -> None:
    seen: list[np.ndarray] = []
    segments_of(GRID, seen)
    (batch,) = seen
    liver_ml = (Patient().truth(GRID) > 0).sum() * GRID.voxel_ml
    assert (batch > 0).sum() * 0.064 == pytest.approx(liver_ml, rel=0.05)


def test_liver_beyond_what_the_network_saw_belongs_to_the_nearest_segment() -> None:
    """A tongue that a coarse grid does not show."""
    hu, labels, _ = a_scan(GRID)
    tongue = labels.copy()
    middle = np.argwhere(labels).mean(axis=0).round().astype(int)
    right = int(np.argwhere(labels[middle[0], middle[1]]).max())
    tongue[middle[0], middle[1], right : right + 3] = 1
    prediction = predict_segments(
        (hu, GRID),
        known_liver(GRID),
        stage=segment_stage(),
        engine=reading_engine([]),
        on_step=lambda done, total: None,
    )
    found = segments_on_scan(prediction, tongue, scan=GRID)
    assert np.array_equal(found > 0, tongue > 0)
    assert (found[middle[0], middle[1], right : right + 3] == 8).all()


def test_no_liver_has_no_segments() -> None:
    hu, labels, _ = a_scan(GRID)
    prediction = predict_segments(
        (hu, GRID),
        known_liver(GRID),
        stage=segment_stage(),
        engine=reading_engine([]),
        on_step=lambda done, total: None,
    )
    assert not segments_on_scan(prediction, np.zeros_like(labels), scan=GRID).any()


@pytest.mark.parametrize("degrees", [(0.0, 0.0, 0.0), (20.0, -10.0, 5.0)], ids=["plain", "oblique"])
def test_segments_out_of_reach_are_left_out_without_a_difference(
    degrees: tuple[float, float, float],
) -> None:
    """What is skipped never wins: the same as interpolating every map everywhere."""
    rng = np.random.default_rng(11)
    coarse = centered_grid((7, 8, 9), spacing_mm=(5.0, 5.0, 5.0))
    # Each segment strong in one corner and weak elsewhere, with background between them.
    at = grid_points(coarse)
    middles = [np.array(m) * 12.0 for m in product((-1, 1), repeat=3)]
    maps = [np.exp(-((at - middle) ** 2).sum(axis=-1) / 300.0) for middle in middles]
    noisy = np.stack([np.full(coarse.shape, 0.2), *maps]) + rng.uniform(0, 0.02, (9, *coarse.shape))
    probabilities = (noisy / noisy.sum(axis=0)).astype(np.float32)
    scan = centered_grid(
        (22, 30, 34), spacing_mm=(1.5, 1.1, 1.1), rotation=rotation_matrix(degrees)
    )
    labels = np.ones(scan.shape, dtype=np.uint8)
    found = segments_on_scan(Prediction(probabilities, SEGMENT_CLASSES, coarse), labels, scan=scan)
    everywhere = [interpolate(part, coarse, target=scan, outside=0.0) for part in probabilities[1:]]
    naive = np.where(np.max(everywhere, axis=0) > 0, 1 + np.argmax(everywhere, axis=0), 0)
    np.testing.assert_array_equal(found, naive)
    assert set(np.unique(found)) >= set(range(1, 9))
