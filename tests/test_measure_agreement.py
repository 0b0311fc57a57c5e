"""Agreement scores against hand results, the cases where LiTS scoring fails among them."""

import math

import numpy as np
import pytest

from livertumor_cli.geometry import Geometry
from livertumor_cli.measure.agreement import overlap, surface_distances
from livertumor_cli.measure.comparison import compare_case
from livertumor_cli.measure.components import number_lesions
from livertumor_cli.measure.detection import Match, Matching, detect_lesions, found_fractions
from livertumor_cli.measure.lesion_agreement import (
    PredictedLesion,
    ReferenceLesion,
    classes_by_size,
)

EMPTY = np.zeros((3, 4, 5), bool)


def boxes(*parts, shape=(3, 12, 40)):
    mask = np.zeros(shape, bool)
    for part in parts:
        mask[part] = True
    return mask


def numbered(*parts):
    """Boxes numbered in the order given."""
    lesions = np.zeros((3, 12, 40), np.uint16)
    for number, part in enumerate(parts, start=1):
        lesions[part] = number
    return lesions


def test_overlap_of_six_and_four_voxels_with_three_common():
    prediction = boxes(np.s_[0, 0, 0:6])
    scores = overlap(prediction, boxes(np.s_[0, 0, 3:7]))
    assert scores.dice == pytest.approx(6 / 10)
    assert scores.jaccard == pytest.approx(3 / 7)
    assert scores.voe == pytest.approx(4 / 7)
    assert scores.rvd == pytest.approx(0.5)
    assert scores.rvd_lits == pytest.approx(-1 / 3)


def test_overlap_of_empty_masks():
    both = overlap(EMPTY, EMPTY)
    assert (both.dice, both.jaccard, both.voe) == (1, 1, 0)
    assert math.isnan(both.rvd)
    assert math.isnan(both.rvd_lits)
    one = overlap(EMPTY, ~EMPTY)
    assert (one.dice, one.jaccard, one.voe, one.rvd) == (0, 0, 1, -1)
    assert math.isnan(one.rvd_lits)


def test_surface_distances_of_two_voxels():
    scores = surface_distances(
        boxes(np.s_[0, 0, 0]), boxes(np.s_[2, 0, 3]), spacing_mm=(2.0, 1.0, 1.0)
    )
    for value in (scores.assd_mm, scores.rmsd_mm, scores.hd95_mm, scores.msd_mm):
        assert value == pytest.approx(5)


def test_surface_distances_of_a_line_and_its_longer_twin():
    # 10 voxels against 11: one voxel, seen from one side only, is 3 mm away.
    prediction, reference = boxes(np.s_[0, 0, 0:10]), boxes(np.s_[0, 0, 0:11])
    scores = surface_distances(prediction, reference, spacing_mm=(1.0, 1.0, 3.0))
    assert scores.assd_mm == pytest.approx(3 / 21)
    assert scores.rmsd_mm == pytest.approx(math.sqrt(9 / 21))
    assert scores.msd_mm == pytest.approx(3)
    # Of 11 distances (ten 0, one 3) the 95th percentile lies halfway between the last two.
    assert scores.hd95_mm == pytest.approx(1.5)


def test_hd95_is_the_larger_direction():
    prediction, reference = boxes(np.s_[0, 0, 0:2]), boxes(np.s_[0, 0, 0:30])
    scores = surface_distances(prediction, reference, spacing_mm=(1.0, 1.0, 1.0))
    back = np.concatenate([[0, 0], np.arange(1, 29)])
    assert scores.hd95_mm == pytest.approx(np.percentile(back, 95))


def test_surface_is_what_an_18_neighborhood_erodes():
    # In a 5 x 5 x 5 cube the 3 x 3 x 3 core survives; from a shell to itself all distances are 0.
    cube = boxes(np.s_[0:5, 0:5, 0:5], shape=(5, 5, 5))
    hollow = cube.copy()
    hollow[2, 2, 2] = False
    same = surface_distances(cube, cube, spacing_mm=(1, 1, 1))
    assert (same.assd_mm, same.msd_mm) == (0, 0)
    # The hole adds its 18 neighbors to the surface; six of them lie 1 below, twelve as well.
    scores = surface_distances(hollow, cube, spacing_mm=(1, 1, 1))
    assert scores.assd_mm == pytest.approx(18 / (98 + 98 + 18))
    assert scores.msd_mm == 1


def test_surface_distances_of_an_empty_mask_do_not_exist():
    for pair in ((EMPTY, ~EMPTY), (~EMPTY, EMPTY), (EMPTY, EMPTY)):
        scores = surface_distances(*pair, spacing_mm=(1, 1, 1))
        assert math.isnan(scores.assd_mm)
        assert math.isnan(scores.rmsd_mm)
        assert math.isnan(scores.hd95_mm)
        assert math.isnan(scores.msd_mm)


