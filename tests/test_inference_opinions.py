"""The average of two networks, voxel by voxel."""

from __future__ import annotations

import numpy as np
import pytest
from toy_recipe import centered_grid, toy_stage

from livertumor_cli.inference.opinions import averaged
from livertumor_cli.inference.prediction import Prediction

GRID = centered_grid((1, 1, 3))
BOTH = ("liver", "tumor", "vessel")
STAGES = (
    toy_stage(thresholds={"tumor": 0.4}),
    toy_stage(classes=("background", "liver", "tumor")),
)


def voxels(structures: tuple[str, ...], *values: tuple[float, ...]) -> Prediction:
    """Probabilities of background and structures at each voxel of a row."""
    columns = np.array(values, dtype=np.float32).T
    return Prediction(columns.reshape(-1, *GRID.shape), structures, GRID)


def test_known_answers() -> None:
    first = voxels(BOTH, (0.1, 0.2, 0.6, 0.1), (0.0, 0.1, 0.0, 0.9), (1.0, 0.0, 0.0, 0.0))
    second = voxels(BOTH[:2], (0.3, 0.3, 0.4), (0.2, 0.0, 0.8), (0.0, 1.0, 0.0))
    found = averaged(first, second, stages=STAGES)
    assert found.structures == BOTH
    expected = [
        (0.2, 0.2, 0.5, 0.1),
        (0.1, 0.0, 0.4, 0.5),  # the vessel takes what background and tumor leave
        (0.5, 0.5, 0.0, 0.0),
    ]
    assert np.allclose(found.probabilities[:, 0, 0].T, expected, atol=1e-6)


def test_the_same_answer_twice_is_that_answer() -> None:
    rng = np.random.default_rng(0)
    values = rng.dirichlet(np.ones(4), 3)
    first, second = (voxels(BOTH, *values) for _ in range(2))
    found = averaged(first, second, stages=STAGES)
    assert np.allclose(found.probabilities[:, 0, 0].T, values, atol=1e-6)
    assert found.probabilities.sum(axis=0) == pytest.approx(1)


def test_what_each_alone_calls_tumor() -> None:
    """The first by its threshold, the second by the largest class."""
    first = voxels(BOTH, (0.0, 0.55, 0.45, 0.0), (0.0, 0.7, 0.3, 0.0), (0.0, 0.1, 0.9, 0.0))
    second = voxels(BOTH[:2], (0.0, 0.55, 0.45), (0.0, 0.4, 0.6), (1.0, 0.0, 0.0))
    found = averaged(first, second, stages=STAGES)
    alone = [np.unpackbits(bits, count=3).tolist() for bits in found.tumor_at_scales]
    assert alone == [[1, 0, 1], [0, 1, 0]]
