"""A whole case against hand-made liver, tumors and vessels."""

import math

import numpy as np
import pytest

from livertumor_cli.anatomy import Label
from livertumor_cli.geometry import Geometry
from livertumor_cli.measure.case import measure_case
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


def measured(hu, labels, geometry=None):
    geometry = geometry or Geometry.from_spacing(labels.shape, spacing_mm=SPACING_MM)
    return measure_case(hu, labels, number_lesions(labels == Label.TUMOR), geometry=geometry)


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
