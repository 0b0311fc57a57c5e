"""Volumes of lesions at single scales: overlap, division, lesions that a scale does not see."""

import numpy as np
import pytest

from livertumor_cli.geometry import Geometry
from livertumor_cli.measure.scale_spread import scale_volumes_ml

SCAN = Geometry.from_spacing((10, 20, 20), spacing_mm=(2.0, 1.0, 1.0))


def lesions():
    numbers = np.zeros(SCAN.shape, np.uint16)
    numbers[2:6, 2:8, 2:8] = 1
    numbers[2:6, 2:8, 12:16] = 2
    return numbers


def volumes(*masks, geometry=SCAN):
    return scale_volumes_ml(masks, geometry=geometry, lesions=lesions(), scan=SCAN)


def test_the_same_mask_gives_the_same_volumes():
    assert volumes(lesions() > 0).tolist() == [pytest.approx([144 * 0.002, 96 * 0.002])]


def test_more_less_and_nothing():
    more, less = lesions() > 0, np.zeros(SCAN.shape, bool)
    more[6, 2:8, 2:8] = True
    less[2:6, 2:4, 2:8] = True
    found = volumes(more, less, np.zeros_like(less))
    assert found == pytest.approx(np.array([[180, 96], [48, 0], [0, 0]]) * 0.002)


def test_what_overlaps_two_is_divided_to_the_nearest():
    bridge = lesions() > 0
    bridge[3, 4, 8:12] = True
    assert volumes(bridge)[0] == pytest.approx([(144 + 2) * 0.002, (96 + 2) * 0.002])


def test_lesions_that_touch_in_one_scale_stay_two():
    """A piece without a voxel to divide."""
    numbers = np.zeros(SCAN.shape, np.uint16)
    numbers[2:4, 2:8, 2:8], numbers[4:6, 2:8, 2:8] = 1, 2
    found = scale_volumes_ml([numbers > 0], geometry=SCAN, lesions=numbers, scan=SCAN)
    assert found[0] == pytest.approx([72 * 0.002, 72 * 0.002])


def test_what_overlaps_none_does_not_count():
    mask = lesions() > 0
    mask[8:, 15:, 15:] = True
    assert volumes(mask)[0] == pytest.approx([144 * 0.002, 96 * 0.002])


def test_another_grid():
    """A grid of half the voxels over the same part of the patient."""
    coarse = Geometry.from_spacing(
        (10, 10, 10), spacing_mm=(2.0, 2.0, 2.0), origin_mm=(0.5, 0.5, 0)
    )
    mask = np.zeros(coarse.shape, bool)
    mask[2:6, 1:4, 1:4] = True
    assert volumes(mask, geometry=coarse)[0] == pytest.approx([36 * 0.008, 0])


def test_without_lesions():
    none = np.zeros(SCAN.shape, np.uint16)
    found = scale_volumes_ml([lesions() > 0] * 2, geometry=SCAN, lesions=none, scan=SCAN)
    assert found.shape == (2, 0)
