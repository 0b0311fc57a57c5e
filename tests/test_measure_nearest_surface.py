"""Nearest points on surfaces whose distances are known."""

import numpy as np
import pytest

from livertumor_cli.geometry import Geometry
from livertumor_cli.measure.nearest_surface import NearestSurface

SPACING_MM = (5.0, 0.7, 0.7)
TURN = np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1.0]])
SHIFT = np.array([-30.0, 12.0, 200.0])


def oblique(shape, spacing_mm=SPACING_MM):
    affine = np.eye(4)
    affine[:3, :3] = TURN * np.array(spacing_mm[::-1])
    affine[:3, 3] = SHIFT
    return Geometry(shape, affine)


def box():
    """From 3.15 to 10.15 mm along x and y, from -2.5 to 12.5 mm along z, at the array's border."""
    mask = np.zeros((6, 20, 20), bool)
    mask[0:3, 5:15, 5:15] = True
    return mask


def in_patient(points):
    return np.asarray(points) @ TURN.T + SHIFT


@pytest.mark.parametrize(
    ("point", "expected"),
    [
        ((6, 6, 20), (6, 6, 12.5)),
        ((6, 6, 11), (6, 6, 12.5)),
        ((4, 6, 1), (3.15, 6, 1)),
        ((6, 6, -4), (6, 6, -2.5)),
        ((0, 0, 20), (3.15, 3.15, 12.5)),
        ((60, 6, 0), (10.15, 6, 0)),
        ((10.15, 10.15, 12.5), (10.15, 10.15, 12.5)),
    ],
    ids=["above", "inside_top", "inside_side", "below", "at_a_corner", "far", "on_a_corner"],
)
def test_a_box(point, expected):
    mask = box()
    surface = NearestSurface(mask, geometry=oblique(mask.shape))
    assert np.allclose(surface.of(in_patient([point])), in_patient([expected]), atol=1e-9)


@pytest.mark.parametrize("spacing_mm", [SPACING_MM, (1.0, 1.0, 1.0), (2.0, 0.5, 0.9)])
def test_distances_are_those_to_all_voxels_of_the_other_side(spacing_mm):
    random = np.random.default_rng(3)
    mask = np.zeros((7, 12, 13), bool)
    mask[1:-1, 1:-1, 1:-1] = random.random((5, 10, 11)) < 0.6
    points_mm = random.uniform(-3, 20, (200, 3)) * (0.4, 0.4, 1.0)
    surface = NearestSurface(
        mask, geometry=Geometry.from_spacing(mask.shape, spacing_mm=spacing_mm)
    )
    found = np.linalg.norm(surface.of(points_mm) - points_mm, axis=1)
    size = np.array(spacing_mm[::-1])
    inside, outside = (np.argwhere(part)[:, ::-1] * size for part in (mask, ~mask))
    for point, distance in zip(points_mm, found, strict=True):
        to_set, to_unset = (
            np.linalg.norm(np.maximum(np.abs(point - part) - size / 2, 0), axis=1).min()
            for part in (inside, outside)
        )
        assert distance == pytest.approx(to_set or to_unset, abs=1e-9)


def test_an_empty_mask_has_none():
    mask = np.zeros((3, 3, 3), bool)
    with pytest.raises(ValueError, match="no surface"):
        NearestSurface(mask, geometry=oblique(mask.shape))
