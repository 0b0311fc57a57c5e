"""Pictures show the patient the right way round, to scale, with lines where they were measured."""

import io

import numpy as np
import pytest
from axis_orders import ORDERS, stored
from PIL import Image

from livertumor_cli.geometry import Geometry
from livertumor_cli.measure.case import measure_case
from livertumor_cli.measure.components import number_lesions
from livertumor_cli.report.drawing import LONGEST, Picture, png_bytes, whole, windowed
from livertumor_cli.report.figures import case_figures
from livertumor_cli.report.planes import Hanging, Plane
from livertumor_cli.volume import LabelMap, Volume

SHAPE, SPACING_MM = (14, 44, 52), (5.0, 1.5, 1.8)
GEOMETRY = Geometry.from_spacing(SHAPE, spacing_mm=SPACING_MM, origin_mm=(-40, -30, 100))
BONE = 1500


def drawn_case():
    """A liver on the patient's right, a tumor in it, and bone at the right, front, top corner."""
    hu = np.full(SHAPE, -1000, np.int16)
    hu[1:-1, 2:-2, 2:-2] = 20
    labels = np.zeros(SHAPE, np.uint8)
    labels[3:11, 8:36, 4:34] = 1
    labels[5:8, 14:22, 9:19] = 2
    labels[6, 22:26, 12:16] = 2
    labels[9, 30, 25] = 2
    labels[4:10, 27:29, 22:24] = 3
    hu[labels == 1], hu[labels == 2], hu[labels == 3] = 110, 55, 170
    hu[11:13, 2:6, 2:6] = BONE
    return hu, labels


def hanging_of(hu, labels, geometry=GEOMETRY):
    numbers = number_lesions(labels == 2)
    return Hanging(Volume(hu, geometry), LabelMap(labels, geometry), LabelMap(numbers, geometry))


def figures_of(hu, labels, geometry=GEOMETRY):
    numbers = number_lesions(labels == 2)
    findings = measure_case(hu, labels, numbers, geometry=geometry)
    volume, masks = Volume(hu, geometry), (LabelMap(labels, geometry), LabelMap(numbers, geometry))
    return case_figures(volume, mask=masks[0], lesions=masks[1], findings=findings)


def pixels(png):
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def test_bone_lies_where_the_patient_has_it():
    hanging = hanging_of(*drawn_case())
    planes = (hanging.axial(12), hanging.coronal(3), hanging.sagittal(3))
    for plane, marks in zip(planes, ("RLAP", "RLSI", "APSI"), strict=True):
        assert "".join(plane.marks) == marks
        rows, columns = np.nonzero(plane.hu == BONE)
        # Right, front and head are left, left and top in every view.
        assert columns.max() < plane.hu.shape[1] / 2
        assert rows.max() < plane.hu.shape[0] / 2


@pytest.fixture(scope="module")
def expected():
    return {name: pixels(png) for name, png in figures_of(*drawn_case()).items()}


def test_every_picture_is_there(expected):
    assert set(expected) == {
        *("overview_axial.png", "overview_coronal.png", "overview_sagittal.png"),
        *("projection_front.png", "projection_below.png"),
        *("lesion_01.png", "lesion_02.png"),
    }


@pytest.mark.parametrize(("order", "flips"), ORDERS[::5])
def test_axis_orders_give_the_same_pictures(expected, order, flips):
    hu, labels = drawn_case()
    turned, geometry = stored(hu, GEOMETRY, order, flips)
    figures = figures_of(turned, stored(labels, GEOMETRY, order, flips)[0], geometry)
    for name in ("lesion_01.png", "overview_sagittal.png", "projection_front.png"):
        found = pixels(figures[name])
        assert found.shape == expected[name].shape
        # Colors are chosen anew for each file: a shade may differ.
        assert np.abs(found - expected[name]).mean() < 1, name


