"""Patient and study of a source, as derived DICOM objects state them."""

from __future__ import annotations

import warnings
from copy import deepcopy
from typing import Any

from pydicom import config
from pydicom.dataset import Dataset
from pydicom.valuerep import validate_value

from livertumor_cli.errors import ConfigError
from livertumor_cli.io.dicom_file import MALFORMED

_REQUIRED = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID")

MAY_BE_EMPTY = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
    "StudyID",
    "AccessionNumber",
    "PositionReferenceIndicator",
)
"""Type 2 of the Patient, General Study and Frame of Reference modules: there, perhaps empty."""

_OPTIONAL = (
    "SpecificCharacterSet",
    "IssuerOfPatientID",
    "IssuerOfPatientIDQualifiersSequence",
    "PatientBirthTime",
    "OtherPatientIDsSequence",
    "PatientSpeciesDescription",
    "PatientIdentityRemoved",
    "DeidentificationMethod",
    "DeidentificationMethodCodeSequence",
    "LongitudinalTemporalInformationModified",
    "StudyDescription",
    "IssuerOfAccessionNumberSequence",
    "PatientAge",
    "PatientSize",
    "PatientWeight",
    "ClinicalTrialSponsorName",
    "ClinicalTrialProtocolID",
    "ClinicalTrialProtocolName",
    "ClinicalTrialSiteID",
    "ClinicalTrialSiteName",
    "ClinicalTrialSubjectID",
    "ClinicalTrialSubjectReadingID",
    "ClinicalTrialTimePointID",
)
"""Of the Patient, General Study, Patient Study and Clinical Trial modules, copied if stated."""

_LOSSY = ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod")
"""Once lost, always lost: what is derived from lossy images says so too."""

_STRICT_VRS = {"AS", "CS", "DA", "DS", "TM"}
"""Values of these types that break the standard are left out; names and numbers of the patient
stay letter by letter, so that an archive finds the same patient."""

NAMES = (*_REQUIRED, *MAY_BE_EMPTY, *_OPTIONAL, *_LOSSY, "SOPClassUID", "NumberOfFrames")
"""What must be read of a header."""


def require_identifiers(header: Dataset) -> None:
    """Refuse a source that derived objects cannot name.

    Args:
        header: Of one of its images.

    Raises:
        ConfigError: If an identifier is absent.
    """
    absent = [name for name in _REQUIRED if not header.get(name)]
    if absent:
        raise ConfigError(
            f"DICOM results cannot be made of this series: it has no {absent[0]}.",
            hint="Leave out --dicom, or export the series again with its identifiers.",
        )


def identity_of(source: Dataset) -> Dataset:
    """Patient, study and frame of reference of an image, without values that break the standard.

    Args:
        source: Header of an image.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _copied(source)


def _copied(source: Dataset) -> Dataset:
    header = Dataset()
    for name in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
        setattr(header, name, str(source.get(name)))
    for name in (*MAY_BE_EMPTY, *_OPTIONAL):
        try:
            element = deepcopy(source[name])
            is_valid = _is_valid(element)
        except MALFORMED:
            is_valid = False
        if is_valid and not (element.is_empty and name in _OPTIONAL):
            header.add(element)
        elif name in MAY_BE_EMPTY:
            setattr(header, name, None)
    if header.PatientSex not in ("M", "F", "O"):
        header.PatientSex = None
    if header.get("PatientIdentityRemoved") == "YES" and not (
        "DeidentificationMethod" in header or "DeidentificationMethodCodeSequence" in header
    ):
        # Required beside it, and often forgotten.
        header.DeidentificationMethod = "not stated by the source"
    return header


def _is_valid(element: Any) -> bool:
    """Whether the standard allows the value; also decodes it, and so finds what is malformed."""
    if element.VR in _STRICT_VRS and element.keyword != "SpecificCharacterSet":
        if element.VM > 1:
            return False
        validate_value(element.VR, str(element.value or ""), config.RAISE)
    return True


def loss_of(source: Dataset) -> Dataset:
    """How an image lost information, as far as it says.

    Args:
        source: Header of an image that was compressed with loss.
    """
    stated = Dataset()
    for name in _LOSSY:
        if source.get(name):
            setattr(stated, name, source.get(name))
    stated.LossyImageCompression = "01"
    return stated
