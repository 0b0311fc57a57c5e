"""Shapes whose volume and diameters are known, with the bound that each measurement keeps.

A shape is drawn by the voxels whose centers lie in it. Every bound follows from the grid: an
outline of voxel corners lies within half a voxel diagonal of the true one.
"""

import math

import numpy as np
import pytest

from livertumor_cli.anatomy import Label
from livertumor_cli.geometry import Geometry
from livertumor_cli.measure.case import measure_case
from livertumor_cli.measure.components import number_lesions

THICK = (5.0, 0.7, 0.7)
FINE = (1.0, 1.0, 1.0)


def centers_mm(shape, spacing_mm):
    """Voxel centers around the middle of the grid, each axis alone."""
    axes = [(np.arange(n) - (n - 1) / 2) * step for n, step in zip(shape, spacing_mm, strict=True)]
    return np.meshgrid(*axes, indexing="ij", sparse=True)


def findings_of(tumor, spacing_mm, hu=None):
    labels = np.where(tumor, Label.TUMOR, Label.LIVER).astype(np.uint8)
    hu = np.zeros(labels.shape, np.int16) if hu is None else hu
    geometry = Geometry.from_spacing(labels.shape, spacing_mm=spacing_mm)
    return measure_case(hu, labels, number_lesions(tumor), geometry=geometry)


def ellipsoid(radii_mm, spacing_mm, *, shift=(0.0, 0.0, 0.0)):
    shape = tuple(2 * math.ceil(r / s) + 5 for r, s in zip(radii_mm, spacing_mm, strict=True))
    axes = centers_mm(shape, spacing_mm)
    return sum(((a - d) / r) ** 2 for a, d, r in zip(axes, shift, radii_mm, strict=True)) <= 1


@pytest.mark.parametrize("spacing_mm", [FINE, THICK, (2.5, 0.8, 0.9)])
@pytest.mark.parametrize("radii_mm", [(15, 15, 15), (30, 30, 30), (20, 12, 28), (25, 9, 9)])
def test_spheres_and_ellipsoids(radii_mm, spacing_mm):
    """Diameters within one voxel diagonal; the true volume within the stated range."""
    tumor = ellipsoid(radii_mm, spacing_mm, shift=tuple(0.3 * step for step in spacing_mm))
    (lesion,) = findings_of(tumor, spacing_mm).lesions
    z, y, x = spacing_mm
    pixel_mm, voxel_mm = math.hypot(y, x), math.hypot(z, y, x)
    true_ml = 4 / 3 * math.pi * math.prod(radii_mm) / 1000
    long, short = (2 * r for r in sorted(radii_mm[1:], reverse=True))
    # Slices meet the widest place only within half a slice of it.
    loss = 1 - math.sqrt(1 - min(1.0, z / 2 / radii_mm[0]) ** 2)
    assert -pixel_mm - loss * long <= lesion.longest_axis.length_mm - long <= pixel_mm
    assert -pixel_mm - loss * short <= lesion.perpendicular_axis.length_mm - short <= pixel_mm
    assert abs(lesion.max_3d_diameter_mm - 2 * max(radii_mm)) <= voxel_mm
    low, high = lesion.volume_range_ml
    assert low < true_ml < high
    assert lesion.volume_ml == pytest.approx(true_ml, rel=0.03)
    assert lesion.equivalent_sphere_diameter_mm == pytest.approx(
        2 * math.prod(radii_mm) ** (1 / 3), rel=0.01
    )


