"""The measurements as a DICOM structured report: TID 1500 in a Comprehensive 3D SR.

Each lesion has two measurement groups with one tracking UID. The volumetric one (TID 1411) is tied
to the segment of the lesion. The other (TID 1501) holds long and short axis with their lines in the
source image: TID 1411 allows no coordinates below a measurement, and a bidimensional measurement
drawn by hand is coded in the same way.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
from highdicom.sr import (
    AlgorithmIdentification,
    Comprehensive3DSR,
    CoordinatesForMeasurement,
    CoordinatesForMeasurement3D,
    DeviceObserverIdentifyingAttributes,
    FindingSite,
    GraphicTypeValues,
    GraphicTypeValues3D,
    Measurement,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    ObserverContext,
    ReferencedSegment,
    SourceImageForRegion,
    SourceSeriesForSegmentation,
    TrackingIdentifier,
    VolumetricROIMeasurementsAndQualitativeEvaluations,
)
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from livertumor_cli.anatomy import Label
from livertumor_cli.findings import Axis, Lesion
from livertumor_cli.io.dicom_derived import (
    ABNORMAL,
    ANATOMICAL,
    CODES,
    MAKER,
    MEASUREMENT_SERIES,
    DerivedCase,
    lesion_id,
    new_uid,
    stand_in,
    with_equipment,
    with_source_identity,
)
from livertumor_cli.io.dicom_seg import Segment, list_segments
from livertumor_cli.io.dicom_sr_values import (
    MM,
    SCHEME,
    density,
    lesion_numbers,
    volume,
    whole_liver_numbers,
)

MEASURED_BETWEEN_CORNERS = "Lengths run between pixel corners; lesions are 26-connected"

MOST_DESCRIBED = 50
"""Lesions that have groups, the largest first: hundreds take minutes to encode, and nobody reads
them. The report is then partial (PS3.3 C.17.2) and says so; the segmentation has all."""

_LIVER = CODES[Label.LIVER]

Group: TypeAlias = Any
"""A measurement group of highdicom, whose types are not checked."""


def build_measurements(case: DerivedCase, segmentation: Dataset) -> Dataset:
    """The report; it has liver groups only if no lesion was found, and of many the largest.

    Args:
        case: The segmented scan.
        segmentation: From `build_segmentation` of the same case.
    """
    count = len(case.findings.lesions)
    is_complete = count <= MOST_DESCRIBED
    with warnings.catch_warnings():
        # pydicom remarks on values of the source that break the standard; they are copied as found.
        warnings.simplefilter("ignore")
        report = MeasurementReport(
            observation_context=_observed_by(case),
            procedure_reported=codes.LN.CTUnspecifiedBodyRegion,
            imaging_measurements=list(_groups(case, segmentation)),
        )
        dataset = Comprehensive3DSR(
            evidence=[*_evidence(case), segmentation],
            content=report[0],
            series_instance_uid=new_uid(),
            series_number=MEASUREMENT_SERIES,
            sop_instance_uid=new_uid(),
            instance_number=1,
            manufacturer=MAKER,
            is_complete=is_complete,
            is_verified=False,
            transfer_syntax_uid=ExplicitVRLittleEndian,
        )
        if not is_complete:
            told = f"The {MOST_DESCRIBED} largest of {count} lesions are described"
            dataset.CompletionFlagDescription = told
        with_source_identity(dataset, case.series)
        # An SR lies in no frame of reference of its own: its coordinates name theirs.
        del dataset.FrameOfReferenceUID, dataset.PositionReferenceIndicator
        with_equipment(dataset, case.algorithm, description=f"{MAKER} measurements")
        dataset.CodingSchemeIdentificationSequence = [_private_scheme()]
    return dataset


def _observed_by(case: DerivedCase) -> ObservationContext:
    algorithm = case.algorithm
    device = DeviceObserverIdentifyingAttributes(
        # The same program is the same observer, wherever it runs.
        uid=str(generate_uid(entropy_srcs=[MAKER, algorithm.version, algorithm.recipe])),
        name=MAKER,
        manufacturer_name=MAKER,
        model_name=algorithm.name,
        serial_number=algorithm.recipe[:64],
    )
    return ObservationContext(
        observer_device_context=ObserverContext(
            observer_type=codes.DCM.Device, observer_identifying_attributes=device
        )
    )


def _evidence(case: DerivedCase) -> Iterator[Dataset]:
    """Every source image, as highdicom needs it."""
    for uid in case.series.sop_instance_uids:
        image = stand_in(case.series)
        image.SOPClassUID = case.series.sop_class_uid
        image.SOPInstanceUID = uid
        yield image


def _private_scheme() -> Dataset:
    item = Dataset()
    item.CodingSchemeDesignator = SCHEME
    item.CodingSchemeName = "livertumor"
    item.CodingSchemeResponsibleOrganization = MAKER
    return item


def _groups(case: DerivedCase, segmentation: Dataset) -> Iterator[Group]:
    segments = list_segments(case)
    yield _whole_liver(case)
    for segment in segments:
        if not segment.lesion:
            yield _structure(case, segment, segmentation)
    lesions = {lesion.id: lesion for lesion in case.findings.lesions}
    for segment in segments:
        if 0 < segment.lesion <= MOST_DESCRIBED:
            yield _volume_group(case, segment, segmentation, lesions[segment.lesion])
            yield _axes_group(case, segment, lesions[segment.lesion])


def _whole_liver(case: DerivedCase) -> Group:
    """Liver with its tumors and vessels: more than one segment, so tied to none."""
    return MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(
            uid=new_uid(), identifier="Liver with lesions and vessels"
        ),
        finding_category=ANATOMICAL,
        finding_type=_LIVER,
        algorithm_id=_algorithm(case),
        measurements=whole_liver_numbers(case.findings),
    )


def _structure(case: DerivedCase, segment: Segment, segmentation: Dataset) -> Group:
    """Liver tissue or vessels, tied to their segment."""
    findings, geometry = case.findings, case.mask.geometry
    voxels = int(np.count_nonzero(case.mask.labels == segment.label))
    is_vessel = segment.label is Label.VESSEL
    mean_hu = findings.vessel_mean_hu if is_vessel else findings.liver_mean_hu
    return VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(uid=new_uid(), identifier=segment.name),
        referenced_segment=_segment(case, segment, segmentation),
        finding_category=ANATOMICAL,
        finding_type=CODES[segment.label],
        finding_sites=None if segment.label is Label.LIVER else [FindingSite(_LIVER)],
        algorithm_id=_algorithm(case),
        measurements=[volume(voxels * geometry.voxel_ml), *density(mean_hu, codes.SCT.Mean)],
    )


def _volume_group(
    case: DerivedCase, segment: Segment, segmentation: Dataset, lesion: Lesion
) -> Group:
    """What concerns a lesion as a body, tied to its segment."""
    return VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=_tracking(segment),
        referenced_segment=_segment(case, segment, segmentation),
        finding_category=ABNORMAL,
        finding_type=CODES[Label.TUMOR],
        finding_sites=[FindingSite(_LIVER)],
        algorithm_id=_algorithm(case),
        measurements=lesion_numbers(lesion),
    )


def _axes_group(case: DerivedCase, segment: Segment, lesion: Lesion) -> Group:
    """Long and short axis with their lines."""
    return MeasurementsAndQualitativeEvaluations(
        tracking_identifier=_tracking(segment),
        finding_category=ABNORMAL,
        finding_type=CODES[Label.TUMOR],
        finding_sites=[FindingSite(_LIVER)],
        algorithm_id=_algorithm(case),
        measurements=[
            Measurement(
                name,
                round(axis.length_mm, 2),
                MM,
                method=codes.DCM.WHO,
                referenced_coordinates=[_line(case, lesion, axis)],
            )
            for name, axis in (
                (codes.SCT.LongAxis, lesion.longest_axis),
                (codes.SCT.ShortAxis, lesion.perpendicular_axis),
            )
        ],
    )


def _line(
    case: DerivedCase, lesion: Lesion, axis: Axis
) -> CoordinatesForMeasurement | CoordinatesForMeasurement3D:
    """An axis in the pixels of its source image; in the patient where no image holds it."""
    ends = np.array(axis.ends_lps_mm, dtype=np.float64)
    plane = case.series.planes[lesion.slice_index] if case.findings.axial_axis == 0 else None
    if plane is None or not plane.is_same:
        return CoordinatesForMeasurement3D(
            graphic_type=GraphicTypeValues3D.POLYLINE,
            graphic_data=ends,
            frame_of_reference_uid=case.series.header.FrameOfReferenceUID,
        )
    _, rows, columns = case.mask.geometry.lps_to_index(ends).T
    # The first pixel's center is at (0.5, 0.5) in SCOORD (PS3.3 C.18.6.1.1).
    pixels = np.column_stack([columns, rows]) + 0.5
    return CoordinatesForMeasurement(
        graphic_type=GraphicTypeValues.POLYLINE,
        graphic_data=np.maximum(np.round(pixels, 4), 0.0),
        source_image=SourceImageForRegion(
            referenced_sop_class_uid=case.series.sop_class_uid,
            referenced_sop_instance_uid=plane.sop_instance_uid,
            referenced_frame_numbers=None if plane.frame_number is None else [plane.frame_number],
        ),
    )


def _segment(case: DerivedCase, segment: Segment, segmentation: Dataset) -> ReferencedSegment:
    return ReferencedSegment(
        sop_class_uid=segmentation.SOPClassUID,
        sop_instance_uid=segmentation.SOPInstanceUID,
        segment_number=segment.number,
        source_series=SourceSeriesForSegmentation(case.series.header.SeriesInstanceUID),
    )


def _tracking(segment: Segment) -> TrackingIdentifier:
    return TrackingIdentifier(uid=segment.tracking_uid, identifier=lesion_id(segment.lesion))


def _algorithm(case: DerivedCase) -> AlgorithmIdentification:
    return AlgorithmIdentification(
        name=case.algorithm.name,
        version=case.algorithm.version,
        parameters=[MEASURED_BETWEEN_CORNERS],
    )
