"""Products along the axes give what ITK's linear interpolation gives, on every grid."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_info
from toy_recipe import centered_grid, rotation_matrix

from livertumor_cli.geometry import Geometry
from livertumor_cli.inference import interpolation
from livertumor_cli.inference.interpolation import interpolate

sizes = st.tuples(*[st.integers(1, 9)] * 3)
many = st.tuples(st.integers(1, 40), st.integers(1, 12), st.integers(1, 12))
steps = st.tuples(*[st.floats(0.4, 4.0)] * 3)
shifts = st.tuples(*[st.floats(-6.0, 6.0)] * 3)
flips = st.tuples(*[st.sampled_from((1.0, -1.0))] * 3)


def stored_grid(shape: tuple[int, int, int], spacing_mm: tuple[float, float, float]) -> Geometry:
    return centered_grid(shape, spacing_mm=spacing_mm, rotation=rotation_matrix((8, -5, 20)))


def placed(
    stored: Geometry,
    shape: tuple[int, int, int],
    *,
    step: tuple[float, ...],
    shift: tuple[float, ...],
    flip: tuple[float, ...] = (1.0, 1.0, 1.0),
) -> Geometry:
    """A grid along the stored one's axes, each step and shift in its voxels."""
    affine = stored.affine_lps.copy()
    affine[:3, :3] *= np.array(step) * np.array(flip)
    affine[:3, 3] = stored.index_to_lps(np.array(shift[::-1]))
    return Geometry(shape, affine)


@settings(max_examples=150)
@given(shape=sizes, target=many, step=steps, shift=shifts, flip=flips)
def test_along_the_axes_it_is_what_itk_gives(shape, target, step, shift, flip) -> None:
    stored = stored_grid(shape, (3.0, 0.8, 1.3))
    wanted = placed(stored, target, step=step, shift=shift, flip=flip)
    values = np.random.default_rng(3).normal(0, 300, shape).astype(np.float32)
    found = interpolate(values, stored, target=wanted, outside=-1024.0)
    expected = interpolation._turned(values, stored, target=wanted, outside=-1024.0)
    # A place half a voxel beyond the outermost centers may be rounded to either side.
    places = stored.lps_to_index(wanted.index_to_lps(np.indices(target).transpose(1, 2, 3, 0)))
    ends = np.minimum(np.abs(places + 0.5), np.abs(places - np.array(shape) + 0.5)).min(axis=-1)
    sure = ends > 1e-6
    assert np.allclose(found[sure], expected[sure], atol=2e-3)
    assert found.dtype == np.float32


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_known_values_between_voxels_and_beyond(dtype: type) -> None:
    stored = Geometry.from_spacing((1, 1, 3), spacing_mm=(1, 1, 2))
    values = np.array([[[10, 20, 40]]], dtype=dtype)
    target = Geometry.from_spacing((1, 1, 9), spacing_mm=(1, 1, 0.75), origin_mm=(-1.25, 0, 0))
    found = interpolate(values, stored, target=target, outside=-7.0)
    # x = -1.25, -0.5, 0.25, 1, 1.75, 2.5, 3.25, 4, 4.75 mm; voxels at 0, 2 and 4 reach 1 mm on.
    assert found.ravel() == pytest.approx([-7, 10, 11.25, 15, 18.75, 25, 32.5, 40, 40])


def test_the_same_grid_gives_the_same_numbers() -> None:
    stored = stored_grid((20, 9, 7), (2.5, 0.7, 0.7))
    values = np.random.default_rng(1).integers(-1024, 3000, stored.shape).astype(np.int16)
    assert np.array_equal(interpolate(values, stored, target=stored, outside=-1024.0), values)


def test_slabs_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    stored = stored_grid((30, 12, 14), (1.0, 1.0, 1.0))
    values = np.random.default_rng(1).normal(size=stored.shape).astype(np.float32)
    for step in (0.4, 2.3):  # finer, where z comes last, and coarser, where it comes first
        target = placed(stored, (25, 9, 9), step=(0.9, 0.9, step), shift=(1.3, 0.4, -2.2))
        whole = interpolate(values, stored, target=target, outside=0.0)
        monkeypatch.setattr(interpolation, "SLAB_SLICES", 3)
        assert np.allclose(
            interpolate(values, stored, target=target, outside=0.0), whole, atol=1e-6
        )
        monkeypatch.undo()


@pytest.mark.parametrize("degrees", [1e-6, 0.02])
def test_which_grids_lie_along_the_axes(degrees: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """0.02 degrees are a fifteenth of a voxel at the far end of 200."""
    asked: list[Geometry] = []
    turned = interpolation._turned

    def remember(*arguments, target, outside):
        asked.append(target)
        return turned(*arguments, target=target, outside=outside)

    monkeypatch.setattr(interpolation, "_turned", remember)
    stored = centered_grid((2, 200, 200), spacing_mm=(1.0, 1.0, 1.0))
    target = centered_grid(
        (2, 200, 200), spacing_mm=(1.0, 1.0, 1.0), rotation=rotation_matrix((0, 0, degrees))
    )
    interpolate(np.zeros(stored.shape, np.float32), stored, target=target, outside=0.0)
    assert len(asked) == (degrees > 0.01)


@settings(deadline=None, max_examples=60)
@given(
    angles=st.tuples(*[st.floats(-40, 40)] * 3), step=steps, shift=shifts, start=st.integers(0, 7)
)
def test_a_slab_of_a_turned_grid_is_that_of_the_whole(angles, step, shift, start):
    values = np.random.default_rng(3).normal(size=(9, 8, 7)).astype(np.float32)
    stored = stored_grid(values.shape, (2.5, 1.5, 1.0))
    target = centered_grid((9, 10, 11), spacing_mm=step, rotation=rotation_matrix(angles))
    affine = target.affine_lps.copy()
    affine[:3, 3] += shift
    target = Geometry(target.shape, affine)
    slab = (slice(start, start + 2), slice(2, 9), slice(0, 5))
    whole = interpolate(values, stored, target=target, outside=-5.0)
    part = interpolate(values, stored, target=target.cropped(slab), outside=-5.0)
    np.testing.assert_allclose(part, whole[slab], atol=1e-4)


def test_blas_works_on_the_callers_thread_alone():
    # Beside a network that uses all cores, threads that wait for one another cost seconds.
    grid = Geometry.from_spacing((4, 5, 6), spacing_mm=(2.0, 2.0, 2.0))
    interpolate(np.ones(grid.shape, np.float32), grid, target=grid, outside=0.0)
    pools = [pool for pool in threadpool_info() if pool.get("threading_layer") == "pthreads"]
    assert [pool["num_threads"] for pool in pools] == [1] * len(pools)
    if sys.platform != "darwin":  # where NumPy may use Accelerate
        assert pools
