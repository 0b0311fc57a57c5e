"""A whole case against hand-made liver, tumors and vessels."""

import math

import numpy as np
import pytest

from livertumor_cli.anatomy import Label
from livertumor_cli.findings import LesionFlag
from livertumor_cli.geometry import Geometry
from livertumor_cli.measure.case import Extras, measure_case
from livertumor_cli.measure.components import number_lesions

SPACING_MM = (2.0, 0.5, 0.5)  # 0.5 mm3, 0.0005 ml


def scan():
    labels = np.zeros((12, 40, 40), np.uint8)
    labels[2:10, 5:35, 5:35] = Label.LIVER
    labels[3:5, 10:14, 10:16] = Label.TUMOR  # 48 voxels
    labels[7, 20:22, 20:22] = Label.TUMOR  # 4 voxels
    labels[2:10, 30, 30] = Label.VESSEL  # 8 voxels
    hu = np.full(labels.shape, -100, np.int16)
    hu[labels == Label.LIVER] = 110
    hu[labels == Label.TUMOR] = 60
    hu[7, 20, 20:22] = 40
    hu[labels == Label.VESSEL] = 180
    return hu, labels


def measured(hu, labels, geometry=None, extras=None):
    geometry = geometry or Geometry.from_spacing(labels.shape, spacing_mm=SPACING_MM)
    lesions = number_lesions(labels == Label.TUMOR)
    return measure_case(hu, labels, lesions, geometry=geometry, extras=extras)


def test_whole_liver():
    findings = measured(*scan())
    assert findings.liver_volume_ml == pytest.approx(8 * 30 * 30 * 0.0005)
    assert findings.tumor_volume_ml == pytest.approx(52 * 0.0005)
    assert findings.vessel_volume_ml == pytest.approx(8 * 0.0005)
    assert findings.tumor_burden_percent == pytest.approx(100 * 52 / 7200)
    assert findings.liver_mean_hu == pytest.approx(110)
    assert findings.axial_axis == 0


def test_lesions():
    first, second = measured(*scan()).lesions
    assert (first.id, second.id) == (1, 2)
    assert first.volume_ml == pytest.approx(48 * 0.0005)
    assert first.longest_axis.length_mm == pytest.approx(math.hypot(2, 3))
    assert first.perpendicular_axis.length_mm == pytest.approx(2 * math.hypot(2, 3) / 3)
    assert first.max_3d_diameter_mm == pytest.approx(math.hypot(4, 2, 3))
    assert first.centroid_lps_mm == pytest.approx((12.5 / 2, 11.5 / 2, 7))
    assert (first.slice_index, second.slice_index) == (3, 7)
    assert (first.mean_hu, second.mean_hu) == (60, 50)


def test_sums_of_lesions_are_the_tumor():
    findings = measured(*scan())
    assert findings.tumor_volume_ml == pytest.approx(sum(f.volume_ml for f in findings.lesions))


def test_volume_of_a_sheared_grid_is_its_determinant():
    hu, labels = scan()
    affine = np.diag([0.5, 0.5, 2.0, 1.0])
    affine[1, 2] = 0.9  # a tilted gantry: longer columns, same volume
    findings = measured(hu, labels, Geometry(labels.shape, affine))
    assert findings.liver_volume_ml == pytest.approx(8 * 30 * 30 * 0.0005)


def test_stored_sagittal():
    hu, labels = scan()
    affine = np.eye(4)
    affine[:3, :3] = np.array([[0, 0, 0.5], [0, 0.5, 0], [-2.0, 0, 0]])  # x index towards the feet
    turned = measured(
        *(np.ascontiguousarray(part.transpose(2, 1, 0)[:, :, ::-1]) for part in (hu, labels)),
        Geometry((40, 40, 12), affine),
    )
    assert turned.axial_axis == 2
    assert [lesion.slice_index for lesion in turned.lesions] == [11 - 3, 11 - 7]
    straight = measured(hu, labels)
    assert turned.tumor_volume_ml == pytest.approx(straight.tumor_volume_ml)
    for lesion, same in zip(turned.lesions, straight.lesions, strict=True):
        assert lesion.longest_axis.length_mm == pytest.approx(same.longest_axis.length_mm)


def test_lesion_on_the_edge_of_the_scan():
    labels = np.zeros((3, 5, 5), np.uint8)
    labels[0, :2, :2] = Label.TUMOR
    (lesion,) = measured(np.zeros(labels.shape, np.float32), labels).lesions
    assert lesion.longest_axis.ends_lps_mm == ((-0.25, -0.25, 0.0), (0.75, 0.75, 0.0))


def test_no_tumor():
    hu, labels = scan()
    labels[labels == Label.TUMOR] = Label.LIVER
    findings = measured(hu, labels)
    assert findings.lesions == ()
    assert (findings.tumor_volume_ml, findings.tumor_burden_percent) == (0, 0)


