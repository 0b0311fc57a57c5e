"""What the second stage sees in training."""

# ruff: noqa: E402 (torch is optional: what needs it is imported after the skip)

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from livertumor_cli.training.cache import TrainingCase
from livertumor_cli.training.surroundings import (
    FARTHEST_MM,
    distance_to_liver,
    random_region,
)

SPACING_MM = (2.0, 1.5, 1.5)


def a_case(labels: np.ndarray) -> TrainingCase:
    return TrainingCase("made", np.zeros(labels.shape, np.int16), labels, True, False)


def test_distance_is_zero_inside_and_grows_in_mm_outside() -> None:
    labels = np.zeros((40, 40, 60), dtype=np.uint8)
    labels[10:30, 10:30, 10:30] = 1
    distance = distance_to_liver(a_case(labels), spacing_mm=SPACING_MM)
    assert distance.shape == labels.shape
    assert float(distance[12:28, 12:28, 12:28].max()) == 0.0
    # 20 voxels of 1.5 mm beyond the last liver voxel, to the two voxels that a step takes.
    assert float(distance[20, 20, 49]) == pytest.approx(30.0, abs=3.0)


def test_without_a_liver_everything_is_far() -> None:
    distance = distance_to_liver(a_case(np.zeros((6, 6, 6), np.uint8)), spacing_mm=SPACING_MM)
    assert torch.equal(distance, torch.full((6, 6, 6), FARTHEST_MM))


def test_region_holds_most_of_the_liver_and_not_what_lies_far() -> None:
    distance = torch.full((32, 64, 64), 60.0)
    distance[:, 20:40, 20:40] = 0.0
    inside, outside = [], []
    for seed in range(40):
        region = random_region(
            np.random.default_rng(seed), distance, reach_mm=15.0, spacing_mm=SPACING_MM
        )
        inside.append(float(region[distance == 0].float().mean()))
        outside.append(float(region[distance > 0].float().mean()))
    assert np.mean(inside) > 0.95
    # Without an extra piece nothing far away is shown; with one, something is.
    assert min(outside) == 0.0
    assert max(outside) > 0.02
