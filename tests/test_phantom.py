"""Phantoms: what is drawn is what is said to be drawn."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from scipy import ndimage

from livertumor_cli.anatomy import Label
from livertumor_cli.geometry import Geometry
from livertumor_cli.phantom import Phantom, PhantomSpec, make_phantom
from livertumor_cli.phantom.abdomen import TUMOR_GAP_MM
from livertumor_cli.phantom.organs import make_organs
from livertumor_cli.phantom.shapes import Canvas, Ellipsoid, Tube
from livertumor_cli.phantom.vessels import grow_vessels

SPEC = PhantomSpec(seed=3, shape=(76, 172, 204), spacing_mm=(3.2, 1.9, 1.7))
SMALL = PhantomSpec(
    seed=3, shape=(30, 60, 70), spacing_mm=(8.0, 5.5, 5.0), tumor_diameters_mm=(40,)
)
TOUCHING = np.ones((3, 3, 3))


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    return make_phantom(SPEC)


def canvas(*, size: int, spacing_mm: tuple[float, float, float], shift: float = 0.0) -> Canvas:
    """A cube of voxels round the origin, moved by a share of a voxel."""
    spacing = np.array(spacing_mm[::-1])
    origin = -0.5 * (size - 1) * spacing + shift * spacing
    geometry = Geometry.from_spacing((size,) * 3, spacing_mm=spacing_mm, origin_mm=tuple(origin))
    return Canvas(geometry)


def counting_error(shape: Ellipsoid, spacing_mm: tuple[float, float, float]) -> float:
    """Relative error of counting voxels, at most.

    The sum over slices is a midpoint rule: by Euler and Maclaurin it is off by (slice / height)^2
    of an ellipsoid's volume at most. The other two axes add theirs in the same way, and 1 % covers
    the chance of the lattice: a row of voxels more or less on a flat side.
    """
    lengths = 2 * np.array(shape.semi_axes_mm[::-1])
    return float(((np.array(spacing_mm) / lengths) ** 2).sum()) + 0.01


# Shapes


def test_ellipsoid_distance_is_zero_on_the_surface_and_exact_for_a_sphere():
    ellipsoid = Ellipsoid((1.0, -2.0, 3.0), (4.0, 5.0, 6.0))
    tips = np.array([[5.0, -2, 3], [-3, -2, 3], [1, 3, 3], [1, -7, 3], [1, -2, 9], [1, -2, -3]])
    np.testing.assert_allclose(ellipsoid.distance(*tips.T), 0, atol=1e-12)
    assert ellipsoid.distance(*np.array([1.0, -2.0, 3.0])) == pytest.approx(-4.0)
    sphere = Ellipsoid((0, 0, 0), (5, 5, 5))
    points = np.random.default_rng(0).normal(0, 6, (50, 3))
    exact = np.linalg.norm(points, axis=1) - 5
    np.testing.assert_allclose(sphere.distance(*points.T), exact, atol=1e-12)


def test_tube_distance_runs_along_the_axis_and_round_the_ends():
    tube = Tube((0, 0, 0), (10, 0, 0), (2.0, 1.0))
    x, y, z = np.array([[5.0, 3, 0], [5, 0, 0], [-4, 0, 0], [13, 0, 4], [0, 0, 2]]).T
    np.testing.assert_allclose(tube.distance(x, y, z), [1.5, -1.5, 2.0, 4.0, 0.0], atol=1e-12)


def test_tube_without_length_is_a_ball():
    ball = Tube((1, 2, 3), (1, 2, 3), (2.0, 2.0))
    assert float(ball.distance(*np.array([1.0, 2.0, 8.0]))) == pytest.approx(3.0)


@pytest.mark.parametrize(
    "shape", [Ellipsoid((1.2, -0.7, 2.1), (6, 4, 8)), Tube((-6, 2, 1), (5, -3, 4), (3.0, 1.5))]
)
def test_drawing_inside_the_bounds_misses_no_voxel(shape: Ellipsoid | Tube):
    drawn = canvas(size=24, spacing_mm=(1.1, 1.0, 0.9))
    everywhere = shape.distance(*drawn.axes(drawn.whole())) <= 0
    assert everywhere.any()
    assert np.array_equal(drawn.mask_of(shape), everywhere)


def test_a_shape_outside_the_grid_draws_nothing():
    drawn = canvas(size=8, spacing_mm=(1, 1, 1))
    assert not drawn.mask_of(Ellipsoid((100, 0, 0), (5, 5, 5))).any()


@pytest.mark.parametrize("spacing_mm", [(2.5, 1.0, 1.0), (1.0, 1.0, 1.0), (5.0, 0.7, 0.7)])
@pytest.mark.parametrize("shift", [0.0, 0.25, 0.5])
@pytest.mark.parametrize("radius_mm", [9.0, 16.0])
def test_voxel_count_is_the_analytic_volume(
    spacing_mm: tuple[float, float, float], shift: float, radius_mm: float
):
    """Never further off than half a voxel's diagonal on every side, and in truth far less."""
    shape = Ellipsoid((0, 0, 0), (radius_mm, 0.9 * radius_mm, 1.1 * radius_mm))
    drawn = canvas(size=64, spacing_mm=spacing_mm, shift=shift)
    found = float(drawn.mask_of(shape).sum()) * drawn.geometry.voxel_ml
    half_diagonal = 0.5 * float(np.linalg.norm(spacing_mm))
    swollen, shrunken = (
        Ellipsoid((0, 0, 0), tuple(axis + sign * half_diagonal for axis in shape.semi_axes_mm))
        for sign in (1, -1)
    )
    assert shrunken.volume_ml <= found <= swollen.volume_ml
    assert found == pytest.approx(shape.volume_ml, rel=counting_error(shape, spacing_mm))


