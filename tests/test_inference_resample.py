"""Grids and resampling: nothing moves, whatever order and obliquity a scan is stored in."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_recipe import centered_grid, grid_points, rotation_matrix

from livertumor_cli.geometry import Geometry, box_holding
from livertumor_cli.inference import resample
from livertumor_cli.inference.resample import patient_grid, resample_to, to_patient_axes

angles = st.tuples(*[st.floats(-180, 180)] * 3)
spacings = st.tuples(st.floats(0.5, 6), st.floats(0.5, 3), st.floats(0.5, 3))
shapes = st.tuples(*[st.integers(1, 9)] * 3)

ORIENTATIONS = [
    (order, signs) for order in permutations(range(3)) for signs in product((1, -1), repeat=3)
]


def oriented(geometry: Geometry, order: tuple[int, ...], signs: tuple[int, ...]) -> Geometry:
    """A grid over the same voxels whose x, y, z axes are the grid's `order`, with `signs`."""
    columns = geometry.affine_lps[:3, :3][:, list(order)] * np.array(signs)
    sizes = np.array(geometry.shape[::-1])[list(order)]
    first = np.zeros(3)
    for axis, sign in zip(order, signs, strict=True):
        first[axis] = 0 if sign > 0 else geometry.shape[2 - axis] - 1
    affine = np.eye(4)
    affine[:3, :3] = columns
    affine[:3, 3] = geometry.index_to_lps(first[::-1])
    return Geometry((int(sizes[2]), int(sizes[1]), int(sizes[0])), affine)


def ramp(geometry: Geometry) -> np.ndarray:
    """HU that grow along every patient axis."""
    return (grid_points(geometry) @ np.array([1.0, -2.0, 0.5]) + 40).astype(np.float32)


@settings(max_examples=60)
@given(shape=shapes, spacing_mm=spacings, degrees=angles, wanted=spacings)
def test_the_patient_grid_covers_the_scan(shape, spacing_mm, degrees, wanted) -> None:
    scan = centered_grid(shape, spacing_mm=spacing_mm, rotation=rotation_matrix(degrees))
    grid = patient_grid(scan, wanted)
    assert grid.spacing_mm == pytest.approx(wanted)
    assert np.allclose(grid.direction, np.eye(3))
    outer = scan.index_to_lps(
        np.array(list(product(*[(-0.5, size - 0.5) for size in shape])), dtype=float)
    )
    inside = grid.lps_to_index(outer)
    # The grid's own tolerance is a thousandth of a voxel.
    assert (inside >= -0.5 - 1e-3).all()
    assert (inside <= np.array(grid.shape) - 0.5 + 1e-3).all()
    # No smaller grid would do.
    spans = inside.max(axis=0) - inside.min(axis=0)
    assert (np.array(grid.shape) <= np.maximum(1, np.ceil(spans + 1e-3))).all()


@pytest.mark.parametrize(("order", "signs"), ORIENTATIONS)
def test_axis_orders_are_turned_back(order: tuple[int, ...], signs: tuple[int, ...]) -> None:
    grid = centered_grid((4, 5, 6), spacing_mm=(3.0, 0.7, 1.1), rotation=rotation_matrix((8, 3, 5)))
    stored = oriented(grid, order, signs)
    turned, geometry = to_patient_axes(ramp(stored), stored)
    assert geometry.is_same_grid(grid, tolerance_mm=1e-9)
    assert np.allclose(turned, ramp(grid), atol=1e-4)


@settings(max_examples=40)
@given(shape=shapes, degrees=angles)
def test_turning_keeps_every_voxel_in_its_place(shape, degrees) -> None:
    grid = centered_grid(shape, spacing_mm=(2.0, 0.8, 1.3), rotation=rotation_matrix(degrees))
    values = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    turned, geometry = to_patient_axes(values, grid)
    assert np.shares_memory(turned, values)
    places = {tuple(np.round(p, 6)): v for p, v in zip_voxels(grid, values)}
    assert {tuple(np.round(p, 6)): v for p, v in zip_voxels(geometry, turned)} == places
    # The closest axes: no two of them swapped would point better.
    weights = np.abs(geometry.direction)
    assert (
        np.trace(weights)
        >= max(weights[range(3), order].sum() for order in permutations(range(3))) - 1e-9
    )


