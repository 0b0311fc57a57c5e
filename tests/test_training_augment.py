"""Random changes of intensity in training patches."""

# ruff: noqa: E402 (torch is optional: what needs it is imported after the skip)

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from training_cases import a_case

from livertumor_cli.training.augment import AIR_HU, Augmentation, add_table, change_intensity
from livertumor_cli.training.cache import OUTSIDE_HU


def test_intensity_changes_are_reproducible_and_leave_the_input_alone():
    hu = torch.from_numpy(a_case().hu).float()
    before = hu.clone()
    first, again = (
        change_intensity(np.random.default_rng(5), hu, augmentation=Augmentation())
        for _ in range(2)
    )
    assert torch.equal(first, again)
    assert torch.equal(hu, before)


@pytest.mark.parametrize("seed", range(20))
def test_intensity_changes_keep_the_order_of_tissues(seed: int):
    hu = torch.full((6, 12, 8), 60.0)
    hu[:, :8] = 110.0
    hu[:, :6] = -100.0
    hu[:, :3] = OUTSIDE_HU
    changed = change_intensity(
        np.random.default_rng(seed), hu, augmentation=replace(Augmentation(), noise_hu=0.0)
    )
    assert bool(torch.isfinite(changed).all())
    # The blur pads with zeros, so the outermost voxels are left out.
    air, fat, liver, tumor = (float(changed[:, row, 2:-2].mean()) for row in (1, 4, 7, 10))
    assert air < fat < tumor < liver
    assert abs(liver - 110) < 0.15 * 110 + 15 + 30


def test_table_stands_in_air_only():
    hu = torch.full((4, 16, 8), AIR_HU)
    hu[:, 4:10] = 50.0
    for seed in range(20):
        changed = add_table(np.random.default_rng(seed), hu)
        assert torch.equal(changed[hu > AIR_HU], hu[hu > AIR_HU])
        rows = (changed != hu).any(dim=0).any(dim=1).nonzero().flatten()
        assert len(rows) <= 3
        assert all(int(row) >= 8 for row in rows)
