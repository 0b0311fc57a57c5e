"""Numbering of lesions: what touches, which comes first, what happens without any."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livertumor_cli.anatomy import Label
from livertumor_cli.errors import InputError, Reason
from livertumor_cli.geometry import bounding_box
from livertumor_cli.measure.components import (
    largest_component,
    number_lesions,
    number_tumors,
)


def mask_of(shape, *boxes):
    mask = np.zeros(shape, bool)
    for box in boxes:
        mask[box] = True
    return mask


TOUCH_AT_CORNER = mask_of((4, 4, 4), np.s_[0:2, 0:2, 0:2], np.s_[2:4, 2:4, 2:4])


@pytest.mark.parametrize(("connectivity", "count"), [(26, 1), (18, 2), (6, 2)])
def test_voxels_touching_at_a_corner(connectivity, count):
    assert number_lesions(TOUCH_AT_CORNER, connectivity=connectivity).max() == count


def test_lesions_touching_at_a_corner_are_one_by_default():
    assert number_lesions(TOUCH_AT_CORNER).max() == 1


def test_numbers_follow_falling_size():
    mask = mask_of((5, 9, 9), np.s_[0, 0, 0], np.s_[0, 4:7, 4:7], np.s_[4, 0:2, 0:2])
    lesions = number_lesions(mask)
    assert lesions.dtype == np.uint8
    assert (lesions[0, 4, 4], lesions[4, 0, 0], lesions[0, 0, 0]) == (1, 2, 3)
    assert np.array_equal(lesions > 0, mask)


def test_equal_sizes_are_ordered_by_first_voxel():
    mask = mask_of((3, 7, 7), np.s_[2, 0, 0:2], np.s_[0, 6, 5:7], np.s_[0, 2, 0:2])
    lesions = number_lesions(mask)
    assert (lesions[0, 2, 0], lesions[0, 6, 5], lesions[2, 0, 0]) == (1, 2, 3)


def test_same_mask_gives_same_numbers_in_any_memory_order():
    mask = np.random.default_rng(1).random((9, 10, 11)) > 0.9
    assert np.array_equal(number_lesions(mask), number_lesions(np.asfortranarray(mask)))


def test_lesions_on_the_edge_of_the_scan_do_not_wrap_round():
    mask = mask_of((3, 3, 6), np.s_[:, :, 0], np.s_[:, :, 5])
    assert number_lesions(mask).max() == 2


def test_no_lesion():
    lesions = number_lesions(np.zeros((3, 4, 5), bool))
    assert lesions.shape == (3, 4, 5)
    assert not lesions.any()


@pytest.mark.parametrize(("count", "kind"), [(1, np.uint8), (255, np.uint8), (256, np.uint16)])
def test_numbers_have_as_many_bits_as_they_need(count, kind):
    mask = np.zeros((1, 1, 2 * count), bool)
    mask[..., ::2] = True
    lesions = number_lesions(mask)
    assert lesions.dtype == kind
    assert np.array_equal(lesions[mask], np.arange(1, count + 1))


def test_more_pieces_than_numbers_are_refused():
    z, y, x = np.indices((52, 52, 52))
    with pytest.raises(InputError) as caught:
        number_lesions((z + y + x) % 2 == 0, connectivity=6)
    assert caught.value.reason is Reason.TOO_LARGE


def test_unknown_connectivity_is_a_mistake():
    with pytest.raises(ValueError, match="connectivity"):
        number_lesions(TOUCH_AT_CORNER, connectivity=8)


def test_largest_component():
    mask = mask_of((5, 9, 9), np.s_[0, 0, 0], np.s_[0, 4:7, 4:7], np.s_[4, 0:2, 0:2])
    assert np.array_equal(largest_component(mask), mask_of(mask.shape, np.s_[0, 4:7, 4:7]))


def test_largest_component_of_equal_ones_is_the_first():
    mask = mask_of((3, 7, 7), np.s_[2, 0, 0:2], np.s_[0, 6, 5:7])
    assert np.array_equal(largest_component(mask), mask_of(mask.shape, np.s_[0, 6, 5:7]))


def test_largest_component_of_nothing_is_nothing():
    assert not largest_component(np.zeros((2, 2, 2), bool)).any()


def test_bounding_box():
    mask = mask_of((5, 6, 7), np.s_[1, 2, 3], np.s_[3, 4, 3])
    assert bounding_box(mask) == (slice(1, 4), slice(2, 5), slice(3, 4))
    assert bounding_box(np.zeros((2, 2, 2), bool)) is None


@settings(max_examples=50, deadline=None)
@given(
    seed=st.integers(0, 2**31), shares=st.sampled_from([(1, 0, 0), (0.9, 0.05, 0.05), (0, 0, 1)])
)
def test_tumors_of_a_label_map_are_the_lesions_of_its_mask(seed: int, shares):
    """Without labels, with a few, and with nothing but tumor."""
    labels = np.random.default_rng(seed).choice(3, size=(5, 6, 7), p=shares).astype(np.uint8)
    found, expected = number_tumors(labels), number_lesions(labels == Label.TUMOR)
    assert np.array_equal(found, expected)
    assert found.dtype == expected.dtype