def test_no_liver():
    hu, labels = scan()
    findings = measured(hu, np.zeros_like(labels))
    assert (findings.liver_volume_ml, findings.tumor_burden_percent) == (0, 0)
    assert math.isnan(findings.liver_mean_hu)


def test_lesions_must_be_the_tumor_voxels():
    hu, labels = scan()
    geometry = Geometry.from_spacing(labels.shape, spacing_mm=SPACING_MM)
    lesions = number_lesions(labels == Label.TUMOR)
    lesions[3, 10, 10] = 0
    with pytest.raises(ValueError, match="exactly the tumor"):
        measure_case(hu, labels, lesions, geometry=geometry)


def test_no_lesion_may_lie_outside_all_labels():
    hu, labels = scan()
    geometry = Geometry.from_spacing(labels.shape, spacing_mm=SPACING_MM)
    lesions = number_lesions(labels == Label.TUMOR)
    lesions[0, 0, 0] = 1
    for labeled in (labels, np.zeros_like(labels)):
        with pytest.raises(ValueError, match="outside all labels"):
            measure_case(hu, labeled, lesions, geometry=geometry)


def test_lesion_numbers_must_have_no_gap():
    hu, labels = scan()
    geometry = Geometry.from_spacing(labels.shape, spacing_mm=SPACING_MM)
    lesions = number_lesions(labels == Label.TUMOR) * 2
    with pytest.raises(ValueError, match="no gap"):
        measure_case(hu, labels, lesions, geometry=geometry)


def test_shapes_must_agree():
    hu, labels = scan()
    geometry = Geometry.from_spacing(labels.shape, spacing_mm=SPACING_MM)
    with pytest.raises(ValueError, match="shapes differ"):
        measure_case(hu[1:], labels, number_lesions(labels == 2), geometry=geometry)


def test_surroundings_of_the_lesions():
    """Counted on the drawing: liver from 2 to 10, 5 to 35, 5 to 35; a vessel at y 30, x 30."""
    first, second = measured(*scan()).lesions
    assert first.surroundings.capsule_distance_mm == pytest.approx(1 * 2.0)  # one slice above
    assert second.surroundings.capsule_distance_mm == pytest.approx(2 * 2.0)
    assert second.surroundings.vessel_distance_mm == pytest.approx(math.hypot(8, 8) * 0.5)
    assert first.surroundings.vessel_contact_mm2 == 0
    assert first.surroundings.couinaud_shares is None


def test_contact_with_a_vessel():
    hu, labels = scan()
    labels[7, 20:22, 22] = Label.VESSEL
    lesion = measured(hu, labels).lesions[1]
    assert lesion.surroundings.vessel_contact_mm2 == pytest.approx(2 * 2.0 * 0.5)
    assert lesion.surroundings.vessel_distance_mm == 0


def test_without_vessels_there_is_no_distance():
    hu, labels = scan()
    labels[labels == Label.VESSEL] = Label.LIVER
    assert measured(hu, labels).lesions[0].surroundings.vessel_distance_mm is None


def test_vessels_that_nobody_labels_are_unknown_and_not_none():
    hu, labels = scan()
    labels[labels == Label.VESSEL] = Label.LIVER
    looked, unlabeled = (measured(hu, labels, extras=Extras(tells_vessels=x)) for x in (1, 0))
    assert looked.vessel_volume_ml == 0.0
    assert unlabeled.vessel_volume_ml is None
    assert looked.lesions[0].surroundings.vessel_contact_mm2 == 0.0
    assert unlabeled.lesions[0].surroundings.vessel_contact_mm2 is None
    assert unlabeled.liver_volume_ml == looked.liver_volume_ml
    empty = measured(hu, np.zeros_like(labels), extras=Extras(tells_vessels=False))
    assert empty.vessel_volume_ml is None


def test_density_and_contrast():
    findings = measured(*scan())
    first, second = findings.lesions
    assert (first.density.sd_hu, first.density.median_hu) == (0, 60)
    assert (second.density.min_hu, second.density.max_hu, second.density.median_hu) == (40, 60, 50)
    assert second.density.sd_hu == pytest.approx(10)
    assert findings.contrast_hu(second) == pytest.approx(50 - 110)
    assert findings.vessel_mean_hu == pytest.approx(180)


def test_volume_range_and_sphere():
    lesion = measured(*scan()).lesions[1]  # 2 x 2 voxels in one slice
    low, high = lesion.volume_range_ml
    assert low == pytest.approx(2 * 0.0005)
    assert high == pytest.approx((4 + 4 + 8 + 8) / 2 * 0.0005)
    assert lesion.equivalent_sphere_diameter_mm == pytest.approx((6 * 2.0 / math.pi) ** (1 / 3))
    assert lesion.scale_range_ml is None