@pytest.mark.parametrize(("order", "flips"), ORDERS)
def test_48_axis_orders_show_the_same_planes(order, flips):
    hu, labels = drawn_case()
    straight = hanging_of(hu, labels)
    turned, geometry = stored(hu, GEOMETRY, order, flips)
    hanging = hanging_of(turned, stored(labels, GEOMETRY, order, flips)[0], geometry)
    for name in ("axial", "coronal", "sagittal"):
        one, two = (getattr(part, name)(6) for part in (straight, hanging))
        assert np.array_equal(one.hu, two.hu)
        assert np.array_equal(one.labels, two.labels)
        assert one.step_mm == pytest.approx(two.step_mm)
    for axis in (0, 1):
        one, two = (part.projected(axis)[0] for part in (straight, hanging))
        assert np.array_equal(one.hu, two.hu)
        assert np.array_equal(one.labels, two.labels)


def test_pictures_are_to_scale():
    hanging = hanging_of(*drawn_case())
    for plane in (hanging.axial(6), hanging.coronal(20), hanging.sagittal(20)):
        image = whole(plane, height_px=200).finished()
        rows, columns = plane.hu.shape
        ratio = columns * plane.step_mm[1] / (rows * plane.step_mm[0])
        assert image.width / image.height == pytest.approx(ratio, rel=0.02)


@pytest.mark.parametrize(("rows", "columns"), [(4, 200), (200, 4)])
def test_a_thin_slab_is_no_strip(rows, columns):
    """It stays to scale and in the middle; black stands where the scan does not reach."""
    hu = np.full((rows, columns), 300, np.int16)
    none = np.zeros(hu.shape, np.uint8)
    plane = Plane(hu, none, none.astype(np.uint16), (2.5, 2.5), ("R", "L", "S", "I"))
    pixels = np.asarray(whole(plane, height_px=100).finished())[..., 0]
    assert pixels.shape == ((100, 200) if rows < columns else (100, 50))
    along = pixels[:, 100] if rows < columns else pixels[50]
    lit = np.flatnonzero(along > 127)
    assert lit.size == (4 if rows < columns else 2)  # 10 of 250 mm, or 10 of 500 mm
    assert lit.mean() == pytest.approx((along.size - 1) / 2, abs=0.5)


def test_a_mask_covers_its_place_in_a_part_of_the_plane():
    """A tumor of 10 x 18 mm in a picture of 60 mm and 120 pixels, 2 pixels per mm."""
    plane = hanging_of(*drawn_case()).axial(5)
    middle = (17.5, 13.5)  # the middle of its voxels
    picture = Picture(plane, middle=middle, size_mm=(60, 60), height_px=120)
    picture.fill(plane.labels == 2, (255, 0, 0), share=1.0)
    red = np.asarray(picture.finished())
    rows, columns = np.nonzero((red[..., 0] > 200) & (red[..., 1] < 50))
    assert (rows.min(), rows.max()) == pytest.approx((60 - 12, 60 + 11), abs=1)
    assert (columns.min(), columns.max()) == pytest.approx((60 - 18, 60 + 17), abs=1)


@pytest.mark.parametrize("corner", [(9, 12), (0, 0), (22, 0), (22, 32)])
def test_an_outline_lies_just_outside_its_mask(corner):
    """A plane of 30 x 40 mm, a pixel per mm: 1 pixel about 8 x 8, as far as the picture reaches."""
    none = np.zeros((30, 40), np.uint8)
    plane = Plane(none.astype(np.int16), none, none.astype(np.uint16), (1, 1), ("R", "L", "A", "P"))
    (top, left), mask, ring = corner, none.copy(), none.copy()
    mask[top : top + 8, left : left + 8] = 1
    ring[max(0, top - 1) : top + 9, max(0, left - 1) : left + 9] = 1
    picture = Picture(plane, middle=(14.5, 19.5), size_mm=(30, 40), height_px=30)
    picture.outline(mask > 0, (255, 0, 0), width_px=1.0)
    red = np.asarray(picture.finished())[..., 1] == 0
    assert np.array_equal(red, (ring > 0) & (mask == 0))


