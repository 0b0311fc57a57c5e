"""A segmented scan as RT Structure Set: liver, each lesion, vessels as contours on the slices.

The contours follow the pixels' edges, so that volumes are exact. The liver is the whole organ, as
planning systems expect it and as `report.json` counts it: lesions and vessels lie inside it.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ImplicitVRLittleEndian, RTStructureSetStorage

from livertumor_cli.anatomy import STRUCTURES, Label
from livertumor_cli.arrays import BoolArray
from livertumor_cli.errors import EmptyMaskError
from livertumor_cli.geometry import Geometry
from livertumor_cli.io.dicom_derived import (
    CODES,
    MAKER,
    RESEARCH_ONLY,
    STRUCTURE_SERIES,
    DerivedCase,
    code_item,
    lesion_id,
    new_uid,
    reference,
    with_equipment,
    with_source_identity,
)
from livertumor_cli.io.dicom_source import SourcePlane, SourceSeries
from livertumor_cli.io.pixel_outline import outlines

_STUDY_CLASS = "1.2.840.10008.3.1.2.3.1"
"""Detached Study Management: retired, and still what the standard's definition leads to here."""


@dataclass(frozen=True, slots=True)
class Roi:
    """One region of interest.

    Attributes:
        name: At most 16 characters, as planning systems demand.
        label: The structure.
        mask: Its voxels.
    """

    name: str
    label: Label
    mask: BoolArray


def build_structures(case: DerivedCase) -> Dataset:
    """The structure set; structures without a voxel are left out.

    Args:
        case: The segmented scan.

    Raises:
        EmptyMaskError: If no voxel is set at all.
    """
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    # Contour data grow beyond the 64 KiB that a DS may have where types are written explicitly.
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    with warnings.catch_warnings():
        # pydicom remarks on values of the source that break the standard; they are copied as found.
        warnings.simplefilter("ignore")
        with_source_identity(dataset, case.series)
        _add_series(dataset, case)
        dataset.ReferencedFrameOfReferenceSequence = [_frame_of_reference(case.series)]
        dataset.StructureSetROISequence = []
        dataset.ROIContourSequence = []
        dataset.RTROIObservationsSequence = []
        for number, roi in enumerate(_rois(case), start=1):
            _add_roi(dataset, case, roi, number)
    if not dataset.StructureSetROISequence:
        raise EmptyMaskError("An empty mask has no contours.")
    return dataset


def _add_series(dataset: Dataset, case: DerivedCase) -> None:
    now = datetime.now()
    dataset.SOPClassUID = RTStructureSetStorage
    dataset.SOPInstanceUID = new_uid()
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.Modality = "RTSTRUCT"
    dataset.SeriesInstanceUID = new_uid()
    dataset.SeriesNumber = STRUCTURE_SERIES
    dataset.InstanceNumber = 1
    dataset.OperatorsName = None
    with_equipment(dataset, case.algorithm, description=f"{MAKER} structures")
    dataset.StructureSetLabel = MAKER
    dataset.StructureSetDescription = RESEARCH_ONLY
    dataset.StructureSetDate = dataset.InstanceCreationDate = now.strftime("%Y%m%d")
    dataset.StructureSetTime = dataset.InstanceCreationTime = now.strftime("%H%M%S")
    dataset.ApprovalStatus = "UNAPPROVED"


def _frame_of_reference(series: SourceSeries) -> Dataset:
    images = Dataset()
    images.SeriesInstanceUID = series.header.SeriesInstanceUID
    images.ContourImageSequence = [reference(series, uid) for uid in series.sop_instance_uids]
    study = Dataset()
    study.ReferencedSOPClassUID = _STUDY_CLASS
    study.ReferencedSOPInstanceUID = series.header.StudyInstanceUID
    study.RTReferencedSeriesSequence = [images]
    frame = Dataset()
    frame.FrameOfReferenceUID = series.header.FrameOfReferenceUID
    frame.RTReferencedStudySequence = [study]
    return frame


def _rois(case: DerivedCase) -> Iterator[Roi]:
    labels = case.mask.labels
    yield Roi("Liver", Label.LIVER, np.asarray(labels > 0))
    for lesion in case.findings.lesions:
        mask = np.asarray(case.lesions.labels == lesion.id)
        yield Roi(lesion_id(lesion.id), Label.TUMOR, mask)
    if (labels == Label.VESSEL).any():
        yield Roi("Vessels", Label.VESSEL, np.asarray(labels == Label.VESSEL))


def _add_roi(dataset: Dataset, case: DerivedCase, roi: Roi, number: int) -> None:
    contours = list(_contours(case, roi.mask))
    if not contours:
        return
    header = Dataset()
    header.ROINumber = number
    header.ReferencedFrameOfReferenceUID = case.series.header.FrameOfReferenceUID
    header.ROIName = roi.name
    is_automatic = case.algorithm.is_automatic
    header.ROIGenerationAlgorithm = "AUTOMATIC" if is_automatic else "SEMIAUTOMATIC"
    header.ROIGenerationDescription = case.algorithm.name
    dataset.StructureSetROISequence.append(header)
    shape = Dataset()
    shape.ROIDisplayColor = list(STRUCTURES[roi.label].color_rgb)
    shape.ContourSequence = contours
    shape.ReferencedROINumber = number
    dataset.ROIContourSequence.append(shape)
    observation = Dataset()
    observation.ObservationNumber = number
    observation.ReferencedROINumber = number
    observation.RTROIIdentificationCodeSequence = [code_item(CODES[roi.label])]
    # Whether a lesion is a target is for a physician to say.
    observation.RTROIInterpretedType = "" if roi.label is Label.TUMOR else "ORGAN"
    observation.ROIInterpreter = None
    dataset.RTROIObservationsSequence.append(observation)


def _contours(case: DerivedCase, mask: BoolArray) -> Iterator[Dataset]:
    geometry = case.mask.geometry
    for index in np.flatnonzero(mask.any(axis=(1, 2))).tolist():
        rows, columns = (np.flatnonzero(mask[index].any(axis=axis)) for axis in (1, 0))
        box = mask[index, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        for polygon in outlines(box):
            item = Dataset()
            plane = case.series.planes[index]
            if plane.is_same:
                item.ContourImageSequence = [_image(case.series, plane)]
            item.ContourGeometricType = "CLOSED_PLANAR"
            corners = polygon + np.array([rows[0], columns[0]]) - 0.5
            points = _in_patient(np.insert(corners, 0, index, axis=1), geometry)
            item.NumberOfContourPoints = len(polygon)
            item.ContourData = points
            yield item


def _image(series: SourceSeries, plane: SourcePlane) -> Dataset:
    image = reference(series, plane.sop_instance_uid)
    if plane.frame_number is not None:
        image.ReferencedFrameNumber = plane.frame_number
    return image


def _in_patient(indices: np.ndarray, geometry: Geometry) -> list[str]:
    """LPS x, y, z of every point in mm; a thousandth of a millimeter needs 9 of 16 characters."""
    lps = np.round(geometry.index_to_lps(indices), 3) + 0.0  # + 0.0 turns -0.0 into 0.0
    return [f"{value:.3f}".rstrip("0").rstrip(".") for value in lps.ravel().tolist()]