# The phantom


def test_labels_are_the_four_of_the_program(phantom: Phantom):
    assert phantom.labels.dtype == np.uint8
    assert set(np.unique(phantom.labels)) == {0, 1, 2, 3}
    assert phantom.labels.shape == phantom.volume.hu.shape == SPEC.shape


def test_geometry_is_centered_on_the_body_axis(phantom: Phantom):
    middle = 0.5 * (np.array(SPEC.shape) - 1)
    np.testing.assert_allclose(
        phantom.volume.geometry.index_to_lps(middle), [0, 0, SPEC.center_z_mm], atol=1e-9
    )
    assert phantom.volume.geometry.spacing_mm == pytest.approx(SPEC.spacing_mm)
    assert phantom.volume.geometry.axis_codes() == "SPL"


def test_every_tumor_is_a_component_of_its_analytic_volume(phantom: Phantom):
    _numbered, count = ndimage.label(phantom.labels == Label.TUMOR, TOUCHING)
    assert count == len(phantom.tumors) == len(SPEC.tumor_diameters_mm)
    drawn = Canvas(phantom.volume.geometry)
    for tumor, diameter_mm in zip(phantom.tumors, SPEC.tumor_diameters_mm, strict=True):
        assert tumor.mean_diameter_mm == pytest.approx(diameter_mm)
        assert tumor.volume_ml == pytest.approx(np.pi / 6 * diameter_mm**3 / 1000)
        inside = drawn.mask_of(tumor.shape)
        assert (phantom.labels[inside] == Label.TUMOR).all()
        found_ml = float(inside.sum()) * phantom.volume.geometry.voxel_ml
        error = counting_error(tumor.shape, SPEC.spacing_mm)
        assert error < 0.07
        assert found_ml == pytest.approx(tumor.volume_ml, rel=error)