def test_shapes_must_agree():
    with pytest.raises(ValueError, match="shapes differ"):
        overlap(EMPTY, EMPTY[1:])
    with pytest.raises(ValueError, match="shapes differ"):
        surface_distances(EMPTY, EMPTY[1:], spacing_mm=(1, 1, 1))


def counts(prediction, reference, matching, iou=0.5):
    found = detect_lesions(prediction, reference, matching=matching, iou=iou)
    return found.true_positives, found.false_positives, found.false_negatives


@pytest.mark.parametrize("matching", Matching)
def test_half_the_union_is_not_more_than_half(matching):
    reference = numbered(np.s_[0, 0, 0:4])
    assert counts(numbered(np.s_[0, 0, 0:2]), reference, matching) == (0, 1, 1)
    assert counts(numbered(np.s_[0, 0, 0:3]), reference, matching) == (1, 0, 0)


@pytest.mark.parametrize("matching", Matching)
def test_without_lesions(matching):
    one, none = numbered(np.s_[0, 0, 0]), numbered()
    assert counts(one, none, matching) == (0, 1, 0)
    assert counts(none, one, matching) == (0, 0, 1)
    nothing = detect_lesions(none, none, matching=matching)
    assert math.isnan(nothing.recall)
    assert math.isnan(nothing.precision)


def test_two_pieces_of_one_reference():
    reference = numbered(np.s_[0, 0, 0:11])
    pieces = numbered(np.s_[0, 0, 0:5], np.s_[0, 0, 6:11])
    assert counts(pieces, reference, Matching.LITS) == (1, 0, 0)
    assert counts(pieces, reference, Matching.PLAIN) == (0, 2, 1)


def test_one_prediction_over_two_references():
    references = numbered(np.s_[0, 0, 0:5], np.s_[0, 0, 6:11])
    whole = numbered(np.s_[0, 0, 0:11])
    assert counts(whole, references, Matching.LITS) == (2, 0, 0)
    assert counts(whole, references, Matching.PLAIN) == (0, 1, 2)


def test_one_large_prediction_over_two_references_never_counts_below_zero():
    references = numbered(np.s_[0, 0, 0], np.s_[0, 0, 30])
    whole = numbered(np.s_[0:3, :, 0:40])
    assert counts(whole, references, Matching.LITS) == (0, 1, 2)


def test_an_unrelated_false_positive_changes_no_match():
    reference = numbered(np.s_[1, 2:6, 10:20])
    poor = np.s_[1, 5:11, 19:30]
    assert counts(numbered(poor), reference, Matching.LITS) == (0, 1, 1)
    assert counts(numbered(np.s_[0, 0, 0], poor), reference, Matching.LITS) == (0, 2, 1)


def test_any_overlap_counts_at_threshold_zero():
    reference = numbered(np.s_[0, 0, 0:10], np.s_[2, 0, 0:4])
    prediction = numbered(np.s_[0, 0, 9:30])
    for matching in Matching:
        assert counts(prediction, reference, matching, iou=0.0) == (1, 0, 1)


def test_one_to_one_matching_takes_the_best_pairs():
    reference = numbered(np.s_[0, 0, 0:10], np.s_[0, 0, 10:20])
    prediction = numbered(np.s_[0, 0, 0:12], np.s_[0, 0, 12:20])
    found = detect_lesions(prediction, reference, matching=Matching.PLAIN)
    assert (found.found, found.right) == ((True, True), (True, True))
    assert (found.recall, found.precision) == (1, 1)


def test_found_fractions():
    reference = numbered(np.s_[0, 0, 0:10], np.s_[1, 0, 0:4], np.s_[2, 0, 0:2])
    prediction = boxes(np.s_[0, 0, 0:3], np.s_[1, 0, 0:30])
    assert found_fractions(prediction, reference) == (0.3, 1.0, 0.0)
    assert found_fractions(prediction, numbered()) == ()


def test_detection_by_size():
    known = [(60.0, True, 1.0), (20.0, False, 0.5), (19.9, True, 0.8), (10.0, False, 0.0)]
    references = [
        ReferenceLesion(number, 1.0, size, share, found)
        for number, (size, found, share) in enumerate(known, start=1)
    ]
    predictions = [PredictedLesion(1, 1.0, 50.0, True), PredictedLesion(2, 0.1, 9.9, False)]
    rows = classes_by_size(references, predictions)
    assert [(row.from_mm, row.below_mm) for row in rows] == [
        (0, 10), (10, 20), (20, 50), (50, math.inf)
    ]  # fmt: skip
    assert [(row.count, row.found) for row in rows] == [(0, 0), (2, 1), (1, 0), (1, 1)]
    assert [(row.predicted, row.right) for row in rows] == [(1, 0), (0, 0), (0, 0), (1, 1)]
    assert rows[1].covered == pytest.approx(0.4)
    assert (rows[1].recall, rows[2].recall, rows[0].precision) == (0.5, 0, 0)
    assert math.isnan(rows[0].recall)
    assert math.isnan(rows[0].covered)
    assert math.isnan(rows[1].precision)


