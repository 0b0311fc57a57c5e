"""Irregular DICOM series: refused, or resampled with every slice at its true position."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from scans import a_ct, datasets, write_series
from scipy.spatial.transform import Rotation

from livertumor_cli.errors import InputError, Reason
from livertumor_cli.geometry import Geometry
from livertumor_cli.io.dicom_ct import write_datasets
from livertumor_cli.io.formats import read_volume
from livertumor_cli.volume import AIR_HU, Volume

SHAPE = (8, 12, 14)
SLOPE = np.array([3.0, -2.0, 1.5])
HIGHEST_HU = 500


def ramp(lps_mm: np.ndarray, grid: Geometry) -> np.ndarray:
    """HU that grow linearly in the patient, from -500 to 500 within the grid."""
    corners = (grid.corners_lps() - grid.corners_lps().mean(axis=0)) @ SLOPE
    values: np.ndarray = (lps_mm - grid.corners_lps().mean(axis=0)) @ SLOPE
    return values * HIGHEST_HU / corners.max()


def ramp_slices(
    grid: Geometry, shifts_mm: np.ndarray, *, held: Geometry
) -> tuple[list[Dataset], np.ndarray]:
    """Slices of a grid, each moved by its shift along x, y, z of it; and their firsts.

    They show the ramp of `held`, which holds them all, so that every value is a usual HU.
    """
    slices = datasets(Volume(np.zeros(grid.shape, np.int16), grid), seed="ramp")
    firsts = []
    rows, columns = np.indices(grid.shape[1:])
    for index, dataset in enumerate(slices):
        first = grid.index_to_lps(np.array([index, 0.0, 0.0])) + grid.direction @ shifts_mm[index]
        pixels = (
            first
            + rows[..., None] * grid.affine_lps[:3, 1]
            + columns[..., None] * grid.affine_lps[:3, 0]
        )
        dataset.ImagePositionPatient = [f"{value:.10g}" for value in first]
        stored = np.rint((ramp(pixels, held) + 3000) * 10)
        dataset.RescaleSlope, dataset.RescaleIntercept = 0.1, -3000
        dataset.PixelData = stored.astype("<u2").tobytes()
        firsts.append(first)
    return slices, np.array(firsts)


def inside(volume: Volume, firsts: np.ndarray, grid: Geometry) -> np.ndarray:
    """Voxels that both neighboring slices cover, away from the edges."""
    indices = np.stack(np.indices(volume.hu.shape), axis=-1).astype(float)
    places = volume.geometry.index_to_lps(indices)
    normal = np.cross(grid.direction[:, 0], grid.direction[:, 1])
    heights = (firsts - firsts[0]) @ normal
    order = np.argsort(heights)
    heights, firsts = heights[order], firsts[order]
    z = (places - firsts[0]) @ normal
    above = np.clip(np.searchsorted(heights, z - 1e-6), 1, len(heights) - 1)
    covered = np.ones(volume.hu.shape, dtype=bool)
    for neighbor in (above, above - 1):
        way = places - firsts[neighbor]
        for axis, size in ((0, grid.shape[2]), (1, grid.shape[1])):
            pixel = way @ grid.direction[:, axis] / np.linalg.norm(grid.affine_lps[:3, axis])
            covered &= (pixel > 0.05) & (pixel < size - 1.05)
    return covered


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    # A slice missing between two that are moved apart leaves a gap of 2.8 steps: less than 10 mm.
    spacing=st.tuples(st.floats(1.0, 3.5), st.floats(0.5, 2.0), st.floats(0.5, 2.0)),
    tilt=st.floats(-0.5, 0.5),
    uneven=st.lists(st.floats(-0.3, 0.3), min_size=8, max_size=8),
    missing=st.sampled_from([None, 1, 3, 6]),
)
def test_a_ramp_in_the_patient_is_reproduced(
    tmp_path_factory, seed: int, spacing, tilt: float, uneven: list[float], missing: int | None
):
    rotation = Rotation.random(rng=seed).as_matrix()
    affine = np.eye(4)
    affine[:3, :3] = rotation @ np.diag(spacing[::-1])
    affine[:3, 3] = [-50.0, 30.0, 400.0]
    grid = Geometry(SHAPE, affine)
    shifts = np.zeros((SHAPE[0], 3))
    shifts[:, 1] = (np.arange(SHAPE[0]) - (SHAPE[0] - 1) / 2) * spacing[0] * np.tan(tilt)
    shifts[:, 2] = np.array(uneven) * spacing[0]
    shifts[0, 2] = shifts[-1, 2] = 0.5 * spacing[0]  # never a regular stack
    held = grid.grown((0, math.ceil(np.abs(shifts[:, 1]).max() / spacing[1]), 0))
    slices, firsts = ramp_slices(grid, shifts, held=held)
    keep = [index for index in range(SHAPE[0]) if index != missing]
    folder = tmp_path_factory.mktemp("ramp")
    write_datasets(folder, [slices[index] for index in reversed(keep)])
    with pytest.raises(InputError):
        read_volume(folder)
    volume = read_volume(folder, resample_irregular=True)
    assert volume.geometry.is_rectangular
    indices = np.stack(np.indices(volume.hu.shape), axis=-1).astype(float)
    expected = ramp(volume.geometry.index_to_lps(indices), held)
    covered = inside(volume, firsts[keep], grid) & (np.abs(expected) < 700)
    # Offsets within a hundredth of a pixel are not blurred for, and cost that much of the slope.
    steepest = np.abs(np.gradient(expected)).max()
    assert covered.any()
    assert np.abs(volume.hu - expected)[covered].max() < 0.1 + 0.03 * steepest
    assert len(volume.source.sop_instance_uids) == volume.hu.shape[0]
    assert "resampled" in volume.source.notes[0]


def tilted(ct: Volume, *, shift_mm: float) -> list[Dataset]:
    slices = datasets(ct)
    for index, dataset in enumerate(slices):
        x, y, z = (float(value) for value in dataset.ImagePositionPatient)
        dataset.ImagePositionPatient = [x, y + shift_mm * index, z]
    return slices


def test_tilt_grows_the_grid_and_fills_it_with_air(tmp_path: Path, ct: Volume):
    write_datasets(tmp_path, tilted(ct, shift_mm=0.8))  # one row per slice
    volume = read_volume(tmp_path, resample_irregular=True)
    assert volume.hu.shape == (6, 12, 9)
    assert volume.hu.dtype == np.int16
    for index in range(6):
        assert np.array_equal(volume.hu[index, index : index + 7], ct.hu[index])
    assert (volume.hu[0, 7:] == AIR_HU).all()


def test_a_missing_slice_is_interpolated_and_the_others_are_untouched(tmp_path: Path, ct: Volume):
    slices = datasets(ct)
    del slices[2]
    write_datasets(tmp_path, slices)
    volume = read_volume(tmp_path, resample_irregular=True)
    assert volume.geometry.is_same_grid(ct.geometry)
    for index in (0, 1, 3, 4, 5):
        assert np.array_equal(volume.hu[index], ct.hu[index])
    middle = np.rint((ct.hu[1].astype(float) + ct.hu[3]) / 2)
    assert np.array_equal(volume.hu[2], middle)
    assert volume.source.sop_instance_uids[4] == datasets(ct)[4].SOPInstanceUID


def test_thin_slices_are_not_thinned_out_for_thick_ones(tmp_path: Path, ct: Volume):
    slices = datasets(ct)
    for dataset, height in zip(slices, (0.0, 2.0, 4.0, 8.0, 12.0, 16.0), strict=True):
        x, y, _ = dataset.ImagePositionPatient
        dataset.ImagePositionPatient = [x, y, height]
    write_datasets(tmp_path, slices)
    volume = read_volume(tmp_path, resample_irregular=True)
    assert volume.geometry.spacing_mm[0] == pytest.approx(2.0)
    assert np.array_equal(volume.hu[[0, 1, 2, 4, 6, 8]], ct.hu)


def test_a_regular_series_stays_as_it_is(tmp_path: Path, ct: Volume):
    write_series(tmp_path, ct)
    volume = read_volume(tmp_path, resample_irregular=True)
    assert np.array_equal(volume.hu, ct.hu)
    assert volume.source.notes == ()


def test_a_wide_gap_stays_a_refusal_with_its_place(tmp_path: Path):
    slices = datasets(a_ct(spacing_mm=(5.0, 0.8, 0.7)))
    write_datasets(tmp_path, slices[:2] + slices[4:])
    with pytest.raises(InputError) as caught:
        read_volume(tmp_path, resample_irregular=True)
    assert caught.value.reason == Reason.MISSING_SLICES
    assert "15.0 mm" in caught.value.message
    assert "(-120.0, 35.5, 415.2) mm" in caught.value.message


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("ImagePositionPatient", [-120.0, 35.5, 410.25], Reason.DUPLICATE_SLICES),
        ("ImageOrientationPatient", [1, 0, 0, 0, 0, -1], Reason.MIXED_ORIENTATION),
        ("PixelSpacing", [0.9, 0.9], Reason.MIXED_SPACING),
        ("ImagePositionPatient", None, Reason.NO_POSITIONS),
    ],
)
def test_other_faults_are_not_resampled_away(tmp_path: Path, ct: Volume, name, value, reason):
    slices = datasets(ct)
    setattr(slices[1], name, value)
    write_datasets(tmp_path, slices)
    with pytest.raises(InputError) as caught:
        read_volume(tmp_path, resample_irregular=True)
    assert caught.value.reason == reason


def test_uneven_and_doubled_slices_are_named(tmp_path: Path, ct: Volume):
    slices = datasets(ct)
    write_datasets(tmp_path / "gap", slices[:2] + slices[3:])
    with pytest.raises(InputError, match=r"5\.00 mm from \(-120\.0, 35\.5, 412\.8\) mm to"):
        read_volume(tmp_path / "gap")
    again = datasets(ct, seed="again")
    for dataset in again:
        dataset.SeriesInstanceUID = slices[0].SeriesInstanceUID
    write_datasets(tmp_path / "twice", slices + again)
    with pytest.raises(InputError, match=r"12 slices share their position.*and 3 more places"):
        read_volume(tmp_path / "twice")


def test_two_stacks_almost_at_one_place_are_not_mixed(tmp_path: Path, ct: Volume):
    slices = datasets(ct)
    for dataset in datasets(ct, seed="again"):
        dataset.SeriesInstanceUID = slices[0].SeriesInstanceUID
        x, y, z = (float(value) for value in dataset.ImagePositionPatient)
        dataset.ImagePositionPatient = [x, y, z + 0.15]
        slices.append(dataset)
    write_datasets(tmp_path, slices)
    with pytest.raises(InputError) as caught:
        read_volume(tmp_path, resample_irregular=True)
    assert caught.value.reason == Reason.DUPLICATE_SLICES


@pytest.mark.parametrize("resample", [False, True])
def test_two_scans_whose_slices_take_turns_are_refused(tmp_path: Path, ct: Volume, resample: bool):
    """Half a step apart, both together look like one regular stack."""
    slices = datasets(ct, AcquisitionNumber=1)
    for dataset in datasets(ct, seed="again", AcquisitionNumber=2):
        dataset.SeriesInstanceUID = slices[0].SeriesInstanceUID
        x, y, z = (float(value) for value in dataset.ImagePositionPatient)
        dataset.ImagePositionPatient = [x, y, z + 1.25]
        slices.append(dataset)
    write_datasets(tmp_path, slices)
    with pytest.raises(InputError, match="2 acquisitions take turns"):
        read_volume(tmp_path, resample_irregular=resample)


@pytest.mark.parametrize("numbers", [(1, 1, 1, 2, 2, 2), (1, 2, 3, 4, 5, 6), (1, 2, 1, 1, 1, 1)])
def test_blocks_and_numbered_slices_are_one_scan(tmp_path: Path, ct: Volume, numbers):
    slices = datasets(ct)
    for dataset, number in zip(slices, numbers, strict=True):
        dataset.AcquisitionNumber = number
    write_datasets(tmp_path, slices)
    assert np.array_equal(read_volume(tmp_path).hu, ct.hu)


def test_slices_of_two_frames_of_reference_are_not_resampled_into_one(tmp_path: Path, ct: Volume):
    """One slice is missing where the patient was laid anew: its neighbors are no neighbors."""
    slices = datasets(ct)
    for dataset in slices[3:]:
        dataset.FrameOfReferenceUID = "1.2.3"
    write_datasets(tmp_path, slices[:2] + slices[3:])
    with pytest.raises(InputError) as caught:
        read_volume(tmp_path)
    assert caught.value.reason == Reason.MISSING_SLICES
    with pytest.raises(InputError) as caught:
        read_volume(tmp_path, resample_irregular=True)
    assert caught.value.reason == Reason.MIXED_ORIENTATION