@pytest.mark.parametrize("spacing_mm", [FINE, THICK])
@pytest.mark.parametrize("size", [(1, 1, 1), (1, 2, 7), (4, 5, 6), (3, 30, 2)])
def test_boxes_are_exact(size, spacing_mm):
    tumor = np.zeros((8, 36, 36), bool)
    tumor[2 : 2 + size[0], 2 : 2 + size[1], 2 : 2 + size[2]] = True
    (lesion,) = findings_of(tumor, spacing_mm).lesions
    z, y, x = (n * step for n, step in zip(size, spacing_mm, strict=True))
    assert lesion.volume_ml == pytest.approx(x * y * z / 1000)
    assert lesion.longest_axis.length_mm == pytest.approx(math.hypot(x, y))
    assert lesion.perpendicular_axis.length_mm == pytest.approx(
        min(x, y) / max(x, y) * math.hypot(x, y)
    )
    assert lesion.max_3d_diameter_mm == pytest.approx(math.hypot(x, y, z))
    shell = sum(2 * math.prod(size) // n for n in size)
    inner = math.prod(max(0, n - 2) for n in size)
    voxel_ml = math.prod(spacing_mm) / 1000
    assert lesion.volume_range_ml == pytest.approx(
        ((math.prod(size) + inner) / 2 * voxel_ml, (math.prod(size) + shell / 2) * voxel_ml)
    )


def test_a_ring_is_as_long_as_its_outer_edge_and_as_wide_as_its_wall():
    """The longest line may cross the hole, the perpendicular must stay in the tissue."""
    _, y, x = centers_mm((3, 81, 81), FINE)
    radius = np.hypot(y, x)
    ring = np.repeat((radius <= 35) & (radius >= 25), 3, axis=0)
    ring[[0, 2]] = False
    (lesion,) = findings_of(ring, FINE).lesions
    assert lesion.longest_axis.length_mm == pytest.approx(70, abs=math.sqrt(2))
    # Longest chord in a ring is the tangent to its hole; here it crosses the wall at right angles
    # to a diameter, so it cannot be longer than that tangent.
    tangent = 2 * math.sqrt(35**2 - 25**2)
    assert 10 <= lesion.perpendicular_axis.length_mm <= tangent + math.sqrt(2)


def test_an_l_has_its_ends_as_longest_line():
    """No axis of an ellipse: the line leaves the outline, its ends are the tips."""
    tumor = np.zeros((3, 50, 50), bool)
    tumor[1, 5:45, 5:11] = tumor[1, 39:45, 5:35] = True
    (lesion,) = findings_of(tumor, FINE).lesions
    assert lesion.longest_axis.length_mm == pytest.approx(math.hypot(40, 30))
    assert lesion.perpendicular_axis.length_mm < 15


def test_two_that_touch_at_a_corner_are_one_and_apart_are_two():
    tumor = np.zeros((6, 12, 12), bool)
    tumor[1:3, 2:5, 2:5] = tumor[3:5, 5:8, 5:8] = True
    (lesion,) = findings_of(tumor, FINE).lesions
    assert lesion.max_3d_diameter_mm == pytest.approx(math.hypot(4, 6, 6))
    tumor[3:5, 5:8, 5:8] = False
    tumor[4:6, 5:8, 5:8] = True
    assert len(findings_of(tumor, FINE).lesions) == 2


def test_depth_in_a_spherical_liver():
    """A lesion of 5 mm radius, 20 mm off the center of a liver of 40 mm radius: 15 mm deep."""
    z, y, x = centers_mm((99, 99, 99), FINE)
    liver = z**2 + y**2 + x**2 <= 40**2
    tumor = z**2 + y**2 + (x - 20) ** 2 <= 5**2
    vessel = (np.hypot(z, y) <= 2) & (x < -10) & liver
    labels = np.where(tumor, 2, np.where(vessel, 3, np.where(liver, 1, 0))).astype(np.uint8)
    geometry = Geometry.from_spacing(labels.shape, spacing_mm=FINE)
    hu = np.zeros(labels.shape, np.int16)
    (lesion,) = measure_case(hu, labels, number_lesions(tumor), geometry=geometry).lesions
    assert lesion.surroundings.capsule_distance_mm == pytest.approx(15, abs=math.sqrt(3))
    assert lesion.surroundings.vessel_distance_mm == pytest.approx(25, abs=math.sqrt(3))


def test_contact_of_slanted_surfaces_is_at_most_root_3_too_large():
    z, y, x = np.indices((40, 40, 40))
    tumor, vessel = x + y + z < 50, x + y + z >= 50
    labels = np.where(tumor, 2, 3).astype(np.uint8)
    geometry = Geometry.from_spacing(labels.shape, spacing_mm=FINE)
    hu = np.zeros(labels.shape, np.int16)
    lesions = measure_case(hu, labels, number_lesions(tumor), geometry=geometry).lesions
    # The plane x + y + z = 50 cuts a cube of 40: a hexagon, its corners 10 and 40 along the edges.
    side, large = 10 * math.sqrt(2), 50 * math.sqrt(2)
    area = math.sqrt(3) / 4 * (large**2 - 3 * side**2)
    assert lesions[0].surroundings.vessel_contact_mm2 == pytest.approx(
        math.sqrt(3) * area, rel=0.05
    )
    assert vessel.any()


# The digital phantom of the Image Biomarker Standardisation Initiative: 5 x 4 x 4 voxels of 2 mm
# along x, y, z; -1 is outside the region of interest. Published: approximate (voxel) volume 592
# mm3, mesh volume 556 mm3, mesh surface 388 mm2, maximum 3D diameter of the mesh 13.1 mm, mean
# 2.15, variance 3.05, median 1, minimum 1, maximum 6.
IBSI = np.array(
    [
        [[1, 4, 4, 1, 1], [1, 4, 6, 1, 1], [4, 1, 6, 4, 1], [4, 4, 6, 4, 1]],
        [[1, 4, 4, 1, 1], [1, 1, 6, 1, 1], [-1, 1, 3, 1, 1], [4, 4, 6, 1, 1]],
        [[1, 4, 4, -1, -1], [1, 1, 1, 1, 1], [1, 1, -1, 1, 1], [1, 1, 6, 1, 1]],
        [[1, 4, 4, -1, -1], [1, 1, 1, 1, 1], [1, 1, 1, 1, 1], [1, 1, 6, 1, 1]],
    ],
    dtype=np.int16,
)
IBSI_MM = (2.0, 2.0, 2.0)


@pytest.fixture(scope="module")
def ibsi():
    (lesion,) = findings_of(IBSI > 0, IBSI_MM, IBSI).lesions
    return lesion


def test_ibsi_volume_and_intensities(ibsi):
    """Voxel counting and first-order statistics are defined alike."""
    assert ibsi.volume_ml == pytest.approx(0.592)
    assert ibsi.mean_hu == pytest.approx(2.15, abs=0.005)
    assert ibsi.density.sd_hu**2 == pytest.approx(3.05, abs=0.005)
    assert (ibsi.density.median_hu, ibsi.density.min_hu, ibsi.density.max_hu) == (1, 1, 6)


def test_the_phantom_here_is_the_published_one(ibsi):
    """Its center of mass shift, 0.672 mm, fixes where the gaps in the region lie."""
    index = np.argwhere(IBSI > 0)
    weighted = (index * IBSI[IBSI > 0][:, None]).sum(axis=0) / IBSI[IBSI > 0].sum()
    shift_mm = np.linalg.norm((weighted - index.mean(axis=0)) * 2)
    assert shift_mm == pytest.approx(0.672, abs=5e-4)
    assert ibsi.centroid_lps_mm == pytest.approx(tuple(index.mean(axis=0)[::-1] * 2))


def test_ibsi_mesh_volume_lies_in_the_stated_range(ibsi):
    """No mesh is made here: it cuts the corners of voxels, and boxes are what a mask says."""
    low, high = ibsi.volume_range_ml
    assert low < 0.556 < high


def test_ibsi_mesh_diameter_is_shorter_by_the_corners_it_cuts(ibsi):
    """Mesh points lie half-way between voxel centers, ours at voxel corners: at each end the
    difference is at most the 1.41 mm from the middle of a face to its corner."""
    assert ibsi.max_3d_diameter_mm == pytest.approx(math.hypot(10, 8, 8))
    assert 13.1 <= ibsi.max_3d_diameter_mm <= 13.1 + 2 * math.sqrt(2)


def test_ibsi_slice_diameter_is_that_of_the_pixels(ibsi):
    """IBSI standardizes no 2D diameter; on the first, full slice it is 10 x 8 mm from corner to
    corner. The surface (388 mm2) belongs to the mesh too and is not measured here."""
    assert ibsi.longest_axis.length_mm == pytest.approx(math.hypot(10, 8))
    assert ibsi.slice_index == 0