def test_a_file_keeps_grays_and_tints():
    """All 256 grays, and 120 tints among them that differ by less than two grays do."""
    rgb = np.repeat(np.arange(256, dtype=np.uint8)[:, None, None], 3, axis=2).repeat(4, axis=1)
    rgb[:120, 1] = [[100 + step // 2, 120 - step // 3, step] for step in range(120)]
    kept = pixels(png_bytes(Image.fromarray(rgb)))
    difference = np.abs(kept - rgb).max(axis=2)
    assert difference[:, [0, 2, 3]].max() == 1
    assert not difference[:120, 1].any()
    assert kept[[0, -1], 0].tolist() == [[0] * 3, [255] * 3]


def test_lines_end_where_they_were_measured():
    plane = hanging_of(*drawn_case()).axial(5)
    picture = Picture(plane, middle=(17.5, 13.5), size_mm=(60, 60), height_px=120)
    x, y = picture.place((17.5, 13.5))
    assert (x, y) == pytest.approx((120, 120))  # drawn at twice the size
    assert picture.place((13.5, 8.5)) == pytest.approx((120 - 4 * 5 * 1.8, 120 - 4 * 4 * 1.5))
    picture.line([(13.5, 8.5), (21.5, 18.5)], LONGEST)
    image = np.asarray(picture.finished()).astype(int)
    yellow = (image[..., 0] > 180) & (image[..., 1] > 170) & (image[..., 2] < 140)
    rows, columns = np.nonzero(yellow)
    assert abs(rows.min() - 48) <= 6
    assert abs(columns.max() - 78) <= 6


def test_what_lies_outside_the_scan_is_black():
    plane = hanging_of(*drawn_case()).axial(6)
    picture = Picture(plane, middle=(0, 0), size_mm=(60, 60), height_px=60)
    image = np.asarray(picture.finished())
    assert not image[:28, :].any()
    assert not image[:, :28].any()
    assert image[45:, 45:].any()
    far = Picture(plane, middle=(-500, 900), size_mm=(60, 60), height_px=60)
    assert not np.asarray(far.finished()).any()


def test_window():
    hu = np.array([[-1000, -75, 50, 175, 3000]], np.int16)
    assert windowed(hu, (-75.0, 175.0)).tolist() == [[0, 0, 128, 255, 255]]


def test_no_lesion_and_no_liver():
    hu, labels = drawn_case()
    labels[labels == 2] = 1
    assert set(figures_of(hu, labels)) == {
        *("overview_axial.png", "overview_coronal.png", "overview_sagittal.png"),
        *("projection_front.png", "projection_below.png"),
    }
    assert len(figures_of(hu, labels * 0)) == 3


def test_lesions_at_every_border_have_a_picture():
    hu, labels = drawn_case()
    labels[0, 0, 0] = labels[-1, -1, -1] = labels[0, -1, 20] = 2
    names = set(figures_of(hu, labels))
    assert {f"lesion_{number:02d}.png" for number in range(1, 6)} <= names


def test_forty_lesions_have_a_picture_each():
    hu, labels = drawn_case()
    labels[labels == 2] = 1
    rows, columns = (axis.ravel() for axis in np.indices((5, 8)))
    labels[labels.shape[0] // 2, 2 + 3 * rows, 2 + 3 * columns] = 2
    names = set(figures_of(hu, labels))
    assert {f"lesion_{number:02d}.png" for number in range(1, 41)} <= names


def test_a_mask_full_of_noise_has_pictures_of_its_largest_lesions(monkeypatch):
    monkeypatch.setattr("livertumor_cli.report.figures.MOST_PICTURED", 2)
    hu, labels = drawn_case()
    labels[0, 0, 0] = labels[-1, -1, -1] = 2
    found = {name for name in figures_of(hu, labels) if name.startswith("lesion")}
    assert found == {"lesion_01.png", "lesion_02.png"}
