"""What a DICOM file says about its image planes, read without its pixels."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException, InvalidDicomError

from livertumor_cli.errors import PixelError, Reason, UnsupportedFormatError

Vector: TypeAlias = tuple[float, ...]

MALFORMED = (
    AttributeError,
    BytesLengthException,
    EOFError,
    InvalidDicomError,
    LookupError,
    NotImplementedError,
    OverflowError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)
"""What pydicom lets through from values and structures that break the standard."""

_CT = {
    "1.2.840.10008.5.1.4.1.1.2",  # CT Image Storage
    "1.2.840.10008.5.1.4.1.1.2.1",  # Enhanced CT
    "1.2.840.10008.5.1.4.1.1.2.2",  # Legacy Converted Enhanced CT
}
_MEDIA_DIRECTORY = "1.2.840.10008.1.3.10"
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_LOCALIZER_WORDS = {"LOCALIZER", "SCOUT", "TOPOGRAM"}
_MAP_WORDS = {"PERFUSION", "CBF", "CBV", "MTT", "TTP", "TMAX", "RCBF", "RCBV", "Z_EFF"}
_HU_TYPES = {"", "HU", "US"}  # US: unspecified, which the values themselves must settle

_DICOM_SUFFIXES = {".dcm", ".ima", ".dicom"}

_MAX_FRAMES = 65536

_TAGS = [
    "SOPClassUID",
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "SeriesDescription",
    "PatientID",
    "PatientName",
    "Modality",
    "ImageType",
    "Rows",
    "Columns",
    "SamplesPerPixel",
    "NumberOfFrames",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "SliceThickness",
    "RescaleSlope",
    "RescaleIntercept",
    "RescaleType",
    "LossyImageCompression",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
]


@dataclass(frozen=True, slots=True)
class Plane:
    """One image plane: a single-frame file, or one frame of a multi-frame file.

    Attributes:
        path: Its file.
        frame: Index of the frame in the file.
        sop_instance_uid: Of the file.
        series_uid: SeriesInstanceUID; empty if the file has none.
        series_description: For people who must choose between series.
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
        is_lossy: Whether the header says that pixels were compressed with loss.
    """

    path: Path
    frame: int
    sop_instance_uid: str
    series_uid: str
    series_description: str
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
    is_lossy: bool


def read_planes(path: Path) -> list[Plane]:
    """The planes of one file; empty if it is no DICOM image file at all.

    Args:
        path: Any file.

    Raises:
        InputError: unreadable, if it is DICOM and its header is broken; truncated or not_an_image,
            if it is named as DICOM and is empty or something else. Passing such files over could
            hide that the first or last slice is missing.
    """
    if not _is_dicom(path):
        return []
    try:
        dataset = dcmread(path, stop_before_pixels=True, specific_tags=list(_TAGS))
        if dataset.file_meta.get("MediaStorageSOPClassUID") == _MEDIA_DIRECTORY:
            return []  # a DICOMDIR lists images and holds none
        return list(_planes(dataset, path))
    except MALFORMED as error:
        raise PixelError(
            f"{path.name} is a DICOM file whose header cannot be read.",
            reason=Reason.UNREADABLE,
            hint="Export the series again.",
        ) from error


def _is_dicom(path: Path) -> bool:
    with path.open("rb") as stream:
        head = stream.read(132)
    if head[128:] == b"DICM":
        return True
    # Old programs wrote the data set alone. Its transfer syntax would have to be guessed.
    if head[:2] in (b"\x02\x00", b"\x08\x00") and head[3:4] == b"\x00":
        raise PixelError(
            f"{path.name} is a DICOM data set without its file header.",
            reason=Reason.UNREADABLE,
            hint="Export the series again as DICOM files (part 10).",
        )
    # macOS leaves files such as ._IM0001.dcm beside the images it packs.
    if path.suffix.lower() not in _DICOM_SUFFIXES or path.name.startswith("._"):
        return False
    if not head:
        raise PixelError(
            f"{path.name} is empty.",
            reason=Reason.TRUNCATED,
            hint="Copy or export the series again.",
        )
    raise UnsupportedFormatError(
        f"{path.name} is named as a DICOM file and is none.",
        reason=Reason.NOT_AN_IMAGE,
        hint="Copy or export the series again, or remove the file if it belongs to something else.",
    )


def _planes(dataset: Dataset, path: Path) -> Iterator[Plane]:
    frames = dataset.get("PerFrameFunctionalGroupsSequence")
    if not frames:
        count = int(dataset.get("NumberOfFrames") or 1)
        if count > _MAX_FRAMES:
            raise ValueError("more frames than any scan has")
        for frame in range(count):
            yield _plane(dataset, {}, path=path, frame=frame)
        return
    if len(frames) != int(dataset.get("NumberOfFrames") or 0):
        raise ValueError("number of frames and functional groups differ")
    shared = dataset.get("SharedFunctionalGroupsSequence") or [Dataset()]
    for number, own in enumerate(frames):
        yield _plane(dataset, _groups(shared[0]) | _groups(own), path=path, frame=number)


def _groups(functional: Dataset) -> dict[str, Any]:
    """Attributes of the functional groups that say where a frame lies and what its values mean."""
    found: dict[str, Any] = {}
    for sequence, names in (
        ("PlanePositionSequence", ("ImagePositionPatient",)),
        ("PlaneOrientationSequence", ("ImageOrientationPatient",)),
        ("PixelMeasuresSequence", ("PixelSpacing", "SliceThickness")),
        (
            "PixelValueTransformationSequence",
            ("RescaleSlope", "RescaleIntercept", "RescaleType"),
        ),
        ("CTImageFrameTypeSequence", ("FrameType",)),
    ):
        for item in list(functional.get(sequence) or [])[:1]:
            found |= {name: item.get(name) for name in names if item.get(name) is not None}
    return found


def _plane(dataset: Dataset, own: dict[str, Any], *, path: Path, frame: int) -> Plane:
    def value(name: str) -> Any:
        found = own.get(name)
        return dataset.get(name) if found is None else found

    slope = value("RescaleSlope")
    return Plane(
        path=path,
        frame=frame,
        sop_instance_uid=str(dataset.get("SOPInstanceUID") or ""),
        series_uid=str(dataset.get("SeriesInstanceUID") or ""),
        series_description=str(dataset.get("SeriesDescription") or ""),
        patient=str(dataset.get("PatientID") or dataset.get("PatientName") or ""),
        fault=_fault(dataset, own),
        modality=str(dataset.get("Modality") or ""),
        size=(int(dataset.get("Rows") or 0), int(dataset.get("Columns") or 0)),
        position_mm=_vector(value("ImagePositionPatient"), 3),
        orientation=_vector(value("ImageOrientationPatient"), 6),
        spacing_mm=_vector(value("PixelSpacing"), 2),
        thickness_mm=float(value("SliceThickness") or 0.0),
        slope=1.0 if slope in (None, "") else float(slope),
        intercept=float(value("RescaleIntercept") or 0.0),
        is_lossy=str(dataset.get("LossyImageCompression") or "") == "01",
    )


def _vector(values: Any, count: int) -> Vector | None:
    """The numbers of a multi-valued attribute; None if it is absent or not of that length."""
    if values is None or isinstance(values, str) or not hasattr(values, "__len__"):
        return None
    numbers = tuple(float(number) for number in values)
    return numbers if len(numbers) == count else None


def _fault(dataset: Dataset, own: dict[str, Any]) -> Reason | None:
    """Why the file is no CT image, the plainest reason first."""
    sop_class = str(dataset.get("SOPClassUID") or "")
    modality = str(dataset.get("Modality") or ("CT" if sop_class in _CT else ""))
    words = {str(word).strip().upper() for word in dataset.get("ImageType") or []}
    words |= {str(word).strip().upper() for word in own.get("FrameType") or []}
    rescale_type = own.get("RescaleType") or dataset.get("RescaleType") or ""
    checks = (
        (modality != "CT", Reason.NOT_CT),
        (sop_class.startswith(_SECONDARY_CAPTURE), Reason.SECONDARY_CAPTURE),
        (sop_class not in _CT | {""}, Reason.NOT_CT),
        (int(dataset.get("SamplesPerPixel") or 1) > 1, Reason.COLOUR),
        (not dataset.get("Rows") or not dataset.get("Columns"), Reason.NO_PIXELS),
        (bool(words & _LOCALIZER_WORDS), Reason.LOCALIZER),
        (bool(words & _MAP_WORDS), Reason.NOT_HU),
        (str(rescale_type).strip().upper() not in _HU_TYPES, Reason.NOT_HU),
    )
    return next((reason for holds, reason in checks if holds), None)
