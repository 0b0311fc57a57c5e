"""Layers, shared faces and distances between surfaces, against values counted by hand."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from livertumor_cli.geometry import Geometry
from livertumor_cli.measure.surface import (
    SurfaceDistance,
    contact_area_mm2,
    grown_box,
    shell_range_ml,
    surface_corners_lps,
)

SPACING_MM = (5.0, 0.7, 0.9)


def grid(mask, spacing_mm=SPACING_MM):
    return Geometry.from_spacing(mask.shape, spacing_mm=spacing_mm)


def distance_mm(mask, other, spacing_mm=SPACING_MM):
    geometry = grid(mask, spacing_mm)
    corners = surface_corners_lps(mask, geometry=geometry, is_open=False)
    return SurfaceDistance(other, geometry=geometry).to(corners)


def test_shell_of_one_voxel():
    """Without its surface nothing is left, with one layer more there are 7 voxels."""
    mask = np.ones((1, 1, 1), bool)
    low, high = shell_range_ml(mask, geometry=grid(mask))
    voxel_ml = 5.0 * 0.7 * 0.9 / 1000
    assert (low, high) == pytest.approx((0.5 * voxel_ml, 4 * voxel_ml))


def test_shell_of_a_box():
    mask = np.ones((4, 5, 6), bool)
    low, high = shell_range_ml(mask, geometry=grid(mask, (10.0, 10.0, 10.0)))
    assert low == pytest.approx((120 + 2 * 3 * 4) / 2)
    assert high == pytest.approx((120 + 120 + 2 * (4 * 5 + 4 * 6 + 5 * 6)) / 2)


def test_shell_of_a_ball_is_half_a_voxel_of_radius():
    """Within the 0.58 to 1 voxel that a layer of faces has, in every direction of the grid."""
    index = np.indices((61, 61, 61)) - 30
    mask = (index**2).sum(axis=0) <= 25.0**2
    low, high = shell_range_ml(mask, geometry=grid(mask, (1.0, 1.0, 1.0)))
    for volume, sign in ((low, -1), (high, 1)):
        radius = (3000 * volume / (4 * np.pi)) ** (1 / 3)
        assert 0.25 <= sign * (radius - 25.0) <= 0.5


def test_an_empty_mask_has_no_shell():
    mask = np.zeros((3, 3, 3), bool)
    assert shell_range_ml(mask, geometry=grid(mask)) == (0, 0)


@pytest.mark.parametrize(("axis", "area"), [(0, 0.7 * 0.9), (1, 5.0 * 0.9), (2, 5.0 * 0.7)])
def test_contact_is_the_area_of_the_faces(axis, area):
    mask, other = np.zeros((2, 6, 6, 6), bool)
    mask[2:4, 2:4, 2:4] = True
    beyond = [slice(2, 4)] * 3
    beyond[axis] = slice(4, 6)
    other[tuple(beyond)] = True
    assert contact_area_mm2(mask, other, geometry=grid(mask)) == pytest.approx(4 * area)
    assert contact_area_mm2(other, mask, geometry=grid(mask)) == pytest.approx(4 * area)


def test_corners_and_edges_are_no_contact():
    mask, other = np.zeros((2, 4, 4, 4), bool)
    mask[1, 1, 1] = True
    other[2, 2, 1] = other[2, 2, 2] = True
    assert contact_area_mm2(mask, other, geometry=grid(mask)) == 0
    assert distance_mm(mask, other) == 0


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ((1, 1, 2), 0.0),
        ((1, 1, 5), 3 * 0.9),
        ((4, 1, 1), 2 * 5.0),
        ((3, 4, 6), np.hypot(np.hypot(5.0, 2 * 0.7), 4 * 0.9)),
    ],
)
def test_distance_of_two_voxels(place, expected):
    mask, other = np.zeros((2, 8, 8, 8), bool)
    mask[1, 1, 1] = True
    other[place] = True
    assert distance_mm(mask, other) == pytest.approx(expected, abs=1e-9)


masks = hnp.arrays(bool, (4, 5, 5), elements=st.booleans())


@settings(max_examples=30, deadline=None)
@given(masks, masks)
def test_distance_is_the_smallest_of_all_pairs_of_voxels(mask, other):
    other &= ~mask
    if not mask.any() or not other.any():
        return
    pairs = itertools.product(np.argwhere(mask), np.argwhere(other))
    gaps = [np.maximum(np.abs(one - two) - 1, 0) * SPACING_MM for one, two in pairs]
    assert distance_mm(mask, other) == pytest.approx(min(map(np.linalg.norm, gaps)), abs=1e-9)


def test_the_border_of_the_scan_is_no_surface():
    liver = np.ones((6, 6, 6), bool)
    lesion = np.zeros_like(liver)
    lesion[2, 2, 2] = True
    assert distance_mm(lesion, liver) is None
    liver[:, :, 5] = False
    assert distance_mm(lesion, liver) == pytest.approx(2 * 0.9)


def test_nothing_has_no_distance():
    mask = np.ones((2, 2, 2), bool)
    assert distance_mm(mask, np.zeros_like(mask)) is None


def test_a_box_grows_as_far_as_the_array():
    box = (slice(0, 2), slice(3, 5), slice(1, 6))
    assert grown_box(box, (4, 6, 6)) == (slice(0, 3), slice(2, 6), slice(0, 6))
