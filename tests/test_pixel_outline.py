"""Outlines of pixels: exact, whatever holes and corners there are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from livertumor_cli.io.pixel_outline import outlines


def covered(polygons: list[np.ndarray], shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """How often a ray to the right of each pixel center is crossed, and the winding number."""
    crossings, winding = np.zeros(shape, dtype=int), np.zeros(shape, dtype=int)
    # Off the middle of a pixel, where the cuts run.
    rows, columns = np.indices(shape) + np.array([0.4, 0.5]).reshape(2, 1, 1)
    for polygon in polygons:
        for (row, column), (next_row, next_column) in zip(
            polygon, np.roll(polygon, -1, axis=0), strict=True
        ):
            assert (row == next_row) != (column == next_column), "steps run along an axis"
            hit = (columns < column) & ((row > rows) != (next_row > rows))
            crossings += hit
            winding += np.where(hit, 1 if next_row > row else -1, 0)
    return crossings % 2 == 1, winding


def area(polygon: np.ndarray) -> float:
    rows, columns = polygon.T
    return float(np.sum(columns * np.roll(rows, -1) - np.roll(columns, -1) * rows) / 2)


@given(arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.booleans()))
def test_inside_is_where_the_pixels_are(pixels: np.ndarray) -> None:
    polygons = outlines(pixels)
    even_odd, winding = covered(polygons, pixels.shape)
    assert np.array_equal(even_odd, pixels)
    assert np.array_equal(winding, pixels)
    assert sum(area(polygon) for polygon in polygons) == pixels.sum()


def test_one_pixel_is_a_square() -> None:
    [polygon] = outlines(np.array([[False, True]]))
    assert sorted(map(tuple, polygon.tolist())) == [(0, 1), (0, 2), (1, 1), (1, 2)]


@pytest.mark.parametrize("holes", [1, 2, 3])
def test_holes_in_a_row_are_one_polygon(holes: int) -> None:
    pixels = np.ones((3, 2 * holes + 1), dtype=bool)
    pixels[1, 1::2] = False
    [polygon] = outlines(pixels)
    assert area(polygon) == pixels.sum()


def test_a_piece_inside_a_hole_is_a_polygon_of_its_own() -> None:
    pixels = np.ones((5, 5), dtype=bool)
    pixels[1:4, 1:4] = False
    pixels[2, 2] = True
    assert sorted(area(polygon) for polygon in outlines(pixels)) == [1, 16]


def test_pixels_that_touch_at_a_corner_are_two_polygons() -> None:
    assert len(outlines(np.eye(2, dtype=bool))) == 2


def test_no_pixel_has_no_outline() -> None:
    assert outlines(np.zeros((3, 4), dtype=bool)) == []
