"""Every quality flag is raised where it should be, and nowhere else."""

from dataclasses import replace

import numpy as np
import pytest

from livertumor_cli.findings import CaseFindings
from livertumor_cli.geometry import Geometry
from livertumor_cli.measure.quality import Pieces, pieces_of, quality_flags

GOOD = CaseFindings(1500.0, 10.0, 20.0, 110.0, (), vessel_mean_hu=150.0)
SHAPE = (8, 10, 10)


def labels():
    array = np.zeros(SHAPE, np.uint8)
    array[2:6, 2:8, 2:8] = 1
    return array


def flags(findings=GOOD, array=None, spacing_mm=(5.0, 5.0, 5.0), **more):
    geometry = Geometry.from_spacing(SHAPE, spacing_mm=spacing_mm)
    return quality_flags(findings, labels() if array is None else array, geometry=geometry, **more)


def test_a_good_scan_has_none():
    assert flags() == ()
    assert flags(precision="f32") == ()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"liver_mean_hu": 60.0}, "60 HU: below 75 HU"),
        ({"liver_mean_hu": 200.0}, "200 HU is above 170 HU"),
        ({"vessel_mean_hu": 115.0}, "vessels are 5 HU brighter"),
        ({"liver_volume_ml": 300.0}, "A liver of 300 ml is unusual"),
        ({"liver_volume_ml": 4500.0}, "A liver of 4500 ml is unusual"),
        ({"tumor_volume_ml": 900.0}, "Tumors take 60 % of the liver"),
    ],
)
def test_what_is_unusual_is_told(changes, words):
    (flag,) = flags(replace(GOOD, **changes))
    assert words in flag


def test_no_vessels_say_nothing_about_the_phase():
    assert flags(replace(GOOD, vessel_mean_hu=float("nan"))) == ()


def test_thick_slices():
    (flag,) = flags(spacing_mm=(5.1, 1.0, 1.0))
    assert "5.1 mm apart" in flag


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("end", [0, -1])
def test_a_liver_that_is_cut_off_may_be_small(axis, end):
    array = labels()
    np.moveaxis(array, axis, 0)[end:3] = 1 if end == 0 else 0
    np.moveaxis(array, axis, 0)[-3:] = 1 if end == -1 else 0
    (flag,) = flags(replace(GOOD, liver_volume_ml=200.0), array)
    assert "border of the scan" in flag


def test_pieces():
    array = labels()
    array[:, :, 4] = 0
    (flag,) = flags(array=array)
    assert "2 pieces" in flag
    crumbs = pieces_of(array, geometry=Geometry.from_spacing(SHAPE, spacing_mm=(1, 1, 1)))
    assert crumbs == Pieces(0, 0.0)
    assert pieces_of(np.zeros_like(array), geometry=Geometry(SHAPE, np.eye(4))) == Pieces(0, 0.0)


def test_a_tumor_that_no_liver_joins():
    array = labels()
    array[3, 3:5, 3] = 2
    array[2, 2, 7] = 2
    assert flags(array=array) == ()
    array[6, 8, 8] = array[6, 8, 7] = 2  # inside the scan, beside the liver by an edge alone
    (flag,) = flags(array=array)
    assert flag == "0.25 ml of tumor lie outside the liver's label: check the mask."


def test_reduced_precision():
    (flag,) = flags(precision="f32, bf16")
    assert "bf16" in flag


def test_low_probabilities_name_at_most_ten_lesions():
    from report_cases import lesion

    sure, doubtful = (replace(lesion(), mean_probability=value) for value in (0.9, 0.55))
    assert flags(replace(GOOD, lesions=(sure,))) == ()
    many = tuple(replace(doubtful, id=number) for number in range(1, 13))
    (flag,) = flags(replace(GOOD, lesions=many))
    assert flag.endswith("in lesion 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 2 more.")
