"""What a DICOM file says about its image planes, read without its pixels."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from pydicom.dataset import Dataset

from livertumor_cli.errors import PixelError, Reason
from livertumor_cli.io.checks import require_size
from livertumor_cli.io.dicom_fault import fault_of, image_words, modality_of, sop_class_of
from livertumor_cli.io.dicom_file import MALFORMED, is_dicom, read_header, reason_of
from livertumor_cli.io.dicom_phase import About

__all__ = ["MALFORMED", "Plane", "Vector", "read_planes"]

Vector: TypeAlias = tuple[float, ...]

_MEDIA_DIRECTORY = "1.2.840.10008.1.3.10"

_ALWAYS_LOSSY = {
    "1.2.840.10008.1.2.4.50",  # JPEG baseline
    "1.2.840.10008.1.2.4.51",  # JPEG extended
    "1.2.840.10008.1.2.4.81",  # JPEG-LS near-lossless
}
_MAYBE_LOSSY = {"1.2.840.10008.1.2.4.91", "1.2.840.10008.1.2.4.203"}
"""JPEG 2000: lossless too, if the header says that nothing was lost."""

_MAX_FRAMES = 65536
_MAX_THICKNESS_MM = 100.0

_FAULTS_OF_FILES = {Reason.NOT_CT, Reason.SECONDARY_CAPTURE, Reason.COLOUR, Reason.NO_PIXELS}

_TAGS = (
    "SOPClassUID",
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "StudyInstanceUID",
    "FrameOfReferenceUID",
    "SeriesNumber",
    "SeriesDescription",
    "ProtocolName",
    "ConvolutionKernel",
    "ContrastBolusAgent",
    "ContrastBolusStartTime",
    "AcquisitionTime",
    "AcquisitionNumber",
    "PatientID",
    "PatientName",
    "Modality",
    "ImageType",
    "Rows",
    "Columns",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "NumberOfFrames",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "SliceThickness",
    "RescaleSlope",
    "RescaleIntercept",
    "RescaleType",
    "ModalityLUTSequence",
    "LossyImageCompression",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
)

_FUNCTIONAL_GROUPS = (
    ("PlanePositionSequence", ("ImagePositionPatient",)),
    ("PlaneOrientationSequence", ("ImageOrientationPatient",)),
    ("PixelMeasuresSequence", ("PixelSpacing", "SliceThickness")),
    ("PixelValueTransformationSequence", ("RescaleSlope", "RescaleIntercept", "RescaleType")),
    ("CTImageFrameTypeSequence", ("FrameType",)),
    ("CTReconstructionSequence", ("ConvolutionKernel",)),
)


@dataclass(frozen=True, slots=True)
class Plane:
    """One image plane: a single-frame file, or one frame of a multi-frame file.

    Attributes:
        path: Its file.
        frame: Index of the frame in the file.
        sop_instance_uid: Of the file.
        series_uid: SeriesInstanceUID; empty if the file has none.
        study_uid: StudyInstanceUID; empty if the file has none.
        frame_of_reference: FrameOfReferenceUID, whose origin positions count from; perhaps empty.
        about: What the file says about its series in words.
        patient: Patient ID, or the name where there is no ID.
        fault: Why this is no plane of a CT volume; None if it is one.
        modality: As stated, for the sentence of a refusal.
        size: Rows and columns.
        position_mm: LPS of the first pixel's center.
        orientation: Direction cosines of a row, then of a column, six numbers.
        spacing_mm: Distance of rows, of columns.
        thickness_mm: Slice thickness, 0 if not stated.
        slope: HU per stored unit.
        intercept: HU of stored 0.
        is_rescaled: Whether slope or intercept are stated, not assumed.
        is_lossy: Whether pixels were compressed with loss.
    """

    path: Path
    frame: int
    sop_instance_uid: str
    series_uid: str
    study_uid: str
    frame_of_reference: str
    about: About
    patient: str
    fault: Reason | None
    modality: str
    size: tuple[int, int]
    position_mm: Vector | None
    orientation: Vector | None
    spacing_mm: Vector | None
    thickness_mm: float
    slope: float
    intercept: float
    is_rescaled: bool
    is_lossy: bool


def read_planes(path: Path) -> list[Plane]:
    """The planes of one file; empty if it is no DICOM image file at all.

    Args:
        path: Any file.

    Raises:
        InputError: unreadable, if it is DICOM and its header is broken; truncated or not_an_image,
            if it is named as DICOM and is empty or something else; too_large for a deflated bomb.
    """
    if not is_dicom(path):
        return []
    try:
        dataset, has_pixels = read_header(path, tags=_TAGS)
        if sop_class_of(dataset) == _MEDIA_DIRECTORY:
            return []  # a DICOMDIR lists images and holds none
        if not dataset.get("SOPClassUID") and not dataset.get("Modality"):
            raise ValueError("nothing says what kind of object it is")
        return [
            plane if plane.fault or has_pixels else replace(plane, fault=Reason.NO_PIXELS)
            for plane in _planes(dataset, path)
        ]
    except MALFORMED as error:
        raise PixelError(
            f"{path.name} is a DICOM file whose header cannot be read.",
            reason=reason_of(error),
            hint="Export the series again.",
        ) from error


def _planes(dataset: Dataset, path: Path) -> Iterator[Plane]:
    frames = dataset.get("PerFrameFunctionalGroupsSequence")
    shared = _groups((dataset.get("SharedFunctionalGroupsSequence") or [Dataset()])[0])
    count = int(dataset.get("NumberOfFrames") or 1)
    if count < 1 or count > _MAX_FRAMES:
        raise ValueError("not a number of frames that any scan has")
    if frames and len(frames) != count:
        raise ValueError("number of frames and functional groups differ")
    for frame in range(count):
        own = shared | _groups(frames[frame]) if frames else shared
        plane = _plane(dataset, own, path=path, frame=frame)
        yield plane
        if plane.fault in _FAULTS_OF_FILES:
            return  # one image stands for all frames of what is no CT
        if frame == 0 and plane.fault is None:
            require_size((count, *plane.size))


def _groups(functional: Dataset) -> dict[str, Any]:
    """Attributes of the functional groups that say where a frame lies and what its values mean."""
    found: dict[str, Any] = {}
    for sequence, names in _FUNCTIONAL_GROUPS:
        for item in list(functional.get(sequence) or [])[:1]:
            found |= {name: item.get(name) for name in names if item.get(name) is not None}
    return found


def _plane(dataset: Dataset, own: dict[str, Any], *, path: Path, frame: int) -> Plane:
    def value(name: str) -> Any:
        found = own.get(name)
        return dataset.get(name) if found is None else found

    slope, intercept = value("RescaleSlope"), value("RescaleIntercept")
    return Plane(
        path=path,
        frame=frame,
        sop_instance_uid=str(dataset.get("SOPInstanceUID") or ""),
        series_uid=str(dataset.get("SeriesInstanceUID") or ""),
        study_uid=str(dataset.get("StudyInstanceUID") or ""),
        frame_of_reference=str(dataset.get("FrameOfReferenceUID") or "").strip(),
        about=_about(dataset, own),
        patient=str(dataset.get("PatientID") or dataset.get("PatientName") or "").strip(),
        fault=fault_of(dataset, own),
        modality=modality_of(dataset),
        size=(int(dataset.get("Rows") or 0), int(dataset.get("Columns") or 0)),
        position_mm=_vector(value("ImagePositionPatient"), 3),
        orientation=_vector(value("ImageOrientationPatient"), 6),
        spacing_mm=_vector(value("PixelSpacing"), 2),
        thickness_mm=_thickness(value("SliceThickness")),
        slope=1.0 if slope in (None, "") else float(slope),
        intercept=0.0 if intercept in (None, "") else float(intercept),
        is_rescaled=slope not in (None, "") or intercept not in (None, ""),
        is_lossy=_is_lossy(dataset),
    )


def _vector(values: Any, count: int) -> Vector | None:
    """The numbers of a multi-valued attribute; None if it is absent or not of that length."""
    if values is None or isinstance(values, str) or not hasattr(values, "__len__"):
        return None
    numbers = tuple(float(number) for number in values)
    return numbers if len(numbers) == count else None


def _thickness(value: Any) -> float:
    """Slice thickness in mm; what no slice can have counts as not stated."""
    number = _number(value) or 0.0
    return number if 0.0 < number <= _MAX_THICKNESS_MM else 0.0


def _is_lossy(dataset: Dataset) -> bool:
    stated = str(dataset.get("LossyImageCompression") or "")
    syntax = str(dataset.file_meta.get("TransferSyntaxUID") or "")
    return stated == "01" or syntax in _ALWAYS_LOSSY or (syntax in _MAYBE_LOSSY and stated != "00")


def _about(dataset: Dataset, own: dict[str, Any]) -> About:
    start_s = _seconds(_lenient(dataset, "ContrastBolusStartTime"))
    taken_s = _seconds(_lenient(dataset, "AcquisitionTime"))
    known = start_s is not None and taken_s is not None and taken_s > start_s
    kernel = own.get("ConvolutionKernel") or _lenient(dataset, "ConvolutionKernel")
    first = kernel if isinstance(kernel, str) or not kernel else kernel[0]
    return About(
        number=_whole(_lenient(dataset, "SeriesNumber")),
        description=_text(_lenient(dataset, "SeriesDescription")),
        protocol=_text(_lenient(dataset, "ProtocolName")),
        agent=_text(_lenient(dataset, "ContrastBolusAgent")),
        delay_s=taken_s - start_s if known and taken_s and start_s is not None else None,
        kernel=_text(first),
        image_type=image_words(dataset, own),
        acquisition=_whole(_lenient(dataset, "AcquisitionNumber")),
    )


def _lenient(dataset: Dataset, name: str) -> Any:
    """A value that only informs; one that breaks the standard counts as absent."""
    try:
        return dataset.get(name)
    except MALFORMED:
        return None


def _text(value: Any) -> str:
    """One line of printable text: control characters of a header must not reach a terminal."""
    text = "" if value is None else str(value)
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _whole(value: Any) -> int | None:
    number = _number(value)
    return int(number) if number is not None and math.isfinite(number) else None


def _seconds(time: Any) -> float | None:
    """Seconds since midnight of a DICOM time HHMMSS.FFFFFF."""
    text = _text(time).replace(":", "")
    if len(text) < 6 or not text[:6].isdigit():
        return None
    return int(text[:2]) * 3600 + int(text[2:4]) * 60 + float(_number(text[4:]) or 0.0)
