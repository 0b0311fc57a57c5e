"""HU to network input: windows, percentiles, normalizations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy_recipe import toy_stage

from livertumor_cli.inference.intensity import intensity_range, prepare_intensity
from livertumor_cli.recipes.recipe import Normalization

HU = np.array([-1024, -160, 40, 240, 3000], dtype=np.int16)


def test_unit_makes_the_window_0_to_1() -> None:
    stage = toy_stage(hu_window=(-160.0, 240.0), normalization=Normalization.UNIT)
    assert np.allclose(prepare_intensity(HU, stage), [0, 0, 0.5, 1, 1])


def test_symmetric_makes_the_window_minus_1_to_1() -> None:
    stage = toy_stage(hu_window=(-160.0, 240.0), normalization=Normalization.SYMMETRIC)
    assert np.allclose(prepare_intensity(HU, stage), [-1, -1, 0, 1, 1])


def test_zscore_is_that_of_the_body() -> None:
    hu = np.random.default_rng(0).normal(50, 30, 5000).astype(np.float32)
    hu[:3000] = -1000  # however much air there is
    stage = toy_stage(hu_window=(-200.0, 300.0), normalization=Normalization.ZSCORE)
    body = prepare_intensity(hu, stage)[3000:]
    assert body.mean() == pytest.approx(0, abs=1e-4)
    assert body.std() == pytest.approx(1, abs=1e-4)


def test_percentiles_are_those_of_the_body() -> None:
    hu = np.concatenate([np.full(5000, -1000), np.arange(1001)]).astype(np.int16)
    stage = toy_stage(hu_window=None, percentiles=(0.5, 99.5))
    assert intensity_range(hu, stage) == pytest.approx((5, 995))


@pytest.mark.parametrize("normalization", list(Normalization))
@pytest.mark.parametrize("value", [-1000, 50])
@pytest.mark.parametrize("percentiles", [None, (0.5, 99.5)])
def test_constant_images_stay_finite(
    normalization: Normalization, value: int, percentiles: tuple[float, float] | None
) -> None:
    window = (-160.0, 240.0) if percentiles is None else None
    stage = toy_stage(hu_window=window, percentiles=percentiles, normalization=normalization)
    prepared = prepare_intensity(np.full((3, 4, 5), value, dtype=np.int16), stage)
    assert prepared.dtype == np.float32
    assert prepared.shape == (3, 4, 5)
    assert np.isfinite(prepared).all()


@given(
    values=st.lists(st.integers(-1024, 3071), min_size=2, max_size=30),
    normalization=st.sampled_from(list(Normalization)),
    as_float=st.booleans(),
)
def test_order_is_kept_and_the_input_untouched(
    values: list[int], normalization: Normalization, as_float: bool
) -> None:
    hu = np.array(sorted(values), dtype=np.float32 if as_float else np.int16)
    before = hu.copy()
    prepared = prepare_intensity(hu, toy_stage(normalization=normalization))
    assert (np.diff(prepared) >= 0).all()
    assert np.array_equal(hu, before)
