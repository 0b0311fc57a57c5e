"""The liver of a label map on a coarser grid."""

from __future__ import annotations

import numpy as np
import pytest
from axis_orders import ORDERS, stored
from toy_recipe import Patient, centered_grid, grid_points, rotation_matrix

from livertumor_cli.geometry import Geometry
from livertumor_cli.inference.drawn_liver import DRAWN_SPACING_MM, drawn_liver
from livertumor_cli.inference.resample import patient_grid

GRID = centered_grid((60, 90, 90), spacing_mm=(2.5, 1.7, 1.7))


def volume_ml(mask: np.ndarray, geometry: Geometry) -> float:
    return float(np.count_nonzero(mask)) * geometry.voxel_ml


def assert_is_the_patients_liver(labels: np.ndarray, geometry: Geometry) -> None:
    liver = drawn_liver(labels, geometry)
    ball = Patient().liver
    assert ball is not None
    depth_mm = ball.depth_mm(grid_points(liver.geometry))
    assert liver.geometry.spacing_mm == pytest.approx(DRAWN_SPACING_MM)
    assert liver.mask[depth_mm > 2.5].all()
    assert not liver.mask[depth_mm < -2.5].any()
    volume = volume_ml(labels > 0, geometry)
    assert volume_ml(liver.mask, liver.geometry) == pytest.approx(volume, rel=0.02)


def test_a_ball_is_a_ball_in_its_box() -> None:
    labels = Patient().truth(GRID)
    assert_is_the_patients_liver(labels, GRID)
    whole = patient_grid(GRID, DRAWN_SPACING_MM)
    liver = drawn_liver(labels, GRID)
    assert liver.mask.size < 0.3 * np.prod(whole.shape)
    steps = whole.lps_to_index(liver.geometry.index_to_lps(np.zeros(3)))
    assert steps == pytest.approx(np.rint(steps), abs=1e-6)  # voxels of the whole scan's grid


@pytest.mark.parametrize(("order", "flips"), ORDERS[::11])
def test_other_axis_orders(order: tuple[int, ...], flips: tuple[bool, ...]) -> None:
    assert_is_the_patients_liver(*stored(Patient().truth(GRID), GRID, order, flips))


def test_an_oblique_scan() -> None:
    grid = centered_grid(
        (70, 80, 80), spacing_mm=(2.5, 2, 2), rotation=rotation_matrix((10, 15, -20))
    )
    assert_is_the_patients_liver(Patient().truth(grid), grid)


def test_a_vessel_that_was_left_out_is_filled() -> None:
    labels = Patient().truth(GRID)
    cut = np.where(labels == 3, 0, labels)
    assert np.array_equal(drawn_liver(cut, GRID).mask, drawn_liver(labels, GRID).mask)


def test_pieces_stay_pieces() -> None:
    labels = Patient().truth(GRID)
    labels[2:6, 2:8, 2:8] = 1
    liver = drawn_liver(labels, GRID)
    volume = volume_ml(labels > 0, GRID)
    assert volume_ml(liver.mask, liver.geometry) == pytest.approx(volume, rel=0.02)


def test_a_thin_sheet_is_no_liver() -> None:
    grid = GRID.respaced((0.5, 1.7, 1.7))
    labels = np.zeros(grid.shape, np.uint8)
    labels[100] = 1
    assert not drawn_liver(labels, grid).mask.any()
