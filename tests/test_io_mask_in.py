"""Masks of other programs on the scan's voxels: turned, mirrored, cropped, or refused."""

import numpy as np
import pytest
import SimpleITK as sitk
from axis_orders import ORDERS, stored

from livertumor_cli.errors import EmptyMaskError, GeometryError, InputError, Reason
from livertumor_cli.geometry import Geometry
from livertumor_cli.io.formats import write_label_map
from livertumor_cli.io.mask_in import read_mask, read_segments
from livertumor_cli.volume import LabelMap

AFFINE = np.array([[0.6, -0.4, 0, 10], [0.45, 0.53, 0, -20], [0, 0, 2.5, 30], [0, 0, 0, 1.0]])
AFFINE[:3, 0] *= 0.7 / np.linalg.norm(AFFINE[:3, 0])
AFFINE[:3, 1] = np.cross([0, 0, 1], AFFINE[:3, 0])
SCAN = Geometry((5, 6, 7), AFFINE)


def a_mask():
    labels = np.zeros(SCAN.shape, np.uint8)
    labels[1:4, 2:5, 1:6] = 1
    labels[2, 3, 2:4] = 2
    labels[3, 4, 5] = 3
    return labels


def write_itk(path, label_map):
    image = sitk.GetImageFromArray(label_map.labels)
    geometry = label_map.geometry
    image.SetSpacing(geometry.spacing_mm[::-1])
    image.SetOrigin(geometry.origin_mm.tolist())
    image.SetDirection(geometry.direction.ravel().tolist())
    sitk.WriteImage(image, str(path))


@pytest.mark.parametrize(("order", "flips"), ORDERS)
def test_48_axis_orders(tmp_path, order, flips):
    other = LabelMap(*stored(a_mask(), SCAN, order, flips))
    write_label_map(tmp_path / "mask.nii.gz", other)
    found = read_mask(tmp_path / "mask.nii.gz", scan=SCAN).label_map
    assert np.array_equal(found.labels, a_mask())
    assert found.geometry is SCAN


@pytest.mark.parametrize("name", ["mask.nrrd", "mask.mha", "mask.nii"])
def test_cropped_to_what_is_labeled(tmp_path, name):
    box = (slice(1, 4), slice(2, 5), slice(1, 6))
    write_itk(tmp_path / name, LabelMap(a_mask()[box].copy(), SCAN.cropped(box)))
    assert np.array_equal(read_mask(tmp_path / name, scan=SCAN).label_map.labels, a_mask())


def test_a_mask_that_covers_part_of_the_scan_is_told(tmp_path):
    write_label_map(tmp_path / "whole.nii.gz", LabelMap(a_mask(), SCAN))
    assert read_mask(tmp_path / "whole.nii.gz", scan=SCAN).note == ""
    affine = SCAN.affine_lps.copy()
    affine[:3, 3] += affine[:3, 0]  # one voxel along x, of seven
    shifted = LabelMap(a_mask(), Geometry(SCAN.shape, affine))
    write_label_map(tmp_path / "shifted.nii.gz", shifted)
    note = read_mask(tmp_path / "shifted.nii.gz", scan=SCAN).note
    assert note.startswith("shifted.nii.gz covers 85.7 % of the scan's voxels")


def test_a_larger_grid_may_be_empty_outside_the_scan(tmp_path):
    labels = np.pad(a_mask(), 2)
    write_itk(tmp_path / "mask.nrrd", LabelMap(labels, SCAN.grown((2, 2, 2))))
    assert np.array_equal(read_mask(tmp_path / "mask.nrrd", scan=SCAN).label_map.labels, a_mask())
    labels[0, 0, 0] = 1
    write_itk(tmp_path / "mask.nrrd", LabelMap(labels, SCAN.grown((2, 2, 2))))
    with pytest.raises(GeometryError, match="different grids"):
        read_mask(tmp_path / "mask.nrrd", scan=SCAN)


def test_grids_that_differ_in_their_place_alone_are_told_apart(tmp_path):
    affine = SCAN.affine_lps.copy()
    affine[:3, 3] += affine[:3, 0] / 2
    write_label_map(tmp_path / "mask.nii.gz", LabelMap(a_mask(), Geometry(SCAN.shape, affine)))
    with pytest.raises(GeometryError) as refused:
        read_mask(tmp_path / "mask.nii.gz", scan=SCAN)
    for origin in (affine[:3, 3], SCAN.affine_lps[:3, 3]):
        assert str(tuple(round(float(part), 2) + 0.0 for part in origin)) in refused.value.message


def a_map_of_segments():
    segments = np.zeros(SCAN.shape, np.uint8)
    segments[1:4, 2:5, 1:6] = np.arange(1, 6)
    segments[2, 3, 2:5] = [6, 7, 8]
    return segments


@pytest.mark.parametrize(("order", "flips"), ORDERS[::7])
def test_segments_in_other_axis_orders(tmp_path, order, flips):
    other = LabelMap(*stored(a_map_of_segments(), SCAN, order, flips))
    write_label_map(tmp_path / "segments.nii.gz", other)
    found = read_segments(tmp_path / "segments.nii.gz", scan=SCAN)
    assert np.array_equal(found.label_map.labels, a_map_of_segments())


