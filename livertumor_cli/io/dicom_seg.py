"""A segmented scan as DICOM Segmentation: liver, each lesion, vessels.

Segments do not overlap, as in `mask.nii.gz`: the liver segment is liver without lesions and
vessels. Viewers that cannot show overlapping segments are common.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from highdicom import AlgorithmIdentificationSequence
from highdicom.color import CIELabColor
from highdicom.seg import SegmentAlgorithmTypeValues, Segmentation, SegmentDescription
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, RLELossless
from pydicom.valuerep import format_number_as_ds

from livertumor_cli.anatomy import STRUCTURES, Label
from livertumor_cli.arrays import DoubleArray, InstanceArray
from livertumor_cli.errors import EmptyMaskError
from livertumor_cli.io.dicom_derived import (
    ABNORMAL,
    ANATOMICAL,
    CODES,
    MAKER,
    RESEARCH_ONLY,
    SEGMENTATION_SERIES,
    Algorithm,
    DerivedCase,
    lesion_id,
    new_uid,
    reference,
    stand_in,
    with_equipment,
    with_source_identity,
)
from livertumor_cli.io.dicom_source import SourcePlane, SourceSeries


class SegmentationType(StrEnum):
    """How segments are stored: one bit plane per segment and slice, or one number per voxel."""

    BINARY = "binary"
    LABELMAP = "labelmap"


@dataclass(frozen=True, slots=True)
class Segment:
    """One segment of the object.

    Attributes:
        number: From 1, without a gap.
        label: The structure.
        name: For people.
        lesion: Number of the lesion; 0 for liver and vessels.
        tracking_uid: Of a lesion, else empty.
    """

    number: int
    label: Label
    name: str
    lesion: int = 0
    tracking_uid: str = ""


def list_segments(case: DerivedCase) -> tuple[Segment, ...]:
    """The segments that have voxels: liver, then lesions, then vessels.

    Args:
        case: The segmented scan.
    """
    return tuple(_segments(case))


def _segments(case: DerivedCase) -> Iterator[Segment]:
    number = 1
    if (case.mask.labels == Label.LIVER).any():
        yield Segment(number, Label.LIVER, "Liver without lesions and vessels")
        number += 1
    for lesion, uid in zip(case.findings.lesions, case.tracking_uids, strict=True):
        name = f"Lesion {lesion_id(lesion.id)}"
        yield Segment(number, Label.TUMOR, name, lesion.id, uid)
        number += 1
    if (case.mask.labels == Label.VESSEL).any():
        yield Segment(number, Label.VESSEL, "Intrahepatic vessels")


def build_segmentation(
    case: DerivedCase, *, kind: SegmentationType = SegmentationType.BINARY
) -> Dataset:
    """Encode the mask, frames in the order and place of the source images.

    Args:
        case: The segmented scan.
        kind: BINARY opens in most viewers; LABELMAP is far smaller and newer.

    Raises:
        EmptyMaskError: If no voxel is set at all.
    """
    segments = list_segments(case)
    if not segments:
        raise EmptyMaskError("An empty mask cannot be a DICOM Segmentation.")
    binary = kind is SegmentationType.BINARY
    with warnings.catch_warnings():
        # pydicom remarks on values of the source that break the standard; they are copied as found.
        warnings.simplefilter("ignore")
        stand_ins = _stand_ins(case)
        dataset = Segmentation(
            source_images=stand_ins,
            pixel_array=segment_numbers(case),
            segmentation_type=kind.name,
            segment_descriptions=[_description(one, case.algorithm) for one in segments],
            series_instance_uid=new_uid(),
            series_number=SEGMENTATION_SERIES,
            sop_instance_uid=new_uid(),
            instance_number=1,
            manufacturer=MAKER,
            manufacturer_model_name=MAKER,
            software_versions=case.algorithm.version,
            device_serial_number=case.algorithm.recipe[:64],
            content_description=RESEARCH_ONLY,
            content_label="LIVER_TUMOR",
            transfer_syntax_uid=ExplicitVRLittleEndian if binary else RLELossless,
        )
        _name_sources(dataset, case.series, stand_ins)
        with_source_identity(dataset, case.series)
        with_equipment(dataset, case.algorithm, description=f"{MAKER} segmentation")
    return dataset


def segment_numbers(case: DerivedCase) -> InstanceArray:
    """Segment number of every voxel, shape (z, y, x), z along the source images.

    Args:
        case: The segmented scan.
    """
    by_label = np.zeros(len(Label), dtype=np.uint16)
    by_lesion = np.zeros(len(case.findings.lesions) + 1, dtype=np.uint16)
    for segment in list_segments(case):
        if segment.lesion:
            by_lesion[segment.lesion] = segment.number
        else:
            by_label[segment.label] = segment.number
    numbers: InstanceArray = by_label[case.mask.labels]
    is_lesion = case.lesions.labels > 0
    numbers[is_lesion] = by_lesion[case.lesions.labels[is_lesion]]
    return numbers


def _description(segment: Segment, algorithm: Algorithm) -> SegmentDescription:
    is_lesion = segment.label is Label.TUMOR
    types = SegmentAlgorithmTypeValues
    family = codes.DCM.ArtificialIntelligence
    if not algorithm.is_automatic:
        family = codes.DCM.ManualProcessing
    return SegmentDescription(
        segment_number=segment.number,
        segment_label=segment.name,
        segmented_property_category=ABNORMAL if is_lesion else ANATOMICAL,
        segmented_property_type=CODES[segment.label],
        algorithm_type=types.AUTOMATIC if algorithm.is_automatic else types.SEMIAUTOMATIC,
        algorithm_identification=AlgorithmIdentificationSequence(
            name=algorithm.name,
            family=family,
            version=algorithm.version,
            source=MAKER,
        ),
        tracking_uid=segment.tracking_uid or None,
        tracking_id=lesion_id(segment.lesion) if is_lesion else None,
        anatomic_regions=None if segment.label is Label.LIVER else [CODES[Label.LIVER]],
        display_color=CIELabColor.from_rgb(*STRUCTURES[segment.label].color_rgb),
    )


def _stand_ins(case: DerivedCase) -> list[Dataset]:
    """One image header per slice of the mask, which highdicom copies geometry from.

    The source's own headers would not do: a resampled mask has other planes, and of several
    frames in one file each is a plane of its own.
    """
    geometry = case.mask.geometry
    common = stand_in(case.series)
    common.update(case.series.lossy)
    common.SOPClassUID = CTImageStorage
    common.Modality = "CT"
    common.Rows, common.Columns = geometry.shape[1:]
    common.ImageOrientationPatient = _decimal(geometry.direction[:, :2].T.ravel())
    common.PixelSpacing = _decimal(np.array(geometry.spacing_mm[1:]))
    common.SliceThickness = _decimal(np.array(geometry.spacing_mm[:1]))[0]
    stand_ins = []
    for plane in case.series.planes:
        one = Dataset()
        one.update(common)
        one.SOPInstanceUID = new_uid()
        one.ImagePositionPatient = _decimal(np.array(plane.position_mm))
        stand_ins.append(one)
    return stand_ins


def _decimal(values: DoubleArray) -> list[str]:
    return [format_number_as_ds(float(value)) for value in values]


def _name_sources(dataset: Dataset, series: SourceSeries, stand_ins: list[Dataset]) -> None:
    """Put references to the true source images where those to the stand-ins are."""
    plane_of = {
        one.SOPInstanceUID: plane for one, plane in zip(stand_ins, series.planes, strict=True)
    }
    images = [reference(series, uid) for uid in series.sop_instance_uids]
    dataset.SourceImageSequence = images
    dataset.ReferencedSeriesSequence[0].ReferencedInstanceSequence = images
    for frame in dataset.PerFrameFunctionalGroupsSequence:
        [item] = frame.DerivationImageSequence[0].SourceImageSequence
        # Segments share the item of a slice, so that it may be done already.
        plane = plane_of.get(item.ReferencedSOPInstanceUID)
        if plane is not None:
            _name_source(item, series, plane)


def _name_source(item: Dataset, series: SourceSeries, plane: SourcePlane) -> None:
    item.update(reference(series, plane.sop_instance_uid))
    item.SpatialLocationsPreserved = "YES" if plane.is_same else "NO"
    if plane.frame_number is not None:
        item.ReferencedFrameNumber = plane.frame_number
