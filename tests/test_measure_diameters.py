"""Diameters against shapes whose diameters are known."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from livertumor_cli.errors import EmptyMaskError
from livertumor_cli.geometry import Geometry
from livertumor_cli.measure.components import number_lesions
from livertumor_cli.measure.diameters import axial_diameters, max_3d_diameter_mm


def grid(mask, spacing_mm=(1.0, 1.0, 1.0)):
    return Geometry.from_spacing(mask.shape, spacing_mm=spacing_mm)


def rotation(angle_x, angle_z):
    cx, sx, cz, sz = math.cos(angle_x), math.sin(angle_x), math.cos(angle_z), math.sin(angle_z)
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    return np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]]) @ about_x


def oblique(shape, spacing_mm, angles=(0.17, 0.35)):
    affine = np.eye(4)
    affine[:3, :3] = rotation(*angles) * np.array(spacing_mm[::-1])
    affine[:3, 3] = (-120.0, -80.0, 300.0)
    return Geometry(shape, affine)


def assert_is_a_line(axis):
    start, stop = np.array(axis.ends_lps_mm)
    assert np.linalg.norm(stop - start) == pytest.approx(axis.length_mm, abs=1e-9)


def assert_at_right_angles(found):
    long, short = (
        np.subtract(*axis.ends_lps_mm[::-1]) for axis in (found.longest, found.perpendicular)
    )
    cosine = long @ short / np.linalg.norm(long) / np.linalg.norm(short)
    assert cosine == pytest.approx(0, abs=1e-6)


def assert_within(mask, axis, geometry):
    """Every point of the line lies in a voxel of the mask or on its border."""
    ends = geometry.lps_to_index(np.array(axis.ends_lps_mm))
    share = np.linspace(0, 1, 1501)[:, None]
    points = ends[0] * (1 - share) + ends[1] * share
    inside = np.zeros(len(points), bool)
    for nudge in itertools.product((-1e-6, 1e-6), repeat=2):
        index = np.round(points + np.array([0, *nudge])).astype(int)
        fits = ((index >= 0) & (index < mask.shape)).all(axis=1)
        inside[fits] |= mask[tuple(index[fits].T)]
    assert inside.all()


def test_one_voxel_has_its_diagonals():
    mask = np.ones((1, 1, 1), bool)
    geometry = grid(mask, (5.0, 0.7, 0.9))
    found = axial_diameters(mask, geometry=geometry)
    assert found.longest.length_mm == pytest.approx(math.hypot(0.7, 0.9))
    # At right angles to the diagonal of a 0.7 x 0.9 pixel fits shorter * diagonal / longer side.
    assert found.perpendicular.length_mm == pytest.approx(0.7 * math.hypot(0.7, 0.9) / 0.9)
    assert max_3d_diameter_mm(mask, geometry=geometry) == pytest.approx(math.hypot(0.7, 0.9, 5.0))
    assert found.slice_index == 0


@pytest.mark.parametrize("size", [(1, 1, 9), (1, 9, 1), (9, 1, 1), (1, 4, 6), (3, 4, 5)])
def test_boxes_are_exact(size):
    mask = np.zeros((11, 11, 11), bool)
    mask[1 : 1 + size[0], 1 : 1 + size[1], 1 : 1 + size[2]] = True
    geometry = grid(mask, (2.5, 0.8, 0.7))
    z, y, x = (n * step for n, step in zip(size, (2.5, 0.8, 0.7), strict=True))
    found = axial_diameters(mask, geometry=geometry)
    diagonal = math.hypot(y, x)
    assert found.longest.length_mm == pytest.approx(diagonal)
    assert found.perpendicular.length_mm == pytest.approx(min(y, x) * diagonal / max(y, x))
    assert max_3d_diameter_mm(mask, geometry=geometry) == pytest.approx(math.hypot(z, y, x))
    assert found.slice_index == 1  # of equal slices the lowest
    assert_within(mask, found.perpendicular, geometry)


def test_end_points_are_pixel_corners_in_lps():
    mask = np.zeros((3, 8, 8), bool)
    mask[1, 2, 3:7] = True
    geometry = Geometry.from_spacing(mask.shape, spacing_mm=(5, 1, 1), origin_mm=(10, 20, 30))
    found = axial_diameters(mask, geometry=geometry)
    assert found.longest.ends_lps_mm == ((12.5, 21.5, 35.0), (16.5, 22.5, 35.0))


def test_slice_with_the_longest_line_is_chosen():
    mask = np.zeros((4, 12, 12), bool)
    mask[0, :5, :5] = True
    mask[2, 3, 1:11] = True
    mask[3, :6, :6] = True
    found = axial_diameters(mask, geometry=grid(mask))
    assert (found.slice_index, found.longest.length_mm) == (2, pytest.approx(math.hypot(10, 1)))


def test_of_equal_slices_the_fullest_is_chosen():
    mask = np.zeros((3, 6, 6), bool)
    mask[0, :5, 0] = mask[0, 4, :5] = True
    mask[1, :5, :5] = True
    assert axial_diameters(mask, geometry=grid(mask)).slice_index == 1


def test_l_shape_has_a_long_axis_outside_and_a_short_one_inside():
    mask = np.zeros((1, 10, 10), bool)
    mask[0, :, 0] = mask[0, 9, :] = True
    found = axial_diameters(mask, geometry=grid(mask))
    assert found.longest.length_mm == pytest.approx(10 * math.sqrt(2))
    assert found.perpendicular.length_mm == pytest.approx(math.sqrt(2))
    assert_at_right_angles(found)
    assert_within(mask, found.perpendicular, grid(mask))


def test_ring_is_not_crossed_through_its_hole():
    y, x = np.indices((45, 45)) - 22
    mask = ((y**2 + x**2 <= 20**2) & (y**2 + x**2 > 12**2))[None]
    found = axial_diameters(mask, geometry=grid(mask))
    assert found.longest.length_mm == pytest.approx(40, abs=math.sqrt(2))
    # The longest line beside the hole touches it: half of it is a leg of a 20-12-16 triangle.
    assert found.perpendicular.length_mm == pytest.approx(32, abs=2.5)
    assert_at_right_angles(found)
    assert_within(mask, found.perpendicular, grid(mask))


def test_pieces_of_a_slice_are_measured_each_for_itself():
    """A V that opens upwards: no line runs through the liver between its arms."""
    mask = np.zeros((4, 20, 50), bool)
    for index in range(4):
        mask[index, 5:11, 20 - 5 * index : 28 - 5 * index] = True
        mask[index, 6:10, 21 + 5 * index : 27 + 5 * index] = True
    geometry = grid(mask, (5.0, 1.0, 1.0))
    assert number_lesions(mask).max() == 1
    found = axial_diameters(mask, geometry=geometry)
    assert found.longest.length_mm == pytest.approx(math.hypot(6, 8))  # not 37 from arm to arm
    assert_within(mask, found.longest, geometry)
    assert_within(mask, found.perpendicular, geometry)
    assert max_3d_diameter_mm(mask, geometry=geometry) > 37


def test_pieces_that_touch_at_a_corner_are_one():
    mask = np.zeros((1, 8, 8), bool)
    mask[0, 1:4, 1:5] = mask[0, 4:7, 5:8] = True
    found = axial_diameters(mask, geometry=grid(mask))
    assert found.longest.length_mm == pytest.approx(math.hypot(6, 7))


def test_of_equal_pieces_the_fullest_then_the_first_is_measured():
    mask = np.zeros((2, 9, 20), bool)
    mask[0, 1:4, 10:14] = True
    mask[:, 5:8, 2:6] = True
    mask[:, 6, 3] = False
    found = axial_diameters(mask, geometry=grid(mask))
    assert found.slice_index == 0
    assert min(x for x, _, _ in found.longest.ends_lps_mm) == 9.5


def test_pixels_touching_at_a_corner_are_no_way_through():
    mask = np.zeros((1, 6, 6), bool)
    mask[0, :3, :3] = mask[0, 3:, 3:] = True
    found = axial_diameters(mask, geometry=grid(mask))
    assert found.longest.length_mm == pytest.approx(6 * math.sqrt(2))
    assert found.perpendicular.length_mm == pytest.approx(3 * math.sqrt(2))
    steps = np.zeros((1, 5, 10), bool)  # rows that only touch along an edge line
    steps[0, 0:2, 0:5] = steps[0, 2:4, 5:10] = True
    found = axial_diameters(steps, geometry=grid(steps))
    assert_within(steps, found.perpendicular, grid(steps))


@pytest.mark.parametrize("spacing_mm", [(5.0, 0.7, 0.7), (1.0, 0.6, 0.9), (2.5, 1.0, 1.0)])
@pytest.mark.parametrize("angle", [0.0, 0.5, 1.1])
@pytest.mark.parametrize("place", [grid, None])
def test_ellipsoids_within_one_pixel_diagonal(spacing_mm, angle, place):
    shape = (9, 81, 81)
    mask = np.zeros(shape, bool)
    geometry = place(mask, spacing_mm) if place else oblique(shape, spacing_mm)
    offsets = (np.indices(shape).reshape(3, -1).T - [4, 40, 40]) * spacing_mm
    z, y, x = offsets.T
    along, across = (
        x * math.cos(angle) + y * math.sin(angle),
        y * math.cos(angle) - x * math.sin(angle),
    )
    inside = (along / 20) ** 2 + (across / 11) ** 2 + (z / (3.5 * spacing_mm[0])) ** 2 <= 1
    mask = inside.reshape(shape)
    found = axial_diameters(mask, geometry=geometry)
    pixel = math.hypot(*spacing_mm[1:])
    assert found.longest.length_mm == pytest.approx(40, abs=pixel)
    # The long axis may tilt by a pixel over its length, the short one changes with it.
    assert found.perpendicular.length_mm == pytest.approx(22, abs=1.5 * pixel)
    assert found.slice_index == 4
    assert_is_a_line(found.longest)
    assert_is_a_line(found.perpendicular)
    assert_at_right_angles(found)
    assert_within(mask, found.perpendicular, geometry)


@pytest.mark.parametrize("radius", [6, 25])
def test_ball_in_three_dimensions(radius):
    z, y, x = np.indices((2 * radius + 1,) * 3) - radius
    mask = z**2 + y**2 + x**2 <= radius**2
    found = max_3d_diameter_mm(mask, geometry=grid(mask))
    assert found == pytest.approx(2 * radius, abs=math.sqrt(3))


def test_skewed_pixels_are_measured_as_they_lie():
    affine = np.array([[1, 0.3, 0, 0], [0, 1, 0.2, 0], [0, 0, 2, 0], [0, 0, 0, 1.0]])
    mask = np.ones((1, 1, 1), bool)
    geometry = Geometry((1, 1, 1), affine)
    found = axial_diameters(mask, geometry=geometry)
    assert found.longest.length_mm == pytest.approx(math.hypot(1.3, 1))
    assert max_3d_diameter_mm(mask, geometry=geometry) == pytest.approx(math.hypot(1.3, 1.2, 2))
    assert_at_right_angles(found)


def test_empty_mask_has_no_diameter():
    mask = np.zeros((3, 3, 3), bool)
    with pytest.raises(EmptyMaskError):
        axial_diameters(mask, geometry=grid(mask))
    with pytest.raises(EmptyMaskError):
        max_3d_diameter_mm(mask, geometry=grid(mask))


def reordered(array, geometry, order, flips):
    """The same voxels in the patient, stored with other axes."""
    steps = tuple(slice(None, None, -1 if flip else None) for flip in flips)
    stored = array.transpose(order)[steps]
    zyx = geometry.affine_lps[:3, 2::-1][:, list(order)] * np.where(flips, -1, 1)
    start = np.zeros(3)
    for axis, flip in zip(order, flips, strict=True):
        start[axis] = array.shape[axis] - 1 if flip else 0
    affine = np.eye(4)
    affine[:3, :3] = zyx[:, ::-1]
    affine[:3, 3] = geometry.index_to_lps(start)
    return stored, Geometry(stored.shape, affine)


def lesion_shapes():
    rng = np.random.default_rng(4)
    ragged = np.zeros((6, 9, 11), bool)
    ragged[1:5, 1:8, 2:10] = rng.random((4, 7, 8)) > 0.3
    full = np.zeros((6, 9, 11), bool)
    full[2:5, 3:6, 4:7] = True  # every diagonal of every slice is equally long
    return {"ragged": ragged, "box": full}


@pytest.mark.parametrize("spacing_mm", [(2.5, 0.8, 0.8), (1.0, 1.0, 1.0)])
@pytest.mark.parametrize("name", ["ragged", "box"])
def test_all_48_axis_orders_give_the_same_lines_in_the_patient(name, spacing_mm):
    mask = lesion_shapes()[name]
    geometry = oblique(mask.shape, spacing_mm)
    expected = axial_diameters(mask, geometry=geometry)
    longest_3d = max_3d_diameter_mm(mask, geometry=geometry)
    for order in itertools.permutations(range(3)):
        for flips in itertools.product((False, True), repeat=3):
            stored, grid_of_stored = reordered(mask, geometry, order, flips)
            found = axial_diameters(stored, geometry=grid_of_stored)
            for name_of_axis in ("longest", "perpendicular"):
                axis, same = getattr(found, name_of_axis), getattr(expected, name_of_axis)
                assert axis.length_mm == pytest.approx(same.length_mm, abs=1e-9)
                assert np.allclose(axis.ends_lps_mm, same.ends_lps_mm, atol=1e-9)
            axial = order.index(0)
            slice_index = expected.slice_index
            if flips[axial]:
                slice_index = mask.shape[0] - 1 - slice_index
            assert found.slice_index == slice_index
            assert max_3d_diameter_mm(stored, geometry=grid_of_stored) == pytest.approx(longest_3d)


small_masks = hnp.arrays(bool, st.tuples(*[st.integers(1, size) for size in (3, 6, 6)]))
spacings = st.sampled_from([(1.0, 1.0, 1.0), (5.0, 0.7, 0.7), (2.0, 0.9, 0.6), (1.0, 3.0, 0.5)])


def corners_mm(mask, spacing_mm):
    index = np.argwhere(mask)
    shifts = np.array(list(itertools.product((-0.5, 0.5), repeat=mask.ndim)))
    return (index[:, None] + shifts).reshape(-1, mask.ndim) * spacing_mm


def pieces(pixels):
    """Pieces whose pixels touch, at corners too: each grows from its first pixel."""
    left = set(map(tuple, np.argwhere(pixels)))
    while left:
        piece, edge = set(), [left.pop()]
        while edge:
            row, column = edge.pop()
            piece.add((row, column))
            near = {(row + y, column + x) for y in (-1, 0, 1) for x in (-1, 0, 1)} & left
            left -= near
            edge += near
        alone = np.zeros_like(pixels)
        alone[tuple(np.array(sorted(piece)).T)] = True
        yield alone


def longest_mm(points):
    return float(np.linalg.norm(points[:, None] - points[None], axis=-1).max())


@settings(max_examples=60, deadline=None)
@given(small_masks, spacings)
def test_diameters_equal_all_pairs_of_corners(mask, spacing_mm):
    assume(mask.any())
    geometry = grid(mask, spacing_mm)
    slices = [
        longest_mm(corners_mm(piece, spacing_mm[1:])) for part in mask for piece in pieces(part)
    ]
    found = axial_diameters(mask, geometry=geometry)
    assert found.longest.length_mm == pytest.approx(max(slices), abs=1e-5)
    assert max_3d_diameter_mm(mask, geometry=geometry) == pytest.approx(
        longest_mm(corners_mm(mask, spacing_mm))
    )


def longest_run_mm(pixels, origin, direction):
    """Longest piece of a line inside the pixels: the line is cut with every pixel on its own."""
    pieces = []
    for pixel in np.argwhere(pixels):
        low, high = -np.inf, np.inf
        for start, step, center in zip(origin, direction, pixel, strict=True):
            if abs(step) < 1e-12:
                if abs(start - center) > 0.5:
                    low, high = 1.0, 0.0
                continue
            ends = sorted(((center - 0.5 - start) / step, (center + 0.5 - start) / step))
            low, high = max(low, ends[0]), min(high, ends[1])
        if high > low:
            pieces.append((low, high))
    best, end, begin = 0.0, -np.inf, 0.0
    for low, high in sorted(pieces):
        if low > end + 1e-7:
            begin = low
        end = max(end, high)
        best = max(best, end - begin)
    return best


@settings(max_examples=60, deadline=None)
@given(small_masks, spacings)
def test_perpendicular_is_the_longest_inside(mask, spacing_mm):
    assume(mask.any())
    geometry = grid(mask, spacing_mm)
    found = axial_diameters(mask, geometry=geometry)
    assert_is_a_line(found.perpendicular)
    assert_at_right_angles(found)
    assert_within(mask, found.perpendicular, geometry)
    step = np.array(spacing_mm[1:])
    ends = np.array(found.longest.ends_lps_mm)[:, 1::-1]
    along = (ends[1] - ends[0]) / np.linalg.norm(ends[1] - ends[0])
    across = np.array([-along[1], along[0]])
    middle = geometry.lps_to_index(np.mean(found.perpendicular.ends_lps_mm, axis=0))[1:]
    pixels = min(
        pieces(mask[found.slice_index]),
        key=lambda piece: np.abs(np.argwhere(piece) - middle).max(axis=1).min(),
    )
    # Just beside every corner: on the corner itself a line may only touch pixels.
    offsets = np.unique(np.round(corners_mm(pixels, spacing_mm[1:]) @ along, 7))
    best = max(
        longest_run_mm(pixels, (offset + beside) * along / step, across / step)
        for offset in offsets
        for beside in (-1e-5, 1e-5)
    )
    assert found.perpendicular.length_mm == pytest.approx(best, abs=2e-3)
