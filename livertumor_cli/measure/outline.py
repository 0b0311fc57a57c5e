"""Exact lengths across a set of pixels or voxels, measured between their corners.

Corner (i, j) of a pixel grid is the corner of pixel (i, j) with the lower indices, so pixel (i, j)
covers the square from corner (i, j) to corner (i + 1, j + 1). Pixels may be oblong or skewed: a
2x2 basis maps corner indices to mm in the plane.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull

from livertumor_cli.arrays import BoolArray, DoubleArray

TIE_MM = 1e-6
"""Lengths and positions that differ by less are equal: rounding must not choose a diameter."""

_BLOCK = 1024
"""Points compared with all others at a time: bounds the memory of the search."""

_MAX_CROSSINGS = 1_000_000
"""Crossings of lines and outline held at a time; an ordinary lesion has some thousands in all."""


IndexArray: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Chord:
    """A straight line across pixels.

    Attributes:
        length_mm: Distance of the end points.
        ends: Both end points as (fractional) corner indices, shape (2, 2).
    """

    length_mm: float
    ends: DoubleArray


def extreme_corners(mask: BoolArray) -> DoubleArray:
    """Corners that can be a vertex of the convex hull: the ends of every line of pixels or voxels.

    Args:
        mask: Two or three axes, at least one element set.

    Returns:
        Corner indices, shape (n, 2) or (n, 3), without repetition.
    """
    lines = mask.any(axis=-1)
    size = mask.shape[-1]
    low = np.where(lines, mask.argmax(axis=-1), size)
    high = np.where(lines, size - mask[..., ::-1].argmax(axis=-1), -1)
    for axis in range(mask.ndim - 1):
        # A corner line belongs to the two pixel lines beside it.
        low = _beside(low, axis, outside=size, choose=np.minimum)
        high = _beside(high, axis, outside=-1, choose=np.maximum)
    used = np.nonzero(high >= 0)
    starts = np.stack([*used, low[used]], axis=-1)
    ends = np.stack([*used, high[used]], axis=-1)
    return np.concatenate([starts, ends]).astype(np.float64)


def _beside(values: IndexArray, axis: int, *, outside: int, choose: np.ufunc) -> IndexArray:
    padding = [(0, 0)] * values.ndim
    padding[axis] = (1, 1)
    padded = np.moveaxis(np.pad(values, padding, constant_values=outside), axis, 0)
    return np.moveaxis(choose(padded[:-1], padded[1:]), 0, axis)


def hull_corners(mask: BoolArray) -> DoubleArray:
    """Vertices of the convex hull of the pixels' or voxels' corners.

    The hull is taken in index space, where corners are whole numbers and one voxel already spans a
    volume, so that a single voxel, a line or a plane needs no rule of its own.

    Args:
        mask: Two or three axes, at least one element set.

    Returns:
        Corner indices, shape (n, 2) or (n, 3), in ascending order.
    """
    corners = extreme_corners(mask)
    vertices = corners[ConvexHull(corners).vertices]
    order = np.lexsort(vertices.T[::-1])
    return np.asarray(vertices[order])


def greatest_distance_mm(points_mm: DoubleArray) -> float:
    """Largest distance of two points.

    Args:
        points_mm: Shape (n, 2) or (n, 3).
    """
    best = 0.0
    for start in range(0, len(points_mm), _BLOCK):
        block = points_mm[start : start + _BLOCK]
        squared = sum(
            np.subtract.outer(block[:, axis], points_mm[start:, axis]) ** 2
            for axis in range(points_mm.shape[1])
        )
        best = max(best, float(np.max(squared)))
    return math.sqrt(best)


def longest_line(pixels: BoolArray, basis_mm: DoubleArray) -> Chord:
    """The longest straight line between two pixel corners; it may leave the outline in between.

    Of equally long ones the one whose lower end point comes first is taken.

    Args:
        pixels: Shape (rows, columns), at least one set.
        basis_mm: Steps along rows and columns in mm in the plane, shape (2, 2), one step per row.
    """
    corners = hull_corners(pixels)
    points = corners @ basis_mm
    distances = np.linalg.norm(points[:, None] - points[None, :], axis=-1)
    longest = float(distances.max())
    first, second = np.nonzero(np.triu(distances >= longest - TIE_MM))
    # Corners are in ascending order, so the first pair is the one that comes first.
    ends = corners[[first[0], second[0]]]
    return Chord(float(distances[first[0], second[0]]), ends)


def longest_perpendicular(pixels: BoolArray, basis_mm: DoubleArray, axis: Chord) -> Chord:
    """The longest straight line at right angles to an axis that stays within the pixels.

    Lines at right angles to the axis cross the outline at edges between set and unset pixels.
    Between two neighboring outline corners (in order along the axis) the same edges are crossed
    and every crossing interval changes linearly, so the longest one lies at such a corner: exact,
    no sampling. A line that only touches pixels (along an edge, through a corner) is not within
    them. Of equally long lines the one nearest to the middle of the axis is taken.

    Args:
        pixels: Shape (rows, columns), at least one set.
        basis_mm: Steps along rows and columns in mm in the plane, shape (2, 2), one step per row.
        axis: The line to be perpendicular to.
    """
    ends_mm = axis.ends @ basis_mm
    along = (ends_mm[1] - ends_mm[0]) / np.linalg.norm(ends_mm[1] - ends_mm[0])
    across = basis_mm @ np.array([-along[1], along[0]])
    outline = _Outline.of(pixels, basis_mm @ along)
    found = [_longest_in_slabs(outline, first, last, across) for first, last in outline.blocks()]
    ends, heights, lengths = (np.concatenate(parts) for parts in zip(*found, strict=True))
    middle = float((ends_mm @ along).mean())
    chosen = np.arange(lengths.size)
    for cost in (-lengths, np.abs(heights - middle), heights, ends[:, 0] @ across):
        chosen = chosen[cost[chosen] <= cost[chosen].min() + TIE_MM]
    return Chord(float(lengths[chosen[0]]), ends[chosen[0]])


@dataclass(frozen=True, slots=True)
class _Outline:
    """Unit edges between set and unset pixels, sorted into levels of height along an axis.

    Heights that differ by rounding only share a level, so that edges along it count as flat. The
    slab k lies between the levels k and k + 1.

    Attributes:
        ends: Lower and upper end of each edge as corner indices, shape (n, 2, 2).
        ranks: Levels of the ends, shape (n, 2); flat edges are left out.
        levels: Heights of the levels in mm, ascending.
    """

    ends: DoubleArray
    ranks: IndexArray
    levels: DoubleArray

    @classmethod
    def of(cls, pixels: BoolArray, direction: DoubleArray) -> _Outline:
        """The outline of the pixels; heights are corner indices times the direction."""
        padded = np.pad(pixels, 1)
        rows, columns = np.nonzero(padded[1:-1, 1:] != padded[1:-1, :-1])
        across_columns = np.stack([[rows, columns], [rows + 1, columns]])
        rows, columns = np.nonzero(padded[1:, 1:-1] != padded[:-1, 1:-1])
        across_rows = np.stack([[rows, columns], [rows, columns + 1]])
        edges = np.concatenate([across_columns, across_rows], axis=2).transpose(2, 0, 1)
        heights = (edges @ direction).ravel()
        order = heights.argsort(kind="stable")
        is_new = np.diff(heights[order], prepend=-np.inf) > TIE_MM
        rank_of_end = np.empty(heights.size, dtype=np.int64)
        rank_of_end[order] = np.cumsum(is_new) - 1
        ranks = rank_of_end.reshape(-1, 2)
        upwards = ranks.argsort(axis=1)
        is_steep = ranks[:, 0] != ranks[:, 1]
        return cls(
            np.take_along_axis(edges, upwards[..., None], axis=1)[is_steep].astype(np.float64),
            np.take_along_axis(ranks, upwards, axis=1)[is_steep],
            heights[order][is_new],
        )

    def blocks(self) -> list[tuple[int, int]]:
        """Ranges of slabs, first and one past the last, with a bounded number of crossings each."""
        size = self.levels.size
        starting, ending = (np.bincount(side, minlength=size) for side in self.ranks.T)
        block = np.cumsum(np.cumsum(starting - ending)[:-1]) // _MAX_CROSSINGS
        firsts = [0, *(np.flatnonzero(np.diff(block)) + 1).tolist(), size - 1]
        return list(pairwise(firsts))

    def crossings(self, first: int, last: int) -> tuple[DoubleArray, IndexArray]:
        """Where edges cross the bottom and top of the slabs in a range.

        Returns:
            Corner indices, shape (crossing, bottom or top, 2), and the slab of each crossing.
        """
        clipped = self.ranks.clip(first, last)
        counts = clipped[:, 1] - clipped[:, 0]
        owner = np.repeat(np.arange(counts.size), counts)
        slab = np.arange(owner.size) - (np.cumsum(counts) - counts - clipped[:, 0])[owner]
        start, stop = self.levels[self.ranks[owner]].T
        at = self.levels[np.stack([slab, slab + 1], axis=1)]
        share = (at - start[:, None]) / (stop - start)[:, None]
        begin, end = self.ends[owner, 0], self.ends[owner, 1]
        return begin[:, None] + share[..., None] * (end - begin)[:, None], slab


def _longest_in_slabs(
    outline: _Outline, first: int, last: int, across: DoubleArray
) -> tuple[DoubleArray, DoubleArray, DoubleArray]:
    """The longest lines across slabs: end points, height and length, equally long ones together."""
    points, slab = outline.crossings(first, last)
    position = points @ across
    # Edges do not cross within a slab, so in order of their middles they lead in and out by turns.
    order = np.lexsort((position.sum(axis=1), slab))
    starts, stops = order[0::2], order[1::2]
    lengths = position[stops] - position[starts]
    pair, side = np.nonzero(lengths >= lengths.max() - TIE_MM)
    ends = np.stack([points[starts[pair], side], points[stops[pair], side]], axis=1)
    return ends, outline.levels[slab[starts[pair]] + side], lengths[pair, side]