def zip_voxels(geometry: Geometry, values: np.ndarray):
    return zip(grid_points(geometry).reshape(-1, 3) + 0.0, values.ravel(), strict=True)


@settings(max_examples=25)
@given(degrees=angles, wanted=st.tuples(*[st.floats(1.0, 1.9)] * 3))
def test_a_linear_ramp_is_reproduced(degrees, wanted) -> None:
    rotation = rotation_matrix(degrees)
    scan = centered_grid((20, 22, 24), spacing_mm=(3.0, 2.0, 2.2), rotation=rotation)
    target = centered_grid((8, 9, 10), spacing_mm=wanted)
    assert np.allclose(
        resample_to(ramp(scan), scan, target=target, outside_hu=-1000), ramp(target), atol=1e-3
    )


def test_a_ramp_survives_averaging_and_another_grid() -> None:
    scan = centered_grid((36, 40, 44), spacing_mm=(1.0, 0.5, 0.7))
    target = centered_grid(
        (4, 5, 6), spacing_mm=(4.1, 2.3, 2.2), rotation=rotation_matrix((0, 0, 9))
    )
    found = resample_to(ramp(scan), scan, target=target, outside_hu=-1000)
    assert np.allclose(found, ramp(target), atol=1e-3)


def test_the_same_grid_returns_the_same_values() -> None:
    rotation = rotation_matrix((20, 30, -15))
    scan = centered_grid((7, 8, 9), spacing_mm=(3.0, 0.7, 0.9), rotation=rotation)
    hu = np.random.default_rng(0).integers(-1000, 1000, scan.shape).astype(np.int16)
    assert np.allclose(resample_to(hu, scan, target=scan, outside_hu=-5000), hu, atol=1e-2)


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_block_averaging_keeps_the_mean(dtype: type) -> None:
    scan = centered_grid((12, 16, 20), spacing_mm=(1.0, 1.0, 1.0))
    hu = np.random.default_rng(0).normal(50, 200, scan.shape).astype(dtype)
    target = patient_grid(scan, (3.0, 4.0, 4.0))
    found = resample_to(hu, scan, target=target, outside_hu=0)
    blocks = hu.astype(float).reshape(4, 3, 4, 4, 5, 4).mean(axis=(1, 3, 5))
    # Whole HU stay whole: a mean is rounded by half a unit at most.
    assert np.allclose(found, blocks, atol=0.501 if dtype is np.int16 else 1e-3)


@pytest.mark.parametrize("factors", [[1, 2, 2], [4, 5, 3], [3, 1, 7]])
@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_block_means_are_those_of_itk(dtype: type, factors: list[int]) -> None:
    """Whole numbers too, whose halves go up on either side of zero."""
    rng = np.random.default_rng(7)
    hu = rng.integers(-1100, 3100, [9 * factor for factor in factors]).astype(dtype)
    shrunk = sitk.BinShrink(sitk.GetImageFromArray(hu), factors[::-1])
    found = resample._block_means(hu, factors)
    assert found.dtype == dtype
    np.testing.assert_allclose(found, sitk.GetArrayFromImage(shrunk), rtol=1e-6)


def test_a_large_block_of_metal_does_not_overflow() -> None:
    metal = np.full((45, 45, 45), 32767, np.int16)
    assert resample._block_means(metal, [45, 45, 45]) == 32767


def test_noise_is_averaged_not_picked() -> None:
    scan = centered_grid((24, 24, 24), spacing_mm=(1.0, 1.0, 1.0))
    noise = np.random.default_rng(0).normal(0, 100, scan.shape).astype(np.float32)
    found = resample_to(noise, scan, target=patient_grid(scan, (4.0, 4.0, 4.0)), outside_hu=0)
    assert found.std() < 100 / 8 * 1.3