def test_segments_cropped_to_what_is_labeled(tmp_path):
    box = (slice(1, 4), slice(2, 5), slice(1, 6))
    part = LabelMap(a_map_of_segments()[box].copy(), SCAN.cropped(box))
    write_itk(tmp_path / "segments.nrrd", part)
    found = read_segments(tmp_path / "segments.nrrd", scan=SCAN)
    assert np.array_equal(found.label_map.labels, a_map_of_segments())
    assert found.note.startswith("segments.nrrd covers 21.4 % of the scan's voxels")


def test_named_segments_tell_no_numbers(tmp_path):
    """Slicer's values count the segments as they were made: 1 need not be segment I."""
    image = sitk.GetImageFromArray(a_map_of_segments())
    image.SetMetaData("Segment0_Name", "Segment VIII")
    sitk.WriteImage(image, str(tmp_path / "segments.seg.nrrd"))
    with pytest.raises(InputError, match="whatever they are called") as caught:
        read_segments(tmp_path / "segments.seg.nrrd", scan=SCAN)
    assert "1 to 8 the segments I to VIII" in caught.value.hint


def test_a_dicom_file_is_no_map_of_segments(tmp_path):
    (tmp_path / "segments.dcm").write_bytes(bytes(128) + b"DICM")
    with pytest.raises(InputError, match="no map of Couinaud segments: its format is not read"):
        read_segments(tmp_path / "segments.dcm", scan=SCAN)


def other_grids():
    moved, tilted, wider = (SCAN.affine_lps.copy() for _ in range(3))
    moved[0, 3] += 0.2
    tilted[:3, 2] += [0.3, 0, 0]
    wider[:3, 0] *= 1.1
    return {"moved": moved, "tilted": tilted, "wider": wider}


@pytest.mark.parametrize("name", list(other_grids()))
def test_voxels_between_those_of_the_scan_are_refused(tmp_path, name):
    geometry = Geometry(SCAN.shape, other_grids()[name])
    write_label_map(tmp_path / "mask.nii.gz", LabelMap(a_mask(), geometry))
    with pytest.raises(GeometryError, match="and the scan lie on different") as caught:
        read_mask(tmp_path / "mask.nii.gz", scan=SCAN)
    assert caught.value.reason is Reason.GRIDS_DIFFER
    assert "reference" in caught.value.hint


def test_a_mask_far_away_is_refused(tmp_path):
    affine = SCAN.affine_lps.copy()
    affine[:3, 3] += 100 * affine[:3, 0]
    write_label_map(tmp_path / "mask.nii.gz", LabelMap(a_mask(), Geometry(SCAN.shape, affine)))
    with pytest.raises(GeometryError):
        read_mask(tmp_path / "mask.nii.gz", scan=SCAN)


def test_rounded_positions_pass(tmp_path):
    affine = SCAN.affine_lps.copy()
    affine[:3, 3] += 0.01
    write_label_map(tmp_path / "mask.nii.gz", LabelMap(a_mask(), Geometry(SCAN.shape, affine)))
    assert np.array_equal(read_mask(tmp_path / "mask.nii.gz", scan=SCAN).label_map.labels, a_mask())


def test_other_values_are_refused(tmp_path):
    write_label_map(tmp_path / "mask.nii.gz", LabelMap(a_mask() * 4, SCAN))
    with pytest.raises(InputError, match="it has the values 4, 8, 12"):
        read_mask(tmp_path / "mask.nii.gz", scan=SCAN)


def test_an_empty_mask_is_refused(tmp_path):
    write_label_map(tmp_path / "mask.nii.gz", LabelMap(a_mask() * 0, SCAN))
    with pytest.raises(EmptyMaskError):
        read_mask(tmp_path / "mask.nii.gz", scan=SCAN)


def test_layers_are_refused(tmp_path):
    image = sitk.GetImageFromArray(np.stack([a_mask()] * 2, axis=-1), isVector=True)
    sitk.WriteImage(image, str(tmp_path / "mask.seg.nrrd"))
    with pytest.raises(InputError, match="several layers"):
        read_mask(tmp_path / "mask.seg.nrrd", scan=SCAN)


@pytest.mark.parametrize("name", ["mask.png", "mask.stl"])
def test_other_formats_are_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"no mask")
    with pytest.raises(InputError, match="its format is not read"):
        read_mask(tmp_path / name, scan=SCAN)


def test_files_that_are_not_there_or_broken(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        read_mask(tmp_path / "mask.nrrd", scan=SCAN)
    (tmp_path / "mask.nrrd").write_bytes(b"broken")
    with pytest.raises(InputError, match="cannot be read"):
        read_mask(tmp_path / "mask.nrrd", scan=SCAN)


@pytest.mark.parametrize("name", ["mask", "mask.nii.gz"])
def test_a_folder_is_refused_as_one(tmp_path, name):
    (tmp_path / name).mkdir()
    with pytest.raises(InputError, match="no mask of liver and tumors: it is a folder"):
        read_mask(tmp_path / name, scan=SCAN)


def test_fractions_are_refused(tmp_path):
    image = sitk.GetImageFromArray(a_mask().astype(np.float32) * 0.5)
    sitk.WriteImage(image, str(tmp_path / "mask.mha"))
    with pytest.raises(InputError, match="whole numbers"):
        read_mask(tmp_path / "mask.mha", scan=SCAN)
