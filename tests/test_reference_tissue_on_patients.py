"""Aorta and spleen of real patients; the densities were looked at, outline by outline.

The collection clips at 190 or 240 HU, so that arterial blood reads 190.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from livertumor_cli.geometry import Geometry, bounding_box
from livertumor_cli.measure.aorta import aorta_course
from livertumor_cli.measure.coarse_scan import CoarseScan, coarse_scan
from livertumor_cli.measure.reference_tissue import tissue_in
from livertumor_cli.measure.spine import spine_course
from livertumor_cli.measure.spleen import spleen_core

FOLDER = Path(__file__).resolve().parents[2] / "shared" / "ct"

LOOKED_AT = {
    "lits-004": (106, 104),
    "lits-011": (126, 100),  # stomach full of contrast agent
    "lits-015": (190, None),  # arterial, and a spleen of a few slices
    "lits-016": (149, 118),  # scoliosis
    "lits-022": (136, 110),  # slices of 6.5 mm
    "lits-035": (171, 116),  # an adolescent: narrow aorta, small spleen
    "lits-036": (186, 126),  # spongy bone darker than blood, wide aorta
    "lits-043": (121, 90),  # fatty liver
}
"""Aorta and spleen in HU."""


pytestmark = pytest.mark.skipif(
    not FOLDER.is_dir(), reason="the collection ../shared/ct is not there"
)


def levels_of_liver(case: str) -> CoarseScan:
    scan = nib.load(FOLDER / case / "wide_ct.nii.gz")
    hu = np.asarray(scan.dataobj).T.astype(np.int16)
    labels = np.asarray(nib.load(FOLDER / case / "wide_labels.nii.gz").dataobj).T.astype(np.uint8)
    geometry = Geometry(hu.shape, np.diag([-1.0, -1, 1, 1]) @ scan.affine)
    liver = bounding_box(labels > 0)
    assert liver is not None
    return coarse_scan(hu, labels, geometry=geometry, liver=liver)


@pytest.mark.parametrize("case", LOOKED_AT)
def test_densities_of_patients(case: str):
    aorta_hu, spleen_hu = LOOKED_AT[case]
    tissue = tissue_in(levels_of_liver(case))
    assert tissue.aorta_hu == pytest.approx(aorta_hu, abs=3)
    expected = None if spleen_hu is None else pytest.approx(spleen_hu, abs=3)
    assert tissue.spleen_hu == expected


@pytest.mark.parametrize("case", LOOKED_AT)
def test_nothing_else_of_a_patient_is_an_aorta_or_a_spleen(case: str):
    """The real ones painted over with fat: vena cava, muscles, stomach, kidney and bowel stay."""
    scan = levels_of_liver(case)
    spine = spine_course(scan)
    assert spine is not None
    course = aorta_course(scan, spine)
    row, column = np.indices(scan.hu.shape[1:]) * 3.0
    reach_mm = np.median(course.radii_mm[course.is_round]) + 5
    hu = scan.hu.copy()
    for z, y, x in course.centers:
        hu[z][(row - 3.0 * y) ** 2 + (column - 3.0 * x) ** 2 <= reach_mm**2] = -100
    found = spleen_core(scan, spine, aorta_hu=course.median_hu(scan.spacing_mm[0]))
    if found is not None:
        hu[ndimage.binary_dilation(found[0], iterations=5) & ~scan.liver] = -100
    assert tissue_in(replace(scan, hu=hu)).aorta_hu is None
    assert spleen_core(replace(scan, hu=hu), spine, aorta_hu=150.0) is None
