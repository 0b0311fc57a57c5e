"""RTSTRUCT: contours that cover the mask's pixels and nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from derived_cases import ROTATIONS, Case, code, make_case, pixel_places, some_labels
from pydicom.dataset import Dataset
from test_io_dicom_seg import halved, to_enhanced

from livertumor_cli.io.dicom_results import DicomObject

RTSTRUCT = (DicomObject.RTSTRUCT,)


def expected_masks(case: Case) -> dict[str, np.ndarray]:
    masks = {"Liver": case.labels > 0}
    for lesion in case.findings.lesions:
        masks[f"L{lesion.id:02d}"] = case.lesions == lesion.id
    return masks | {"Vessels": case.labels == 3}


def contours(structures: Dataset) -> dict[str, list[Dataset]]:
    """The contours of each ROI by its name."""
    names = {one.ROINumber: one.ROIName for one in structures.StructureSetROISequence}
    return {
        names[one.ReferencedROINumber]: list(one.ContourSequence)
        for one in structures.ROIContourSequence
    }


def points(contour: Dataset) -> np.ndarray:
    found = np.array([float(value) for value in contour.ContourData]).reshape(-1, 3)
    assert len(found) == contour.NumberOfContourPoints
    return found


def filled(source: Dataset, contour: Dataset) -> np.ndarray:
    """Share of each pixel of the source image inside a contour, by even-odd at 5 x 5 points."""
    places = pixel_places(source)
    steps = np.array([places[1, 0] - places[0, 0], places[0, 1] - places[0, 0]])
    corners = (points(contour) - places[0, 0]) @ np.linalg.pinv(steps)
    offsets = (np.arange(5) - 2) / 5 + 0.017  # off the lines that the contour follows
    rows = (np.arange(source.Rows)[:, None] + offsets).ravel()
    columns = (np.arange(source.Columns)[:, None] + offsets).ravel()
    inside = np.zeros((rows.size, columns.size), dtype=bool)
    for (r0, c0), (r1, c1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        if abs(r1 - r0) > 1e-9:
            crossed = (r0 > rows) != (r1 > rows)
            at = c0 + (rows - r0) / (r1 - r0) * (c1 - c0)
            inside ^= crossed[:, None] & (columns[None, :] < at[:, None])
    return inside.reshape(source.Rows, 5, source.Columns, 5).mean(axis=(1, 3))


@pytest.mark.parametrize("rotation", list(ROTATIONS))
def test_contours_cover_the_mask_pixel_by_pixel(tmp_path: Path, rotation: str) -> None:
    case = make_case(tmp_path, rotation, objects=RTSTRUCT)
    index = {one.SOPInstanceUID: number for number, one in enumerate(case.slices)}
    expected = expected_masks(case)
    found = contours(case.read("rtstruct"))
    assert list(found) == list(expected)
    for name, mask in expected.items():
        share = np.zeros(mask.shape)
        for contour in found[name]:
            [image] = contour.ContourImageSequence
            z = index[image.ReferencedSOPInstanceUID]
            share[z] += filled(case.slices[z], contour)
        assert np.array_equal(share, mask)
        voxel_ml = case.volume.geometry.voxel_ml
        assert share.sum() * voxel_ml == pytest.approx(mask.sum() * voxel_ml, rel=0.02)


def test_the_liver_has_the_volume_of_the_report(tmp_path: Path) -> None:
    """Areas by the shoelace formula, keyholes round holes included, times the slice spacing."""
    case = make_case(tmp_path, "oblique", objects=RTSTRUCT)
    volume_mm3 = 0.0
    for contour in contours(case.read("rtstruct"))["Liver"]:
        corners = points(contour)
        twice = np.cross(corners, np.roll(corners, -1, axis=0)).sum(axis=0)
        volume_mm3 += np.linalg.norm(twice) / 2 * case.volume.geometry.spacing_mm[0]
    assert volume_mm3 / 1000 == pytest.approx(case.findings.liver_volume_ml, rel=1e-3)


def test_contours_lie_on_their_slice_and_each_number_fits(tmp_path: Path) -> None:
    case = make_case(tmp_path, "oblique", objects=RTSTRUCT)
    structures = case.read("rtstruct")
    # Types written explicitly hold at most 64 KiB of contour data, fewer than a liver has.
    assert structures.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2"
    for one in (one for group in contours(structures).values() for one in group):
        assert one.ContourGeometricType == "CLOSED_PLANAR"
        z = case.volume.geometry.lps_to_index(points(one))[:, 0]
        assert np.abs(z - np.rint(z)).max() < 1e-3
        assert all(len(str(value)) <= 16 for value in one.ContourData)


def test_regions_are_named_colored_and_referenced(tmp_path: Path) -> None:
    case = make_case(tmp_path, objects=RTSTRUCT)
    structures = case.read("rtstruct")
    source = case.slices[0]
    for roi in structures.StructureSetROISequence:
        assert roi.ReferencedFrameOfReferenceUID == source.FrameOfReferenceUID
        assert roi.ROIGenerationAlgorithm == "AUTOMATIC"
        assert len(roi.ROIName) <= 16
    colors = [list(one.ROIDisplayColor) for one in structures.ROIContourSequence]
    assert colors == [[0, 158, 115], [230, 159, 0], [230, 159, 0], [86, 180, 233]]
    observations = structures.RTROIObservationsSequence
    assert [code(one.RTROIIdentificationCodeSequence[0])[0] for one in observations] == [
        "10200004",
        "52988006",
        "52988006",
        "59820001",
    ]
    assert [one.RTROIInterpretedType for one in observations] == ["ORGAN", "", "", "ORGAN"]
    [frame] = structures.ReferencedFrameOfReferenceSequence
    [study] = frame.RTReferencedStudySequence
    [series] = study.RTReferencedSeriesSequence
    assert series.SeriesInstanceUID == source.SeriesInstanceUID
    named = [item.ReferencedSOPInstanceUID for item in series.ContourImageSequence]
    assert named == [one.SOPInstanceUID for one in case.slices]
    assert structures.ApprovalStatus == "UNAPPROVED"


def test_structures_without_a_voxel_are_left_out(tmp_path: Path) -> None:
    labels = (some_labels() > 0).astype(np.uint8)
    case = make_case(tmp_path, labels=labels, objects=RTSTRUCT)
    assert list(contours(case.read("rtstruct"))) == ["Liver"]


def test_contours_of_a_resampled_mask_claim_no_image(tmp_path: Path) -> None:
    case = make_case(tmp_path, objects=RTSTRUCT, resample=halved)
    geometry = case.volume.geometry
    for contour in contours(case.read("rtstruct"))["Liver"]:
        assert "ContourImageSequence" not in contour
        z = geometry.lps_to_index(points(contour))[:, 0]
        assert np.abs(z - np.rint(z)).max() < 1e-3


def test_contours_on_an_enhanced_ct_name_their_frame(tmp_path: Path) -> None:
    case = make_case(tmp_path, objects=RTSTRUCT, change=to_enhanced)
    for contour in contours(case.read("rtstruct"))["Liver"]:
        z = round(case.volume.geometry.lps_to_index(points(contour))[0, 0])
        [image] = contour.ContourImageSequence
        assert image.ReferencedFrameNumber == case.labels.shape[0] - z
