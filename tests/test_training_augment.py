"""Random changes of intensity in training patches."""

# ruff: noqa: E402 (torch is optional: what needs it is imported after the skip)

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from training_cases import a_case

from livertumor_cli.training.augment import (
    AIR_HU,
    Augmentation,
    _blur,
    _thicken_slices,
    add_mass,
    add_table,
    change_intensity,
)
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


def test_thick_slices_stay_where_their_labels_are() -> None:
    ramp = torch.arange(32.0)[:, None, None].expand(32, 4, 4)
    for factor in (2, 3):
        thick = _thicken_slices(ramp, factor=factor)
        # Groups of slices keep their mean, so inside the patch a ramp stays the same ramp.
        assert torch.allclose(thick[4:-4], ramp[4:-4], atol=1e-5)


def test_blur_keeps_a_constant_up_to_the_rim() -> None:
    assert torch.equal(_blur(torch.full((3, 5, 5), -100.0)), torch.full((3, 5, 5), -100.0))


@pytest.mark.parametrize("seed", range(20))
def test_air_stays_air(seed: int) -> None:
    quiet = Augmentation(noise_chance=0.0)
    air = torch.full((4, 6, 6), -160.0)
    changed = change_intensity(np.random.default_rng(seed), air, augmentation=quiet)
    assert float(changed.max()) <= -160.0 + 1e-3


@pytest.mark.parametrize("seed", range(20))
def test_mass_is_as_bright_as_the_liver_and_never_in_it(seed: int):
    hu = torch.full((24, 40, 48), 20.0)
    labels = torch.zeros(hu.shape, dtype=torch.long)
    labels[4:20, 8:30, 4:20] = 1
    hu[labels > 0] = 110.0
    hu[:, :3] = OUTSIDE_HU
    changed = add_mass(np.random.default_rng(seed), hu, labels, spacing_mm=(4.0, 4.0, 4.0))
    assert torch.equal(changed[labels > 0], hu[labels > 0])
    assert bool((changed[:, :3] == OUTSIDE_HU).all())
    mass = changed[changed != hu]
    # The smallest has semi-axes of 15 mm and may lie at the patch's corner: an eighth of it.
    assert mass.numel() * 64 > 0.9 / 8 * 4 / 3 * np.pi * 15**3
    assert abs(float(mass.mean()) - 110) < 4 * 20
    assert 2 < float(mass.std()) < 18


def test_without_a_liver_there_is_no_mass():
    hu = torch.full((8, 16, 16), 40.0)
    changed = add_mass(
        np.random.default_rng(0), hu, torch.zeros(hu.shape).long(), spacing_mm=(4.0, 4.0, 4.0)
    )
    assert torch.equal(changed, hu)
