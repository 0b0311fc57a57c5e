"""Which lesions of a reference were found, and which predicted lesions are none.

Lesions are compared as numbered components. Two ways of matching them:

* PLAIN: one predicted lesion with one reference lesion, such that the sum of the IoUs is largest.
* LITS: pieces are joined first, as the LiTS challenge intends. A reference lesion joins those whose
  greatest overlap is with the same predicted lesion, and predicted lesions join that overlap most
  with the same joined reference. Every lesion of a joined pair then counts as found or as right, so
  that no count can fall below zero (in the code of 2017 it can).

A pair matches if its IoU is greater than the threshold.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from livertumor_cli.arrays import BoolArray, DoubleArray, InstanceArray

DETECTION_IOU = 0.5
"""A lesion is found if prediction and reference share more than half of their union."""


class Matching(StrEnum):
    """How predicted and reference lesions are paired."""

    LITS = "lits"
    PLAIN = "plain"


@dataclass(frozen=True, slots=True)
class Match:
    """Lesions that count as one and the same; several on a side only where pieces were joined.

    Attributes:
        predictions: Numbers of the predicted lesions.
        references: Numbers of the reference lesions.
    """

    predictions: tuple[int, ...]
    references: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Detection:
    """Which lesions match.

    Attributes:
        found: Whether each reference lesion was found, in the order of their numbers.
        right: Whether each predicted lesion matches a reference lesion, likewise.
        matches: The lesions that belong together.
    """

    found: tuple[bool, ...]
    right: tuple[bool, ...]
    matches: tuple[Match, ...] = ()

    @property
    def true_positives(self) -> int:
        """Reference lesions found."""
        return sum(self.found)

    @property
    def false_negatives(self) -> int:
        """Reference lesions not found."""
        return len(self.found) - sum(self.found)

    @property
    def false_positives(self) -> int:
        """Predicted lesions that match none."""
        return len(self.right) - sum(self.right)

    @property
    def recall(self) -> float:
        """Share of the reference lesions found; NaN without reference lesions."""
        return sum(self.found) / len(self.found) if self.found else math.nan

    @property
    def precision(self) -> float:
        """Share of the predicted lesions that match; NaN without predicted lesions."""
        return sum(self.right) / len(self.right) if self.right else math.nan


def detect_lesions(
    prediction: InstanceArray,
    reference: InstanceArray,
    *,
    matching: Matching = Matching.LITS,
    iou: float = DETECTION_IOU,
) -> Detection:
    """Match predicted with reference lesions.

    Args:
        prediction: Numbered lesions 0..n, shape (z, y, x).
        reference: Numbered lesions 0..m, same shape.
        matching: How lesions are paired.
        iou: A pair matches if its IoU is greater than this.
    """
    table = _overlap_table(prediction, reference)
    common = table[1:, 1:]
    predicted, expected = table.sum(axis=1)[1:], table.sum(axis=0)[1:]
    if not common.any():
        return Detection((False,) * expected.size, (False,) * predicted.size)
    if matching is Matching.PLAIN:
        return _match_one_to_one(common, predicted, expected, iou)
    return _match_joined(common, predicted, expected, iou)


def found_fractions(prediction: BoolArray, reference: InstanceArray) -> tuple[float, ...]:
    """Share of the voxels of each reference lesion that the prediction covers.

    Args:
        prediction: Tumor mask, shape (z, y, x).
        reference: Numbered lesions 1..m, same shape.
    """
    inside = reference > 0
    numbers = reference[inside]
    sizes = np.bincount(numbers)[1:]
    covered = np.bincount(numbers[prediction[inside]], minlength=sizes.size + 1)[1:]
    return tuple((covered / sizes).tolist())


def _overlap_table(prediction: InstanceArray, reference: InstanceArray) -> NDArray[np.int64]:
    """Voxels by number in the prediction (rows) and reference (columns); [0, 0] stays 0."""
    inside = (prediction > 0) | (reference > 0)
    rows = prediction[inside].astype(np.int64)
    columns = reference[inside].astype(np.int64)
    shape = int(rows.max(initial=0)) + 1, int(columns.max(initial=0)) + 1
    counts = np.bincount(rows * shape[1] + columns, minlength=shape[0] * shape[1])
    return np.asarray(counts.reshape(shape), dtype=np.int64)


def _iou(
    common: NDArray[np.int64], predicted: NDArray[np.int64], expected: NDArray[np.int64]
) -> DoubleArray:
    union = predicted[:, None] + expected[None, :] - common
    return np.asarray(common / np.maximum(union, 1))


def _match_one_to_one(
    common: NDArray[np.int64],
    predicted: NDArray[np.int64],
    expected: NDArray[np.int64],
    threshold: float,
) -> Detection:
    scores = _iou(common, predicted, expected)
    scores[scores <= threshold] = 0.0
    rows, columns = linear_sum_assignment(scores, maximize=True)
    is_pair = scores[rows, columns] > 0
    rows, columns = rows[is_pair], columns[is_pair]
    right, found = np.zeros(predicted.size, bool), np.zeros(expected.size, bool)
    right[rows] = True
    found[columns] = True
    matches = (
        Match((int(row) + 1,), (int(column) + 1,))
        for row, column in zip(rows, columns, strict=True)
    )
    return Detection(tuple(found.tolist()), tuple(right.tolist()), tuple(matches))


def _match_joined(
    common: NDArray[np.int64],
    predicted: NDArray[np.int64],
    expected: NDArray[np.int64],
    threshold: float,
) -> Detection:
    # References by the predicted lesion that overlaps each most; -1 where none does.
    group_of_reference = np.where(common.any(axis=0), common.argmax(axis=0), -1)
    groups = np.unique(group_of_reference[group_of_reference >= 0])
    belongs = group_of_reference[:, None] == groups[None, :]  # (reference, group)
    with_group = common @ belongs  # voxels that each predicted lesion shares with each group
    group_of_prediction = np.where(with_group.any(axis=1), groups[with_group.argmax(axis=1)], -1)
    joins = group_of_prediction[:, None] == groups[None, :]  # (prediction, group)
    shared = np.einsum("pg,pg->g", joins, with_group)
    union = predicted @ joins + expected @ belongs - shared
    is_match = shared > threshold * union
    matches = (
        Match(_numbers(joins[:, group]), _numbers(belongs[:, group]))
        for group in np.flatnonzero(is_match)
    )
    return Detection(
        tuple((belongs & is_match).any(axis=1).tolist()),
        tuple((joins & is_match).any(axis=1).tolist()),
        tuple(matches),
    )


def _numbers(chosen: BoolArray) -> tuple[int, ...]:
    """Numbers of the chosen lesions, counted from 1."""
    return tuple((np.flatnonzero(chosen) + 1).tolist())