@pytest.mark.parametrize("spacing_mm", [(2.0, 1.5, 1.5), (4.0, 4.0, 4.0), (0.9, 0.8, 0.7)])
@pytest.mark.parametrize("degrees", [(0, 0, 0), (12, -9, 20)])
def test_48_axis_orders_give_the_identical_array(spacing_mm, degrees) -> None:
    grid = centered_grid(
        (14, 18, 22), spacing_mm=(2.5, 0.75, 1.25), rotation=rotation_matrix(degrees)
    )
    hu = np.random.default_rng(0).integers(-1000, 1000, grid.shape).astype(np.int16)
    target = patient_grid(grid, spacing_mm)
    expected = resample_to(hu, grid, target=target, outside_hu=-1024)
    for order, signs in ORIENTATIONS:
        stored = oriented(grid, order, signs)
        nearest = np.rint(grid.lps_to_index(grid_points(stored))).astype(int)
        values = hu[tuple(np.moveaxis(nearest, -1, 0))]
        assert patient_grid(stored, spacing_mm).is_same_grid(target, tolerance_mm=1e-9)
        found = resample_to(values, stored, target=target, outside_hu=-1024)
        assert np.array_equal(found, expected)


def test_outside_is_outside() -> None:
    scan = centered_grid((6, 6, 6), spacing_mm=(2.0, 2.0, 2.0))
    hu = np.full(scan.shape, 100, dtype=np.int16)
    target = centered_grid((12, 12, 12), spacing_mm=(2.0, 2.0, 2.0))
    found = resample_to(hu, scan, target=target, outside_hu=-1024)
    assert (found[3:9, 3:9, 3:9] == 100).all()
    assert (found[:2] == -1024).all()
    far = Geometry.from_spacing((2, 2, 2), spacing_mm=(1, 1, 1), origin_mm=(500, 0, 0))
    assert (resample_to(hu, scan, target=far, outside_hu=-1024) == -1024).all()


@settings(max_examples=60)
@given(shape=shapes, degrees=angles, part=st.data())
def test_a_box_holds_its_points(shape, degrees, part) -> None:
    grid = centered_grid(shape, spacing_mm=(2.0, 1.0, 1.5), rotation=rotation_matrix(degrees))
    index = np.array([part.draw(st.floats(0, size - 1)) for size in shape])
    least = part.draw(shapes)
    box = box_holding(grid, grid.index_to_lps(index)[None], least=least)
    for place, span, size, few in zip(index, box, shape, least, strict=True):
        assert 0 <= span.start <= place + 1e-5
        assert place - 1e-5 <= span.stop - 1 <= size - 1
        assert span.stop - span.start >= min(few, size)


def test_a_box_beyond_the_grid_is_its_nearest_voxels() -> None:
    grid = Geometry.from_spacing((4, 4, 4), spacing_mm=(1, 1, 1))
    box = box_holding(grid, np.array([[-20.0, 50.0, 1.0], [-10.0, 60.0, 2.0]]), least=(1, 2, 2))
    assert box == (slice(1, 3), slice(2, 4), slice(0, 2))


def test_memory_that_runs_out_in_itk_is_told_as_elsewhere() -> None:
    """ITK calls it a RuntimeError, which a batch would take for a fault of the program."""
    grid = centered_grid((4, 4, 4))
    too_large = Geometry.from_spacing((10**5,) * 3, spacing_mm=(1.0,) * 3, origin_mm=(0.0,) * 3)
    with pytest.raises(MemoryError):
        resample_to(ramp(grid), grid, target=too_large, outside_hu=0.0)


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_averaging_by_slabs_is_averaging(monkeypatch: pytest.MonkeyPatch, dtype: type) -> None:
    rng = np.random.default_rng(5)
    scan = centered_grid((23, 14, 17), spacing_mm=(1.0, 0.7, 0.7), rotation=np.eye(3))
    hu = rng.integers(-1000, 1000, scan.shape).astype(dtype)
    target = patient_grid(scan, (2.5, 1.5, 1.5))
    whole = resample_to(hu, scan, target=target, outside_hu=-1024)
    monkeypatch.setattr(resample, "SLAB_VOXELS", 3 * 14 * 17)
    np.testing.assert_array_equal(resample_to(hu, scan, target=target, outside_hu=-1024), whole)
