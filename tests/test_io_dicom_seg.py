"""DICOM SEG: every voxel in its place in the patient, every reference to the true source."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from derived_cases import (
    ALL,
    ROTATIONS,
    code,
    grid,
    make_case,
    seg_in_patient,
    seg_planes,
    some_labels,
    write_case,
)
from pydicom.dataset import Dataset
from scans import body_hu, datasets

from livertumor_cli.errors import OutputError
from livertumor_cli.geometry import Geometry
from livertumor_cli.io.dicom_ct import write_datasets
from livertumor_cli.io.dicom_readback import verify_segmentation
from livertumor_cli.io.dicom_results import DicomObject, plan_dicom, write_dicom
from livertumor_cli.io.formats import read_volume
from livertumor_cli.volume import LabelMap, Volume

SEG = (DicomObject.SEG,)


def expected_numbers(labels: np.ndarray, lesions: np.ndarray) -> np.ndarray:
    """Liver 1, lesions from 2 on, vessels last."""
    numbers = np.where(lesions > 0, lesions.astype(int) + 1, 0)
    numbers[labels == 1] = 1
    numbers[labels == 3] = lesions.max() + 2
    return numbers


@pytest.mark.parametrize("seg_type", ["binary", "labelmap"])
@pytest.mark.parametrize("rotation", list(ROTATIONS))
@pytest.mark.filterwarnings("default::UserWarning:pydicom")
def test_every_voxel_comes_back_in_its_place(tmp_path: Path, rotation: str, seg_type: str) -> None:
    case = make_case(tmp_path, rotation, objects=SEG, seg_type=seg_type)
    found = seg_in_patient(case.read("seg"), case.volume.geometry)
    assert np.array_equal(found, expected_numbers(case.labels, case.lesions))


def test_itk_reads_the_same_pixels(tmp_path: Path) -> None:
    """GDCM, which knows nothing of positions in segmentations, unpacks the same frames."""
    # Of frames that do not fill whole bytes it leaves the last pixels to chance.
    labels = np.pad(some_labels(), ((0, 0), (1, 1), (0, 0)))
    assert labels[0].size % 8 == 0
    seg = make_case(tmp_path, labels=labels, objects=SEG).read("seg")
    stored = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "segmentation.dcm"))) > 0
    assert np.array_equal(stored, [pixels > 0 for _, _, pixels, _ in seg_planes(seg)])


@pytest.mark.parametrize("rotation", ["axial", "feet_first"])
def test_frames_lie_on_their_source_images_in_their_order(tmp_path: Path, rotation: str) -> None:
    case = make_case(tmp_path, rotation, objects=SEG)
    seg = case.read("seg")
    position_of = {one.SOPInstanceUID: one.ImagePositionPatient for one in case.slices}
    order = list(position_of)
    # One segment after the other, each slice by slice from one end.
    rows = [
        (number, -order.index(source.ReferencedSOPInstanceUID))
        for number, _, _, source in seg_planes(seg)
    ]
    assert rows == sorted(rows)
    for _, place, pixels, source in seg_planes(seg):
        assert pixels.any(), "empty frames are left out"
        assert source.SpatialLocationsPreserved == "YES"
        assert np.allclose(
            place.ImagePositionPatient,
            position_of[source.ReferencedSOPInstanceUID],
            rtol=0,
            atol=1e-6,
        )
    [series] = seg.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == case.slices[0].SeriesInstanceUID
    named = [item.ReferencedSOPInstanceUID for item in series.ReferencedInstanceSequence]
    assert named == order
    assert [item.ReferencedSOPInstanceUID for item in seg.SourceImageSequence] == order


def test_segments_say_what_they_are_and_what_made_them(tmp_path: Path) -> None:
    seg = make_case(tmp_path, objects=SEG).read("seg")
    rows = [
        (
            one.SegmentNumber,
            one.SegmentLabel,
            code(one.SegmentedPropertyCategoryCodeSequence[0]),
            code(one.SegmentedPropertyTypeCodeSequence[0]),
            one.get("TrackingID"),
        )
        for one in seg.SegmentSequence
    ]
    anatomical, abnormal = ("91723000", "SCT"), ("49755003", "SCT")
    assert rows == [
        (1, "Liver without lesions and vessels", anatomical, ("10200004", "SCT"), None),
        (2, "Lesion L01", abnormal, ("52988006", "SCT"), "L01"),
        (3, "Lesion L02", abnormal, ("52988006", "SCT"), "L02"),
        (4, "Intrahepatic vessels", anatomical, ("59820001", "SCT"), None),
    ]
    assert seg.SegmentSequence[1].TrackingUID != seg.SegmentSequence[2].TrackingUID
    for segment in seg.SegmentSequence:
        assert segment.SegmentAlgorithmType == "AUTOMATIC"
        [algorithm] = segment.SegmentationAlgorithmIdentificationSequence
        assert algorithm.AlgorithmName == "livertumor toy 1.0"
        assert algorithm.AlgorithmVersion == seg.SoftwareVersions
    assert seg.SegmentationType == "BINARY"
    assert seg.SegmentsOverlap == "NO"
    assert seg.LossyImageCompression == "00"
    assert "Research use only" in seg.ContentDescription


def test_no_tumor_and_no_vessel_leave_the_liver(tmp_path: Path) -> None:
    labels = (some_labels() > 0).astype(np.uint8)
    case = make_case(tmp_path, labels=labels, objects=SEG)
    [segment] = case.read("seg").SegmentSequence
    assert segment.SegmentLabel.startswith("Liver")
    assert np.array_equal(seg_in_patient(case.read("seg"), case.volume.geometry), labels)


def test_a_labelmap_is_compressed_without_loss(tmp_path: Path) -> None:
    seg = make_case(tmp_path, objects=SEG, seg_type="labelmap").read("seg")
    assert seg.SegmentationType == "LABELMAP"
    assert seg.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.5"
    assert seg.LossyImageCompression == "00"


def halved(geometry: Geometry) -> Geometry:
    """Another slice spacing and origin, as after resampling; the same number of voxels."""
    affine = geometry.affine_lps.copy()
    affine[:3, 2] *= 0.8
    affine[:3, 3] += affine[:3, 2] * 0.37
    return Geometry(geometry.shape, affine)


def test_a_resampled_mask_keeps_its_place_and_claims_no_source_pixels(tmp_path: Path) -> None:
    case = make_case(tmp_path, "oblique", objects=SEG, resample=halved)
    seg = case.read("seg")
    found = seg_in_patient(seg, case.volume.geometry)
    assert np.array_equal(found, expected_numbers(case.labels, case.lesions))
    for _, _, _, source in seg_planes(seg):
        assert source.SpatialLocationsPreserved == "NO"


def test_a_lossy_source_is_said_to_be_one(tmp_path: Path) -> None:
    stated = {
        "LossyImageCompression": "01",
        "LossyImageCompressionRatio": "12.5",
        "LossyImageCompressionMethod": "ISO_15444_1",
    }
    seg = make_case(tmp_path, objects=SEG, **stated).read("seg")
    assert {name: str(seg[name].value) for name in stated} == stated


def test_lesions_without_findings_are_an_error(tmp_path: Path) -> None:
    case = make_case(tmp_path, objects=SEG)
    fewer = replace(case.findings, lesions=case.findings.lesions[:1])
    geometry = case.volume.geometry
    with pytest.raises(ValueError, match="not those of the findings"):
        write_dicom(
            tmp_path,
            plan_dicom(case.volume),
            masks=(LabelMap(case.labels, geometry), LabelMap(case.lesions, geometry)),
            findings=fewer,
            recipe="toy 1.0",
        )


def tilted(slices: list[Dataset]) -> None:
    """A gantry tilt of 11 degrees: each slice is shifted along its rows."""
    for number, one in enumerate(slices):
        x, y, z = one.ImagePositionPatient
        one.ImagePositionPatient = [x, round(float(y) + 0.5 * number, 4), z]


@pytest.mark.parametrize("seg_type", ["binary", "labelmap"])
def test_a_tilted_series_that_was_resampled(tmp_path: Path, seg_type: str) -> None:
    slices = datasets(Volume(body_hu((9, 22, 26)), grid()))
    tilted(slices)
    write_datasets(tmp_path / "series", slices)
    volume = read_volume(tmp_path / "series", resample_irregular=True)
    labels = np.zeros(volume.geometry.shape, dtype=np.uint8)
    labels[1:7, 4:16, 5:20] = 1
    labels[2:4, 6:9, 8:11] = 2
    case = write_case(tmp_path, slices, volume, labels, objects=ALL, seg_type=seg_type)
    found = seg_in_patient(case.read("seg"), volume.geometry)
    assert np.array_equal(found, labels)
    uids = {one.SOPInstanceUID for one in slices}
    for _, _, _, source in seg_planes(case.read("seg")):
        assert source.ReferencedSOPInstanceUID in uids


@pytest.mark.parametrize("seg_type", ["binary", "labelmap"])
@pytest.mark.parametrize("fault", ["moved", "lost", "flipped", "turned", "cut"])
@pytest.mark.filterwarnings("default::UserWarning:pydicom")
def test_a_file_that_reads_back_differently_is_removed(
    tmp_path: Path, fault: str, seg_type: str
) -> None:
    case = make_case(tmp_path, objects=SEG, seg_type=seg_type)
    path = tmp_path / "segmentation.dcm"
    numbers = expected_numbers(case.labels, case.lesions).astype(np.uint16)
    verify_segmentation(path, numbers, case.volume.geometry)
    seg = case.read("seg")
    frames = seg.PerFrameFunctionalGroupsSequence
    if fault == "moved":
        place = frames[0].PlanePositionSequence[0]
        place.ImagePositionPatient[0] += 1.0
    elif fault == "lost":
        numbers[0, 0, 0] = 1
    elif fault == "flipped":
        numbers = numbers[:, :, ::-1].copy()
    elif fault == "turned":
        orientation = seg.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0]
        orientation.ImageOrientationPatient = [1, 0, 0, 0, -1, 0]
    seg.save_as(path)
    if fault == "cut":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(OutputError, match="did not read back as written"):
        verify_segmentation(path, numbers, case.volume.geometry)
    assert not path.exists()


def test_frames_of_an_enhanced_ct_are_named(tmp_path: Path) -> None:
    case = make_case(tmp_path, objects=SEG, change=to_enhanced)
    seg = case.read("seg")
    found = seg_in_patient(seg, case.volume.geometry)
    assert np.array_equal(found, expected_numbers(case.labels, case.lesions))
    [image] = seg.SourceImageSequence
    assert image.ReferencedSOPClassUID == "1.2.840.10008.5.1.4.1.1.2.1"
    for _, place, _, source in seg_planes(seg):
        z = case.volume.geometry.lps_to_index(np.array(place.ImagePositionPatient, dtype=float))[0]
        # The file holds the last slice first.
        assert source.ReferencedFrameNumber == case.labels.shape[0] - round(z)


def to_enhanced(slices: list[Dataset]) -> None:
    """Put all slices into one Enhanced CT, the last one first."""
    backwards = slices[::-1]
    whole = backwards[0]
    whole.PerFrameFunctionalGroupsSequence = [_frame(one) for one in backwards]
    whole.SharedFunctionalGroupsSequence = [Dataset()]
    whole.PixelData = b"".join(one.PixelData for one in backwards)
    whole.NumberOfFrames = len(backwards)
    whole.SOPClassUID = whole.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2.1"
    for name in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
        delattr(whole, name)
    slices[:] = [whole]


def _frame(one: Dataset) -> Dataset:
    frame = Dataset()
    for sequence, names in (
        ("PlanePositionSequence", ["ImagePositionPatient"]),
        ("PlaneOrientationSequence", ["ImageOrientationPatient"]),
        ("PixelMeasuresSequence", ["PixelSpacing", "SliceThickness"]),
        ("PixelValueTransformationSequence", ["RescaleSlope", "RescaleIntercept"]),
    ):
        item = Dataset()
        for name in names:
            setattr(item, name, one[name].value)
        setattr(frame, sequence, [item])
    return frame
