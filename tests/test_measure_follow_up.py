"""Livers moved by known motions are laid back, and lesions find themselves again."""

import numpy as np
import pytest
from toy_recipe import centered_grid, grid_points, rotation_matrix

from livertumor_cli.measure.follow_up import Alignment, align_livers, match_lesions

BASELINE = centered_grid((40, 60, 60), spacing_mm=(3.0, 2.0, 2.0))
FOLLOW_UP = centered_grid((60, 70, 64), spacing_mm=(2.0, 2.0, 2.0))


def ball(points, center, radius):
    return np.linalg.norm(points - np.array(center), axis=-1) <= radius


def liver(points):
    """Three balls: no rotation but none maps it on itself."""
    return (
        ball(points, (-12, 3, 2), 28)
        | ball(points, (16, -8, 8), 18)
        | ball(points, (-20, 14, -18), 17)
    )


def moved_points(rotation, shift):
    """Where in the baseline each voxel of the follow-up lies."""
    return (grid_points(FOLLOW_UP) - shift) @ rotation


@pytest.mark.parametrize(
    ("degrees", "shift"),
    [((0, 0, 0), (0, 0, 0)), ((0, 0, 8), (4, -3, 6)), ((6, -9, 5), (-5, 4, 0))],
)
def test_known_motions_are_found(degrees, shift):
    rotation = rotation_matrix(degrees)
    later = liver(moved_points(rotation, shift))
    found = align_livers(liver(grid_points(BASELINE)), later, geometries=(BASELINE, FOLLOW_UP))
    corners = BASELINE.corners_lps() * 0.5  # points of the liver's size
    true = corners @ rotation.T + shift
    # Voxels of 2 and 3 mm: the surface itself is known to half of that.
    assert np.abs(found.move(corners) - true).max() < 2.0
    assert found.residual_mm < 2.0
    angle = np.degrees(np.arccos((np.trace(rotation) - 1) / 2))
    assert found.rotation_degrees == pytest.approx(angle, abs=2.0)


def test_a_liver_laid_on_itself_has_not_moved():
    mask = liver(grid_points(BASELINE))
    found = align_livers(mask, mask, geometries=(BASELINE, BASELINE))
    assert found.residual_mm < 0.01
    assert np.abs(found.matrix - np.eye(4)).max() < 0.01
    assert found.rotation_degrees < 0.01


@pytest.mark.parametrize("growth_mm", [-3.0, 3.0])
def test_the_residual_is_the_distance_of_the_surfaces(growth_mm):
    """A ball in a larger one: everywhere the same way apart, half a voxel more or less."""
    before, after = (
        ball(grid_points(FOLLOW_UP), (1, 2, 3), radius) for radius in (30, 30 + growth_mm)
    )
    found = align_livers(before, after, geometries=(FOLLOW_UP, FOLLOW_UP))
    assert found.residual_mm == pytest.approx(abs(growth_mm), abs=1.0)


def test_a_resected_part_does_not_pull():
    later = liver(grid_points(FOLLOW_UP))
    later &= ~ball(grid_points(FOLLOW_UP), (20, -10, 10), 14)
    found = align_livers(liver(grid_points(BASELINE)), later, geometries=(BASELINE, FOLLOW_UP))
    corners = BASELINE.corners_lps() * 0.5
    assert np.abs(found.move(corners) - corners).max() < 4.0


def test_an_empty_liver_cannot_be_aligned():
    empty = np.zeros(BASELINE.shape, bool)
    with pytest.raises(ValueError, match="empty"):
        align_livers(empty, empty, geometries=(BASELINE, BASELINE))


def numbered(points, balls):
    lesions = np.zeros(points.shape[:3], np.uint16)
    for number, (center, radius) in enumerate(balls, start=1):
        lesions[ball(points, center, radius)] = number
    return lesions


def pairs_of(before, after, alignment=None):
    return match_lesions(
        numbered(grid_points(BASELINE), before),
        numbered(grid_points(FOLLOW_UP), after),
        geometries=(BASELINE, FOLLOW_UP),
        alignment=alignment or Alignment(np.eye(4), 0.0),
    )


ONE, TWO, THREE = (-20, 5, 5), (15, -5, 5), (-10, 10, -25)


def test_growth_and_shrinking_are_the_same_lesion():
    assert pairs_of([(ONE, 8), (TWO, 6)], [(TWO, 14), (ONE, 3)]) == ((1, 2), (2, 1))


def test_new_and_vanished_lesions_have_no_partner():
    assert pairs_of([(ONE, 6), (TWO, 6)], [(TWO, 6), (THREE, 5)]) == ((2, 1),)
    assert pairs_of([(ONE, 6)], []) == ()
    assert pairs_of([], [(ONE, 6)]) == ()
    assert pairs_of([(ONE, 6)], [(TWO, 6)]) == ()


def test_neighbors_do_not_change_partners_for_one_that_vanished():
    """A row, where one end vanished and the other is new: each gap is narrow enough for a pair."""
    row = [(x, 5, 5) for x in (-30, -15, 0, 15)]
    assert pairs_of([(row[1], 5), (row[0], 4)], [(row[1], 5), (row[2], 4)]) == ((1, 1),)
    before, after = ([(center, 4) for center in part] for part in (row[:3], row[1:]))
    assert pairs_of(before, after) == ((2, 1), (3, 2))


def test_a_lesion_that_lies_beside_its_place_is_the_same():
    """Breath moves what the liver's surface does not tell."""
    assert pairs_of([(ONE, 3)], [(np.add(ONE, (0, 9, 0)), 3)]) == ((1, 1),)


def test_the_alignment_is_used():
    matrix = np.eye(4)
    matrix[:3, 3] = np.subtract(TWO, ONE)
    assert pairs_of([(ONE, 6)], [(TWO, 6)], Alignment(matrix, 0.0)) == ((1, 1),)


def test_what_merged_is_one_pair_and_one_vanished():
    before = [((-20, 5, 5), 5), ((-8, 5, 5), 4)]
    assert pairs_of(before, [((-15, 5, 5), 12)]) == ((1, 1),)


def test_one_deep_inside_the_other_is_the_same():
    assert pairs_of([(ONE, 2)], [((-18, 5, 5), 25)]) == ((1, 1),)