def test_tumors_touch_neither_each_other_nor_the_liver_surface(phantom: Phantom):
    drawn = Canvas(phantom.volume.geometry)
    masks = [drawn.mask_of(tumor.shape) for tumor in phantom.tumors]
    # Distances between voxel centers: a voxel's diagonal of leeway.
    least_mm = TUMOR_GAP_MM - float(np.linalg.norm(SPEC.spacing_mm))
    assert least_mm > 0
    outside = phantom.labels == Label.BACKGROUND
    for mask in masks:
        away_mm = ndimage.distance_transform_edt(~mask, sampling=SPEC.spacing_mm)
        assert away_mm[outside].min() > least_mm
    for one, other in combinations(masks, 2):
        away_mm = ndimage.distance_transform_edt(~one, sampling=SPEC.spacing_mm)
        assert away_mm[other].min() > least_mm


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_hu_lie_in_the_stated_ranges(seed: int):
    """Without noise: liver 85..125, vessels 40..75 above it, tumors 35..60 below it."""
    drawn = make_phantom(replace(SPEC, seed=seed, noise_hu=0.0))
    hu, labels = drawn.volume.hu, drawn.labels

    def inner(label: Label) -> np.ndarray:
        """HU of the voxels whose surroundings are alike: no blur reaches them."""
        return hu[ndimage.binary_erosion(labels == label, TOUCHING, iterations=2)]

    liver = np.median(inner(Label.LIVER))
    assert 85 <= liver <= 125
    tumor = inner(Label.TUMOR)
    assert np.ptp(tumor) <= 1
    assert -60.5 <= np.median(tumor) - liver <= -34.5
    # Vessels are thin: the blur takes from their walls, not from the middle of the thickest.
    assert 39 <= hu[labels == Label.VESSEL].max() - liver <= 76
    assert np.median(hu[:, :2, :2]) == -1000
    assert hu.dtype == np.int16
    assert hu.min() >= -1024


def test_noise_has_the_stated_strength():
    drawn = make_phantom(replace(SMALL, noise_hu=20.0))
    quiet = make_phantom(replace(SMALL, noise_hu=0.0))
    assert np.array_equal(drawn.labels, quiet.labels)
    liver = quiet.labels > 0
    difference = drawn.volume.hu[liver].astype(float) - quiet.volume.hu[liver]
    assert difference.std() == pytest.approx(20, rel=0.05)
    assert abs(difference.mean()) < 1


def test_same_seed_same_voxels_and_another_seed_others():
    first, again = make_phantom(SMALL), make_phantom(SMALL)
    assert np.array_equal(first.volume.hu, again.volume.hu)
    assert np.array_equal(first.labels, again.labels)
    assert first.tumors == again.tumors
    other = make_phantom(replace(SMALL, seed=4))
    assert not np.array_equal(first.volume.hu, other.volume.hu)
    assert not np.array_equal(first.labels, other.labels)


def test_a_phantom_without_tumors_has_none():
    drawn = make_phantom(replace(SMALL, tumor_diameters_mm=()))
    assert drawn.tumors == ()
    assert not (drawn.labels == Label.TUMOR).any()
    assert (drawn.labels == Label.LIVER).any()


def test_a_tumor_that_finds_no_place_is_left_out():
    drawn = make_phantom(replace(SMALL, tumor_diameters_mm=(400.0, 30.0)))
    assert [tumor.mean_diameter_mm for tumor in drawn.tumors] == [pytest.approx(30.0)]


def test_a_scan_beside_the_liver_holds_none():
    drawn = make_phantom(replace(SMALL, shape=(6, 60, 70), center_z_mm=-400.0))
    assert not drawn.labels.any()
    assert drawn.tumors == ()


def test_liver_is_on_the_right_and_of_human_size(phantom: Phantom):
    liver = np.argwhere(phantom.labels > 0).mean(axis=0)
    assert phantom.volume.geometry.index_to_lps(liver)[0] < -15
    volume_ml = float((phantom.labels > 0).sum()) * phantom.volume.geometry.voxel_ml
    assert 800 < volume_ml < 3000


def test_vessels_branch_from_two_trees_and_thin_out():
    rng = np.random.default_rng(0)
    tubes = grow_vessels(rng, make_organs(rng))
    assert len(tubes) > 50
    assert all(tube.radii_mm[1] < tube.radii_mm[0] <= 6.5 for tube in tubes)
    assert min(tube.radii_mm[0] for tube in tubes) >= 1.2
    starts = {tube.start_mm for tube in tubes}
    assert len(starts - {tube.end_mm for tube in tubes}) == 2


def test_demo_export_proof_and_training_draw_different_phantoms():
    pytest.importorskip("torch")
    from livertumor_cli.export.stage_export import PROOF_PHANTOM
    from livertumor_cli.training.cache import PHANTOM_SEEDS

    assert PhantomSpec().seed not in PHANTOM_SEEDS
    assert PROOF_PHANTOM.seed not in PHANTOM_SEEDS
