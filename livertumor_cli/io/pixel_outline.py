"""Exact outlines of pixels as polygons, holes joined to their surroundings by a cut.

Corner (i, j) is the corner of pixel (i, j) with the lower indices, so pixel (i, j) covers the
square from corner (i, j) to corner (i + 1, j + 1).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

import numpy as np

from livertumor_cli.arrays import BoolArray, DoubleArray

Edge: TypeAlias = tuple[int, int, int]
"""Row and column of the corner it starts at, and its step."""

Loop: TypeAlias = list[Edge]
Cuts: TypeAlias = dict[Edge, tuple[int, Loop]]
"""The edge to leave at, the column of the hole, and the hole's edges from there on."""

_RIGHT, _DOWN, _LEFT, _UP = range(4)
_STEPS = ((0, 1), (1, 0), (0, -1), (-1, 0))
_TURNS = (1, 0, 3)
"""To the right first: pixels that touch at a corner only are pieces of their own."""


def outlines(pixels: BoolArray) -> list[DoubleArray]:
    """One polygon per 4-connected piece of the pixels.

    A hole is part of the polygon round it, joined by a cut without width that is passed there and
    back (the keyhole of PS3.3 C.8.8.6). Area and inside are those of the pixels, under the even-odd
    and the nonzero rule.

    Args:
        pixels: Shape (rows, columns).

    Returns:
        Polygons of corner indices (row, column), shape (n, 2); the last point is not the first.
    """
    loops = list(_loops(pixels))
    holes = [loop for loop in loops if _twice_area(loop) < 0]
    cuts = dict(_cut(pixels, hole) for hole in holes)
    return [_without_straights(_walk(loop, cuts)) for loop in loops if _twice_area(loop) > 0]


def _loops(pixels: BoolArray) -> Iterator[Loop]:
    """Closed chains of edges with the pixels to the right of each step."""
    rest = dict.fromkeys(_edges(pixels))
    while rest:
        edge = next(iter(rest))
        loop = []
        while edge in rest:
            del rest[edge]
            loop.append(edge)
            row, column = edge[0] + _STEPS[edge[2]][0], edge[1] + _STEPS[edge[2]][1]
            ways = ((row, column, (edge[2] + turn) % 4) for turn in _TURNS)
            edge = next((way for way in ways if way in rest), loop[0])
        yield loop


def _edges(pixels: BoolArray) -> list[Edge]:
    """Every edge between a set and an unset pixel, those of the first rows first."""
    padded = np.pad(pixels, 1)
    sides = (
        (_RIGHT, padded[:-2, 1:-1], (0, 0)),  # the neighbor above, from the upper left corner
        (_DOWN, padded[1:-1, 2:], (0, 1)),
        (_LEFT, padded[2:, 1:-1], (1, 1)),
        (_UP, padded[1:-1, :-2], (1, 0)),
    )
    edges: list[Edge] = []
    for step, neighbor, (down, right) in sides:
        rows, columns = np.nonzero(pixels & ~neighbor)
        starts = zip((rows + down).tolist(), (columns + right).tolist(), strict=True)
        edges += [(row, column, step) for row, column in starts]
    return edges


def _twice_area(loop: Loop) -> int:
    """Positive round pixels, negative round a hole."""
    return sum(
        column * (row + _STEPS[step][0]) - (column + _STEPS[step][1]) * row
        for row, column, step in loop
    )


def _cut(pixels: BoolArray, hole: Loop) -> tuple[Edge, tuple[int, Loop]]:
    """Where the line leaves for a hole: straight to the left of the hole's first column.

    What it meets there is the outer line or a hole that begins farther left, so no two holes hang
    on each other.
    """
    first = min(
        (number for number, edge in enumerate(hole) if edge[2] == _DOWN),
        key=lambda number: (hole[number][1], hole[number][0]),
    )
    row, column, _ = hole[first]
    unset = np.flatnonzero(~pixels[row, :column])
    start = int(unset[-1]) + 1 if unset.size else 0
    return (row + 1, start, _UP), (column, hole[first + 1 :] + hole[: first + 1])


def _walk(outer: Loop, cuts: Cuts) -> DoubleArray:
    """The corners along a line, with a way to each hole and back from the middle of an edge."""
    path: list[tuple[float, float]] = []
    pending: list[tuple[Iterator[Edge], list[tuple[float, float]]]] = [(iter(outer), [])]
    while pending:
        edges, way_back = pending[-1]
        for edge in edges:
            path.append(edge[:2])
            if edge in cuts:
                column, hole = cuts[edge]
                way = [(edge[0] - 0.5, float(edge[1])), (edge[0] - 0.5, float(column))]
                path += way
                pending.append((iter(hole), way[::-1]))
                break
        else:
            path += way_back
            pending.pop()
    return np.array(path, dtype=np.float64)


def _without_straights(path: DoubleArray) -> DoubleArray:
    """Only the points at which the direction changes."""
    ahead = np.sign(np.roll(path, -1, axis=0) - path)
    kept: DoubleArray = path[(ahead != np.roll(ahead, 1, axis=0)).any(axis=1)]
    return kept