def test_probabilities_are_those_of_each_lesion():
    hu, labels = scan()
    values = np.zeros(labels.shape, np.float32)
    values[3:5, 10:14, 10:16], values[7, 20:22, 20:22] = 0.75, 0.5
    extras = Extras(
        probabilities=values[labels == Label.TUMOR],
        scale_volumes_ml=np.array([[0.02, 0.001], [0.03, 0.002], [0.025, 0.003]]),
        segments=np.where(np.arange(40) < 12, 8, 5)[None, None].repeat(12, 0).repeat(40, 1),
    )
    first, second = measured(hu, labels, extras=extras).lesions
    assert (first.mean_probability, second.mean_probability) == (0.75, 0.5)
    assert (first.scale_range_ml, second.scale_range_ml) == ((0.02, 0.03), (0.001, 0.003))
    assert first.surroundings.couinaud_shares == (
        (5, pytest.approx(2 / 3)),
        (8, pytest.approx(1 / 3)),
    )
    assert second.surroundings.couinaud_shares == ((5, 1.0),)


def test_segments_add_up_to_the_liver():
    hu, labels = scan()
    segments = np.where(np.arange(40) < 12, 8, 5)[None, None].repeat(12, 0).repeat(40, 1)
    findings = measured(hu, labels, extras=Extras(segments=segments.astype(np.uint8)))
    assert findings.segments is not None
    assert [part.number for part in findings.segments] == [1, 2, 3, 4, 5, 6, 7, 8]
    by_number = {part.number: part for part in findings.segments}
    inside = (labels > 0)[:, :, :12].sum() * 0.0005
    assert by_number[8].volume_ml == pytest.approx(inside)
    assert by_number[8].volume_ml + by_number[5].volume_ml == pytest.approx(
        findings.liver_volume_ml
    )
    # The large lesion has 2 of its 6 columns in VIII.
    large, small = findings.lesions
    assert by_number[8].tumor_ml == pytest.approx(large.volume_ml / 3)
    assert by_number[5].tumor_ml == pytest.approx(large.volume_ml * 2 / 3 + small.volume_ml)
    assert by_number[1].volume_ml == by_number[1].tumor_ml == 0
    assert measured(hu, labels).segments is None


def test_whole_liver_facts():
    findings = measured(*scan())
    assert findings.liver_without_tumor_ml == pytest.approx((7200 - 52) * 0.0005)
    assert findings.largest_diameter_mm == findings.lesions[0].longest_axis.length_mm
    assert findings.candidate_targets == ()  # both are below 10 mm
    assert (findings.count_longer_than(3), findings.count_longer_than(20)) == (1, 0)


def test_candidate_targets_are_the_two_longest():
    labels = np.ones((40, 120, 120), np.uint8)
    labels[2:30, 2:30, 2:30] = Label.TUMOR  # most voxels, not the longest
    labels[34, 5, 5:105] = Label.TUMOR
    labels[37, 5, 5:95] = Label.TUMOR
    labels[37, 50, 50:55] = Label.TUMOR
    geometry = Geometry.from_spacing(labels.shape, spacing_mm=(1.0, 1.0, 1.0))
    findings = measured(np.zeros(labels.shape, np.int16), labels, geometry)
    assert [lesion.id for lesion in findings.candidate_targets] == [2, 3]
    assert findings.count_longer_than(20) == 3


@pytest.mark.parametrize(
    ("length", "slice_mm", "flags"),
    [
        (8, 1.0, {"below_measurable"}),
        (9, 1.0, {"below_measurable", "borderline"}),
        (10, 1.0, {"borderline"}),
        (15, 1.0, set()),
        (15, 8.0, {"below_measurable"}),
        (19, 1.0, {"borderline"}),
        (30, 1.0, {"borderline"}),
        (50, 1.0, {"borderline"}),
        (53, 1.0, set()),
    ],
)
def test_flags_of_a_lesion(length, slice_mm, flags):
    labels = np.ones((5, 5, 60), np.uint8)
    labels[2, 2, 2 : 2 + length] = Label.TUMOR
    geometry = Geometry.from_spacing(labels.shape, spacing_mm=(slice_mm, 0.01, 1.0))
    (lesion,) = measured(np.zeros(labels.shape, np.int16), labels, geometry).lesions
    assert {str(flag) for flag in lesion.flags} == flags


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("end", [0, -1])
def test_lesions_at_the_border_are_flagged(axis, end):
    labels = np.ones((9, 9, 9), np.uint8)
    place = [4, 4, 4]
    place[axis] = end
    labels[tuple(place)] = Label.TUMOR
    (lesion,) = measured(np.zeros(labels.shape, np.int16), labels).lesions
    assert LesionFlag.TOUCHES_BORDER in lesion.flags
