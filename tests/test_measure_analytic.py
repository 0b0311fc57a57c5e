"""Scores of shapes whose answer is known on paper, and of random ones by other programs."""

import math

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage

from livertumor_cli.measure.agreement import overlap, surface_distances

SPACINGS = [(1.0, 1.0, 1.0), (5.0, 0.8, 0.8), (0.7, 2.0, 1.1)]


def ball(radius_mm, spacing_mm, shape, center_mm=(0.0, 0.0, 0.0)):
    grids = np.ogrid[tuple(slice(0, size) for size in shape)]
    squares = [
        ((grid - (size - 1) / 2) * step - middle) ** 2
        for grid, size, step, middle in zip(grids, shape, spacing_mm, center_mm, strict=True)
    ]
    return sum(squares) <= radius_mm**2


@pytest.mark.parametrize("spacing_mm", SPACINGS)
def test_balls_of_one_center(spacing_mm):
    shape = tuple(math.ceil(64 / step) for step in spacing_mm)
    small, large = (ball(radius, spacing_mm, shape) for radius in (20.0, 26.0))
    scores = overlap(small, large)
    assert scores.dice == pytest.approx(2 * 20**3 / (20**3 + 26**3), abs=0.01)
    assert scores.rvd == pytest.approx(20**3 / 26**3 - 1, abs=0.015)
    distances = surface_distances(small, large, spacing_mm=spacing_mm)
    # Surface voxels lie up to a voxel inside the balls, and the nearest of them count.
    step = max(spacing_mm)
    assert distances.assd_mm == pytest.approx(6, abs=0.5 * step)
    assert distances.rmsd_mm == pytest.approx(6, abs=0.5 * step)
    assert distances.hd95_mm == pytest.approx(6, abs=step)
    assert distances.msd_mm == pytest.approx(6, abs=step)
    assert distances.assd_mm <= distances.rmsd_mm <= distances.msd_mm


@pytest.mark.parametrize(("axis", "step_mm"), [(0, 4.0), (1, 0.5), (2, 2.0)])
def test_plates_three_voxels_apart(axis, step_mm):
    """Every voxel of two parallel plates is surface, and as far from the other as all others."""
    plate, other = np.zeros((2, 12, 12, 12), bool)
    np.moveaxis(plate, axis, 0)[4] = True
    np.moveaxis(other, axis, 0)[7] = True
    scores = surface_distances(plate, other, spacing_mm=(4.0, 0.5, 2.0))
    for value in (scores.assd_mm, scores.rmsd_mm, scores.hd95_mm, scores.msd_mm):
        assert value == pytest.approx(3 * step_mm)


@pytest.mark.parametrize(("axis", "step_mm"), [(0, 4.0), (1, 0.5), (2, 2.0)])
def test_a_box_against_itself_moved_by_three_voxels(axis, step_mm):
    reference = np.zeros((30, 30, 30), bool)
    reference[5:15, 6:16, 7:17] = True
    prediction = np.roll(reference, 3, axis=axis)
    scores = overlap(prediction, reference)
    assert (scores.dice, scores.voe) == (0.7, pytest.approx(6 / 13))
    assert (scores.rvd, scores.rvd_lits) == (0, 0)
    distances = surface_distances(prediction, reference, spacing_mm=(4.0, 0.5, 2.0))
    assert distances.msd_mm == pytest.approx(3 * step_mm)
    # Far more than a twentieth of the voxels lie on the face that moved away.
    assert distances.hd95_mm == pytest.approx(3 * step_mm)


def random_masks(seed):
    generator = np.random.default_rng(seed)
    smooth = [ndimage.gaussian_filter(generator.normal(size=(20, 40, 30)), 3) for _ in range(2)]
    return tuple(field > 0.02 for field in smooth)


@pytest.mark.parametrize("spacing_mm", SPACINGS)
@pytest.mark.parametrize("seed", range(3))
def test_distances_agree_with_distance_maps(seed, spacing_mm):
    """The formulas of the protocol with erosions and Euclidean distance maps."""
    prediction, reference = random_masks(seed)
    structure = ndimage.generate_binary_structure(3, 2)
    surfaces = [mask ^ ndimage.binary_erosion(mask, structure) for mask in (prediction, reference)]
    maps = [ndimage.distance_transform_edt(~one, sampling=spacing_mm) for one in surfaces]
    there, back = maps[1][surfaces[0]], maps[0][surfaces[1]]
    count = there.size + back.size
    scores = surface_distances(prediction, reference, spacing_mm=spacing_mm)
    assert scores.assd_mm == pytest.approx((there.sum() + back.sum()) / count)
    assert scores.rmsd_mm == pytest.approx(math.sqrt(((there**2).sum() + (back**2).sum()) / count))
    assert scores.msd_mm == pytest.approx(max(there.max(), back.max()))
    hd95_mm = max(np.percentile(there, 95), np.percentile(back, 95))
    assert scores.hd95_mm == pytest.approx(hd95_mm)


@pytest.mark.parametrize("seed", range(3))
def test_overlap_agrees_with_simpleitk(seed):
    prediction, reference = random_masks(seed)
    judge = sitk.LabelOverlapMeasuresImageFilter()
    judge.Execute(
        *(sitk.GetImageFromArray(one.astype(np.uint8)) for one in (reference, prediction))
    )
    scores = overlap(prediction, reference)
    assert scores.dice == pytest.approx(judge.GetDiceCoefficient())
    assert scores.jaccard == pytest.approx(judge.GetJaccardCoefficient())
    assert 1 - scores.voe == pytest.approx(judge.GetJaccardCoefficient())
