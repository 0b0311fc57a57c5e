"""One liver without holes; tumors outside it removed and named."""

from __future__ import annotations

import numpy as np
import pytest
from toy_recipe import toy_stage

from livertumor_cli.geometry import Geometry
from livertumor_cli.inference.decide import largest_region, liver_region, tidy
from livertumor_cli.inference.prediction import Prediction

SHAPE = (12, 20, 20)
GRID = Geometry.from_spacing(SHAPE, spacing_mm=(5.0, 5.0, 4.0))  # 0.1 ml
STRUCTURES = ("liver", "tumor", "vessel")
STAGE = toy_stage()
LIVER = np.s_[2:10, 2:12, 2:12]


def certain(labels: np.ndarray, *, sure: float = 1.0) -> Prediction:
    """Probability `sure` for the label of each voxel, the rest for background (or liver)."""
    probabilities = np.zeros((4, *labels.shape), dtype=np.float32)
    for value in range(4):
        probabilities[value][labels == value] = sure
    probabilities[0] += 1 - probabilities.sum(axis=0)
    return Prediction(probabilities, STRUCTURES, GRID)


def a_liver() -> np.ndarray:
    labels = np.zeros(SHAPE, dtype=np.uint8)
    labels[LIVER] = 1
    return labels


def test_the_largest_component_is_kept() -> None:
    labels = a_liver()
    labels[2:4, 15:18, 15:18] = 1  # a spleen
    tidied = tidy(certain(labels), STAGE)
    assert np.array_equal(tidied.liver, a_liver() > 0)
    assert tidied.prediction.probabilities[0, 3, 16, 16] == 1
    assert (tidied.prediction.probabilities[1:, 3, 16, 16] == 0).all()
    assert tidied.flags == ()


def test_components_that_touch_at_a_corner_are_two() -> None:
    mask = np.zeros((4, 4, 4), dtype=bool)
    mask[:2, :2, :2] = True
    mask[2, 2, 2] = True
    assert largest_region(mask).sum() == 8


def test_holes_are_filled_with_liver() -> None:
    labels = a_liver()
    labels[5, 6, 6] = 0
    tidied = tidy(certain(labels), STAGE)
    assert tidied.liver[5, 6, 6]
    assert tidied.prediction.probabilities[:, 5, 6, 6].tolist() == [0, 1, 0, 0]


def test_holes_are_filled_at_a_high_threshold_too() -> None:
    """Probability 0.6 is no liver at a threshold of 0.7, and not certain background either."""
    prediction = certain(a_liver())
    prediction.probabilities[:, 5, 6, 6] = (0.4, 0.6, 0, 0)
    tidied = tidy(prediction, toy_stage(thresholds={"liver": 0.7}))
    assert tidied.liver[5, 6, 6]
    assert tidied.prediction.probabilities[0, 5, 6, 6] == 0


def test_a_bay_is_no_hole() -> None:
    labels = a_liver()
    labels[5, 6, 2:8] = 0
    assert not tidy(certain(labels), STAGE).liver[5, 6, 4]


def test_tumors_and_vessels_belong_to_the_liver() -> None:
    labels = a_liver()
    labels[4:6, 4:6, 4:6] = 2
    labels[7, 7, :12] = np.where(labels[7, 7, :12] > 0, 3, 0)
    tidied = tidy(certain(labels), STAGE)
    assert np.array_equal(tidied.liver, labels > 0)
    assert (tidied.prediction.probabilities[2, 4:6, 4:6, 4:6] == 1).all()
    assert tidied.flags == ()


def test_tumor_outside_is_removed_and_named_with_its_volume() -> None:
    labels = a_liver()
    labels[2:4, 15:18, 15:18] = 2
    tidied = tidy(certain(labels), STAGE)
    assert not tidied.liver[3, 16, 16]
    assert (tidied.prediction.probabilities[2, :, 15:, 15:] == 0).all()
    assert tidied.flags == ("Tumor outside the liver was removed: 1.8 ml.",)


def test_a_tumor_in_the_rim_stays() -> None:
    labels = a_liver()
    labels[5, 5, 12] = 2  # touches the liver's last voxel, so it is part of it
    assert tidy(certain(labels), STAGE).liver[5, 5, 12]


@pytest.mark.parametrize(("threshold", "expected"), [(0.3, True), (0.5, False)])
def test_the_liver_threshold_counts(threshold: float, expected: bool) -> None:
    region = liver_region(certain(a_liver(), sure=0.4), toy_stage(thresholds={"liver": threshold}))
    assert region.any() == expected


def test_the_tumor_threshold_counts_for_what_is_removed() -> None:
    labels = a_liver()
    labels[2:4, 15:18, 15:18] = 2
    for threshold, flags in ((0.3, 1), (0.6, 0)):
        prediction = certain(labels)
        prediction.probabilities[2] *= 0.4
        stage = toy_stage(thresholds={"tumor": threshold})
        assert len(tidy(prediction, stage).flags) == flags


def test_nothing_found_is_an_empty_liver() -> None:
    tidied = tidy(certain(np.zeros(SHAPE, dtype=np.uint8)), STAGE)
    assert not tidied.liver.any()
    assert (tidied.prediction.probabilities[0] == 1).all()


def test_the_outline_keeps_its_probabilities() -> None:
    """Half a voxel of outline would be lost if everything below the threshold became background."""
    prediction = certain(a_liver())
    prediction.probabilities[0, 2:10, 2:12, 12] = 0.7
    prediction.probabilities[1, 2:10, 2:12, 12] = 0.3
    tidied = tidy(prediction, STAGE)
    assert (tidied.prediction.probabilities[1, 2:10, 2:12, 12] == np.float32(0.3)).all()
