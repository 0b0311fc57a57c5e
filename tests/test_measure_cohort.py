"""Figures over many cases against hand results: means, what is left out of them, and pooling."""

import math

import numpy as np
import pytest

from livertumor_cli.geometry import Geometry
from livertumor_cli.measure.cohort import mean_of_defined, summarize
from livertumor_cli.measure.comparison import compare_case

SHAPE = (4, 20, 40)


def labels(*tumors, vessel=None, liver=np.s_[:, :, :20]):
    found = np.zeros(SHAPE, np.uint8)
    found[liver] = 1
    for tumor in tumors:
        found[tumor] = 2
    if vessel is not None:
        found[vessel] = 3
    return found


def scored(prediction, reference, spacing_mm=(1.0, 1.0, 1.0)):
    geometry = Geometry.from_spacing(SHAPE, spacing_mm=spacing_mm)
    return compare_case(prediction, reference, geometry=geometry)


@pytest.fixture(scope="module")
def cohort():
    tumor, half = np.s_[0, 0, 0:8], np.s_[0, 0, 0:4]
    cases = [
        scored(labels(half), labels(tumor)),  # tumor Dice 8 / 12, IoU 0.5: not found
        scored(labels(), labels()),  # no tumor on either side: Dice 1
        scored(labels(np.s_[1, 5, 5:7]), labels()),  # a false one: Dice 0
        scored(labels(tumor), labels(tumor, vessel=np.s_[2, 10, 0:10])),  # vessels not found
    ]
    return summarize(cases)


def part(cohort, name):
    return next(one for one in cohort.structures if one.name == name)


def test_dice_per_case_and_global(cohort):
    tumor = part(cohort, "tumor")
    assert tumor.means["dice"].value == pytest.approx((8 / 12 + 1 + 0 + 1) / 4)
    assert tumor.means["dice"].undefined == 0
    assert tumor.dice_global == pytest.approx(2 * (4 + 0 + 0 + 8) / (12 + 0 + 2 + 16))
    assert part(cohort, "liver").means["dice"].value == 1


def test_what_does_not_exist_is_left_out_and_counted(cohort):
    means = part(cohort, "tumor").means
    assert (means["assd_mm"].defined, means["assd_mm"].undefined) == (2, 2)
    # Of two cases with distances one is 0; the other has 1, 2, 3, 4 over 4 + 8 voxels.
    assert means["assd_mm"].value == pytest.approx((10 / 12) / 2)
    assert (means["rvd"].defined, means["rvd"].value) == (2, pytest.approx(-0.25))
    assert (means["rvd_lits"].defined, means["rvd_lits"].undefined) == (3, 1)


def test_vessels_count_only_where_the_reference_has_them(cohort):
    vessel = part(cohort, "vessel")
    assert (vessel.cases, vessel.means["dice"].value, vessel.dice_global) == (1, 0, 0)
    assert (vessel.means["hd95_mm"].defined, vessel.means["hd95_mm"].undefined) == (0, 1)
    assert math.isnan(vessel.means["hd95_mm"].value)


def test_a_cohort_without_vessels_has_no_vessels():
    summary = summarize([scored(labels(), labels())])
    assert [one.name for one in summary.structures] == ["liver", "tumor"]
    assert math.isnan(part(summary, "tumor").dice_global)


def test_burden(cohort):
    # The liver has 1600 voxels; errors are -4, 0, +2 and 0 voxels.
    errors = np.array([-4, 0, 2, 0]) / 16
    burden = cohort.burden
    assert burden.rmse_percent == pytest.approx(math.sqrt(np.mean(errors**2)))
    assert burden.max_absolute_percent == pytest.approx(0.25)
    assert (burden.lowest_percent, burden.highest_percent) == (-0.25, 0.125)
    assert (burden.defined, burden.undefined) == (4, 0)


def test_burden_without_a_predicted_liver_does_not_exist():
    nothing = np.zeros(SHAPE, np.uint8)
    summary = summarize([scored(nothing, labels()), scored(labels(), labels())])
    assert (summary.burden.defined, summary.burden.undefined) == (1, 1)
    assert summary.burden.rmse_percent == 0
    assert part(summary, "liver").means["dice"].value == 0.5


def test_detection_is_counted_over_all_lesions(cohort):
    plain = cohort.detection_plain
    assert (plain.true_positives, plain.false_positives, plain.false_negatives) == (1, 2, 1)
    assert (plain.recall, plain.precision) == (0.5, pytest.approx(1 / 3))
    assert cohort.detection_lits == plain
    anywhere = cohort.detection_lits_any
    assert (anywhere.recall, anywhere.precision) == (1, pytest.approx(2 / 3))


def test_scores_of_matched_lesions_only(cohort):
    dice = cohort.matched_lesions["dice"]
    assert (dice.value, dice.defined, dice.undefined) == (1, 1, 0)


def test_by_size_of_lesions_and_of_the_largest_tumor(cohort):
    under_10 = cohort.lesions_by_size[0]
    assert (under_10.count, under_10.found, under_10.predicted, under_10.right) == (2, 1, 3, 1)
    assert under_10.covered == pytest.approx(0.75)
    none, small, *larger = cohort.cases_by_largest_tumor
    assert [one.cases for one in (none, small, *larger)] == [2, 2, 0, 0, 0]
    assert none.dice["tumor"].value == pytest.approx(0.5)
    assert small.dice["tumor"].value == pytest.approx((8 / 12 + 1) / 2)
    assert (small.dice["vessel"].value, small.dice["vessel"].defined) == (0, 1)
    assert small.dice["liver"].value == 1


@pytest.mark.parametrize(("width_mm", "place"), [(9.0, 1), (10.0, 2), (20.0, 3), (50.0, 4)])
def test_a_limit_belongs_to_the_larger_size(width_mm, place):
    # One row of 8 pixels, so wide that its diagonal has the length asked for.
    pixel_mm = math.sqrt(width_mm**2 - 1) / 8 * (1 + 1e-12)
    case = scored(labels(), labels(np.s_[0, 0, 0:8]), spacing_mm=(1.0, 1.0, pixel_mm))
    groups = summarize([case]).cases_by_largest_tumor
    assert [group.cases for group in groups].index(1) == place


def test_no_case():
    with pytest.raises(ValueError, match="no case"):
        summarize([])


def test_mean_of_nothing():
    mean = mean_of_defined([math.nan, math.nan])
    assert math.isnan(mean.value)
    assert (mean.defined, mean.undefined) == (0, 2)
