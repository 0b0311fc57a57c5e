"""Aorta and spleen: their known density where they are, nothing where they are not."""

from dataclasses import replace

import numpy as np
import pytest
from axis_orders import ORDERS, stored
from bodies import ARTERIAL, DELAYED, GEOMETRY, NATIVE, PORTAL, SHAPE

from livertumor_cli.findings import ReferenceTissue
from livertumor_cli.geometry import Geometry, bounding_box
from livertumor_cli.measure.reference_tissue import reference_tissue
from livertumor_cli.phantom.abdomen import PhantomSpec, make_phantom
from livertumor_cli.phantom.organs import make_organs

NONE = ReferenceTissue(None, None)


def found(hu, labels, geometry=GEOMETRY):
    box = bounding_box(labels > 0)
    assert box is not None
    return reference_tissue(hu, labels, geometry=geometry, liver=box)


@pytest.mark.parametrize(
    "body", [PORTAL, NATIVE, ARTERIAL, DELAYED], ids=["portal", "native", "arterial", "delayed"]
)
def test_known_densities(body):
    tissue = found(*body.scan())
    assert tissue.aorta_hu == pytest.approx(body.aorta, abs=3)
    assert tissue.spleen_hu == pytest.approx(body.spleen, abs=3)


@pytest.mark.parametrize("radius_mm", [7.0, 16.0])
def test_a_narrow_and_a_wide_aorta(radius_mm):
    body = replace(PORTAL, aorta_radius_mm=radius_mm)
    assert found(*body.scan()).aorta_hu == pytest.approx(150, abs=5)


@pytest.mark.parametrize("order", ORDERS[::7], ids=str)
def test_any_axis_order(order):
    hu, labels = PORTAL.scan()
    axes, flips = order
    expected = found(hu, labels)
    turned, geometry = stored(hu, GEOMETRY, axes, flips)
    tissue = found(turned, stored(labels, GEOMETRY, axes, flips)[0], geometry)
    # Blocks of voxels begin at other ends, so not to the last digit.
    assert tissue.aorta_hu == pytest.approx(expected.aorta_hu, abs=2)
    assert tissue.spleen_hu == pytest.approx(expected.spleen_hu, abs=2)


def test_an_oblique_scan():
    hu, labels = PORTAL.scan()
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(0.2), -np.sin(0.2)], [np.sin(0.2), np.cos(0.2)]]
    tissue = found(hu, labels, Geometry(SHAPE, turn @ GEOMETRY.affine_lps))
    assert tissue == found(hu, labels)


def test_no_aorta_and_the_vena_cava_is_not_taken_for_it():
    tissue = found(*replace(PORTAL, aorta=None).scan())
    assert tissue.aorta_hu is None
    assert tissue.spleen_hu == pytest.approx(115, abs=3)


@pytest.mark.parametrize("body", [PORTAL, NATIVE, ARTERIAL, DELAYED])
def test_no_spleen_and_no_other_organ_is_taken_for_it(body):
    tissue = found(*replace(body, spleen=None).scan())
    assert tissue.spleen_hu is None
    assert tissue.aorta_hu == pytest.approx(body.aorta, abs=3)


def test_nothing_without_a_spine():
    assert found(*replace(PORTAL, has_spine=False).scan()) == NONE


def test_nothing_in_a_scan_cropped_to_the_liver():
    hu, labels = PORTAL.scan()
    box = bounding_box(labels > 0)
    assert found(hu[box], labels[box], GEOMETRY.cropped(box)) == NONE


def test_nothing_in_few_slices():
    hu, labels = PORTAL.scan()
    few = (slice(38, 48), slice(0, SHAPE[1]), slice(0, SHAPE[2]))
    assert found(hu[few], labels[few], GEOMETRY.cropped(few)).aorta_hu is None


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 40, 40), (40, 1, 40), (40, 40, 1), (2, 3, 4)])
@pytest.mark.parametrize("value", [-1000, 60, 3000])
def test_nothing_and_no_fault_in_tiny_or_empty_scans(shape, value):
    labels = np.ones(shape, np.uint8)
    geometry = Geometry.from_spacing(shape, spacing_mm=(3.0, 2.0, 2.0))
    assert found(np.full(shape, value, np.int16), labels, geometry) == NONE


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_phantoms(seed):
    spec = PhantomSpec(seed=seed, shape=(60, 160, 192), spacing_mm=(4.0, 2.0, 2.0))
    phantom = make_phantom(spec)
    organs = make_organs(np.random.default_rng(seed)).filled
    usual = np.array([98, 42, 28])
    spleen = min(organs, key=lambda organ: np.abs(usual - organ[0].center_mm).sum())
    tissue = found(phantom.volume.hu, phantom.labels, phantom.volume.geometry)
    assert tissue.aorta_hu == pytest.approx(165, abs=3)
    assert tissue.spleen_hu == pytest.approx(spleen[1], abs=3)
