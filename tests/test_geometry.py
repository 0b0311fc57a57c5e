"""Positions, spacings and the identity of grids, against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from livertumor_cli.geometry import Geometry

AXIAL = Geometry.from_spacing((3, 4, 5), spacing_mm=(5.0, 2.0, 1.0), origin_mm=(-10.0, 20.0, 30.0))


def turned(degrees: float) -> Geometry:
    """AXIAL turned about its z axis."""
    angle = np.radians(degrees)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return Geometry(AXIAL.shape, turn @ AXIAL.affine_lps)


def test_index_to_lps_takes_z_y_x():
    assert AXIAL.index_to_lps(np.array([2.0, 3.0, 4.0])).tolist() == [-6.0, 26.0, 40.0]


def test_lps_to_index_is_the_inverse():
    points = np.array([[0.5, 1.0, 2.25], [2.0, 0.0, 4.0]])
    assert np.allclose(AXIAL.lps_to_index(AXIAL.index_to_lps(points)), points)


def test_corners_start_at_the_origin_and_end_at_the_last_voxel():
    corners = AXIAL.corners_lps()
    assert corners[0].tolist() == [-10.0, 20.0, 30.0]
    assert corners[-1].tolist() == [-6.0, 26.0, 40.0]


def test_spacing_and_volume_survive_a_turn():
    assert turned(30).spacing_mm == pytest.approx((5.0, 2.0, 1.0))
    assert turned(30).voxel_ml == pytest.approx(0.010)
    assert turned(30).is_rectangular


def test_shear_is_seen_and_keeps_the_volume():
    affine = AXIAL.affine_lps.copy()
    affine[1, 2] = 1.0  # z steps also go 1 mm to the back
    sheared = Geometry(AXIAL.shape, affine)
    assert not sheared.is_rectangular
    assert sheared.voxel_ml == pytest.approx(0.010)


@pytest.mark.parametrize(("shift_mm", "same"), [(0.009, True), (0.011, False)])
def test_same_grid_within_a_hundredth_of_a_millimeter(shift_mm: float, same: bool):
    affine = AXIAL.affine_lps.copy()
    affine[0, 3] += shift_mm
    assert AXIAL.is_same_grid(Geometry(AXIAL.shape, affine)) is same


def test_cropped_keeps_positions():
    crop = AXIAL.cropped((slice(1, 3), slice(2, 4), slice(0, 5)))
    assert crop.shape == (2, 2, 5)
    assert crop.origin_mm.tolist() == [-10.0, 24.0, 35.0]


@pytest.mark.parametrize(("degrees", "codes"), [(0, "SPL"), (90, "SRP"), (180, "SAR")])
def test_axis_codes(degrees: float, codes: str):
    assert turned(degrees).axis_codes() == codes


@pytest.mark.parametrize(
    ("shape", "affine"),
    [
        ((3, 4, 5), np.zeros((4, 4))),
        ((3, 4, 5), np.full((4, 4), np.nan)),
        ((3, 4, 0), np.eye(4)),
        ((3, 4, 5), np.eye(3)),
    ],
    ids=["singular", "nan", "no voxel", "3x3"],
)
def test_impossible_grids_are_refused(shape: tuple[int, int, int], affine: np.ndarray):
    with pytest.raises(ValueError, match=r"affine_lps|shape"):
        Geometry(shape, affine)


def test_the_affine_cannot_be_changed_afterwards():
    with pytest.raises(ValueError, match="read-only"):
        AXIAL.affine_lps[0, 3] = 1.0