def test_matches_name_the_lesions_that_were_joined():
    references = numbered(np.s_[0, 0, 0:5], np.s_[0, 0, 6:11], np.s_[2, 0, 0:4])
    predictions = numbered(np.s_[2, 0, 0:4], np.s_[0, 0, 0:11], np.s_[1, 9, 0:4])
    lits = detect_lesions(predictions, references, matching=Matching.LITS)
    assert set(lits.matches) == {Match((2,), (1, 2)), Match((1,), (3,))}
    plain = detect_lesions(predictions, references, matching=Matching.PLAIN)
    assert plain.matches == (Match((1,), (3,)),)


def test_compare_case():
    reference = np.zeros((6, 30, 30), np.uint8)
    reference[1:5, 2:28, 2:28] = 1
    reference[2, 5:9, 5:11] = 2
    reference[4, 20, 20] = 2
    prediction = reference.copy()
    prediction[4, 20, 20] = 1
    prediction[2, 5, 5:11] = 1
    geometry = Geometry.from_spacing(reference.shape, spacing_mm=(1, 1, 1))
    agreement = compare_case(prediction, reference, geometry=geometry)
    liver, tumor = agreement.structures
    assert (liver.name, liver.overlap.dice, liver.surface.assd_mm) == ("liver", 1, 0)
    assert (tumor.name, tumor.overlap.dice) == ("tumor", pytest.approx(36 / 43))
    large, small = agreement.lesions
    assert large.longest_axial_diameter_mm == pytest.approx(math.hypot(4, 6))
    assert (large.found_fraction, large.is_found) == (0.75, True)
    assert (small.found_fraction, small.is_found) == (0, False)
    assert agreement.detection_plain.recall == 0.5
    assert agreement.detection_lits.precision == 1
    # 26 x 26 x 4 voxels of 1 mm3, of which 25 and 18 are tumor.
    assert liver.reference_ml == pytest.approx(2.704)
    assert agreement.burden.reference_percent == pytest.approx(2500 / 2704)
    assert agreement.burden.error_percent == pytest.approx(-700 / 2704)
    assert [lesion.is_right for lesion in agreement.predicted_lesions] == [True]
    (matched,) = agreement.matched_lesions
    assert (matched.prediction_ids, matched.reference_ids) == ((1,), (1,))
    assert matched.overlap.dice == pytest.approx(36 / 42)


def test_compare_case_with_vessels_and_without_tumor():
    reference = np.ones((4, 6, 6), np.uint8)
    reference[:, 2, 2] = 3
    geometry = Geometry.from_spacing(reference.shape, spacing_mm=(1, 1, 1))
    agreement = compare_case(np.ones_like(reference), reference, geometry=geometry)
    assert [part.name for part in agreement.structures] == ["liver", "tumor", "vessel"]
    assert agreement.structures[2].overlap.dice == 0
    assert math.isnan(agreement.structures[2].surface.hd95_mm)
    assert agreement.lesions == ()


def test_a_crop_of_the_grid_changes_nothing():
    """Only the box that holds both label maps is looked at; the rest of the scan is no matter."""
    reference = np.zeros((6, 30, 30), np.uint8)
    reference[1:5, 3:20, 4:20] = 1
    reference[2:4, 5:9, 5:11] = 2
    prediction = np.roll(reference, 2, axis=2)
    small = Geometry.from_spacing(reference.shape, spacing_mm=(3, 1, 0.5))
    large = Geometry.from_spacing((16, 70, 60), spacing_mm=(3, 1, 0.5))
    maps = []
    for labels in (prediction, reference):
        maps.append(np.zeros(large.shape, np.uint8))
        maps[-1][5:11, 20:50, 10:40] = labels
    whole = compare_case(*maps, geometry=large)
    part = compare_case(prediction, reference, geometry=small)
    assert whole == part
    assert part.structures[1].surface.msd_mm == pytest.approx(1)


def test_both_empty():
    empty = np.zeros((4, 6, 6), np.uint8)
    geometry = Geometry.from_spacing(empty.shape, spacing_mm=(1, 1, 1))
    agreement = compare_case(empty, empty, geometry=geometry)
    assert [part.overlap.dice for part in agreement.structures] == [1, 1]
    assert math.isnan(agreement.burden.error_percent)
    assert (agreement.lesions, agreement.predicted_lesions) == ((), ())


def test_corner_contact_splits_lesions_only_for_lits():
    reference = np.zeros((4, 6, 6), np.uint8)
    reference[0, :2, :2] = reference[1, 2:4, 2:4] = 2
    geometry = Geometry.from_spacing(reference.shape, spacing_mm=(1, 1, 1))
    agreement = compare_case(reference, reference, geometry=geometry)
    assert agreement.detection_plain.true_positives == 1
    assert agreement.detection_lits.true_positives == 2
    assert number_lesions(reference == 2).max() == 1
