"""Why a DICOM object is no plane of a CT in Hounsfield units, from its header alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydicom.dataset import Dataset

from livertumor_cli.errors import Reason

CT_CLASSES = {
    "1.2.840.10008.5.1.4.1.1.2",  # CT Image Storage
    "1.2.840.10008.5.1.4.1.1.2.1",  # Enhanced CT
    "1.2.840.10008.5.1.4.1.1.2.2",  # Legacy Converted Enhanced CT
}

_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_SECONDARY_CAPTURE_WORDS = {"SCREEN SAVE", "SCREENSAVE", "CAPTURE", "SCREENSHOT"}
_LOCALIZER_WORDS = {"LOCALIZER", "SCOUT", "TOPOGRAM", "SCANOGRAM", "SURVIEW", "SCANO"}
_PERFUSION_WORDS = {"PERFUSION", "CBF", "CBV", "MTT", "TTP", "TMAX", "RCBF", "RCBV", "Z_EFF"}
_CALCULATED_WORDS = {
    "DIVISION",
    "MULTIPLICATION",
    "QUANTITY",
    "STD_DEVIATION",
    "SUBTRACTION",
}
_PROJECTION_WORDS = {
    "MAXIMUM",
    "MAX_IP",
    "MAXIP",
    "MIP",
    "MINIMUM",
    "MIN_IP",
    "MINIP",
    "PROJECTION IMAGE",
    "SSD",
    "VOLUME_RENDER",
    "VRT",
}
_NOT_HU_WORDS = _PERFUSION_WORDS | _CALCULATED_WORDS | _PROJECTION_WORDS
"""A projection or rendering holds a value of a whole ray, not the tissue of a voxel."""

_HU_TYPES = {"", "HU", "HOUNSFIELD", "HOUNSFIELD UNIT", "HOUNSFIELD UNITS", "US"}
"""US: unspecified, which the values themselves must settle."""

FAULT_SENTENCES = {
    Reason.NOT_HU: "its values are a derived map or projection, not Hounsfield units",
    Reason.LOCALIZER: "it holds only localizers (scouts)",
    Reason.SECONDARY_CAPTURE: "its images are secondary captures, such as screen shots",
    Reason.COLOUR: "its images are in color",
    Reason.NO_PIXELS: "its CT objects have no pixels",
    Reason.NOT_CT: "it holds no CT image",
}
"""In the order of how close each comes to a CT; the closest is named."""


def image_words(dataset: Dataset, own: Mapping[str, Any]) -> frozenset[str]:
    """ImageType and frame type in upper case, and the words in values such as 'CT_SOM5 MIP'.

    Args:
        dataset: Of the file.
        own: Attributes of the frame's functional groups.
    """
    values = [dataset.get("ImageType"), own.get("FrameType")]
    lists = [[value] if isinstance(value, str) else list(value or []) for value in values]
    stated = [str(value).strip().upper() for values in lists for value in values]
    return frozenset(stated) | frozenset(word for value in stated for word in value.split())


def sop_class_of(dataset: Dataset) -> str:
    """SOP class, also of a file that was cut off before it."""
    stated = dataset.get("SOPClassUID") or dataset.file_meta.get("MediaStorageSOPClassUID")
    return str(stated or "")


def modality_of(dataset: Dataset) -> str:
    """Modality; a CT object that does not state it is a CT."""
    return str(dataset.get("Modality") or ("CT" if sop_class_of(dataset) in CT_CLASSES else ""))


def fault_of(dataset: Dataset, own: Mapping[str, Any]) -> Reason | None:
    """Why the object is no CT image, the plainest reason first; None if it is one.

    Args:
        dataset: Of the file, without its pixels.
        own: Attributes of the frame's functional groups.
    """
    sop_class = sop_class_of(dataset)
    words = image_words(dataset, own)
    rescale_type = own.get("RescaleType") or dataset.get("RescaleType") or ""
    photometric = str(dataset.get("PhotometricInterpretation") or "MONOCHROME2")
    captured = sop_class.startswith(_SECONDARY_CAPTURE) or words & _SECONDARY_CAPTURE_WORDS
    colored = int(dataset.get("SamplesPerPixel") or 1) > 1 or "MONOCHROME" not in photometric
    checks = (
        (modality_of(dataset).strip().upper() != "CT", Reason.NOT_CT),
        (bool(captured), Reason.SECONDARY_CAPTURE),
        (sop_class not in CT_CLASSES | {""}, Reason.NOT_CT),
        (colored, Reason.COLOUR),
        (not dataset.get("Rows") or not dataset.get("Columns"), Reason.NO_PIXELS),
        (bool(words & _LOCALIZER_WORDS), Reason.LOCALIZER),
        (bool(words & _NOT_HU_WORDS), Reason.NOT_HU),
        (str(rescale_type).strip().upper() not in _HU_TYPES, Reason.NOT_HU),
        (bool(dataset.get("ModalityLUTSequence")), Reason.NOT_HU),
    )
    return next((reason for holds, reason in checks if holds), None)
