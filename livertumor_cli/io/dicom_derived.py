"""What SEG, SR and RTSTRUCT have in common: one case, the patient of its source, a written file."""

from __future__ import annotations

import warnings
from copy import copy
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset
from pydicom.sr.coding import Code
from pydicom.uid import generate_uid

from livertumor_cli.anatomy import STRUCTURES, Label
from livertumor_cli.findings import CaseFindings
from livertumor_cli.io.atomic import written_atomically
from livertumor_cli.io.dicom_identity import MAY_BE_EMPTY
from livertumor_cli.io.dicom_source import SourceSeries
from livertumor_cli.volume import LabelMap

MAKER = "livertumor"
RESEARCH_ONLY = "Research use only, not a medical device"

SEGMENTATION_SERIES = 9101
MEASUREMENT_SERIES = 9102
STRUCTURE_SERIES = 9103
"""Series numbers beyond those that scanners give."""

CODES: dict[Label, Code] = {
    label: Code(structure.snomed_code, "SCT", structure.snomed_meaning)
    for label, structure in STRUCTURES.items()
}
"""What each structure is called. A network cannot prove a neoplasm, so a tumor is a lesion;
`anatomy.STRUCTURES` is the one place to call it otherwise."""

ANATOMICAL = Code("91723000", "SCT", "Anatomical Structure")
ABNORMAL = Code("49755003", "SCT", "Morphologically Abnormal Structure")


@dataclass(frozen=True, slots=True)
class Algorithm:
    """What made a result.

    Attributes:
        recipe: Name and version of the recipe, such as "uca-net 1.0".
        version: Version of the program.
        is_automatic: Whether networks drew the labels; False where a person had a hand in them.
    """

    recipe: str
    version: str
    is_automatic: bool = True

    @property
    def name(self) -> str:
        """Name for people, at most 64 characters."""
        return f"{MAKER} {self.recipe}"[:64]


@dataclass(frozen=True, slots=True)
class DerivedCase:
    """A segmented scan and the series it was made of.

    Attributes:
        series: The source.
        mask: `anatomy.Label` values.
        lesions: Lesion numbers on the same grid.
        findings: The measurements.
        algorithm: What made them.
        tracking_uids: One per lesion: the same in SEG and SR.

    Raises:
        ValueError: If the lesions are not those of the findings.
    """

    series: SourceSeries
    mask: LabelMap
    lesions: LabelMap
    findings: CaseFindings
    algorithm: Algorithm
    tracking_uids: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        # A lesion without findings would be left out of all three objects without a word.
        if int(self.lesions.labels.max()) != len(self.findings.lesions):
            raise ValueError("the numbered lesions are not those of the findings")
        if not self.tracking_uids:
            uids = tuple(new_uid() for _ in self.findings.lesions)
            object.__setattr__(self, "tracking_uids", uids)


def new_uid() -> str:
    """A UID made of a random UUID, which needs no registered root."""
    return str(generate_uid(prefix=None))


def lesion_id(number: int) -> str:
    """How a lesion is called: L01, L02, ..., the number in the masks and tables."""
    return f"L{number:02d}"


def reference(series: SourceSeries, sop_instance_uid: str) -> Dataset:
    """An item that names one source image."""
    item = Dataset()
    item.ReferencedSOPClassUID = series.sop_class_uid
    item.ReferencedSOPInstanceUID = sop_instance_uid
    return item


def with_source_identity(dataset: Dataset, series: SourceSeries) -> None:
    """Give a derived object patient, study and frame of reference of its source."""
    for element in series.header:
        if element.keyword != "SeriesInstanceUID":
            # A copy: a value that is set in one object must not change in all others.
            dataset.add(copy(element))


def stand_in(series: SourceSeries) -> Dataset:
    """A source image as highdicom needs it: identifiers, and no patient.

    highdicom copies patient and study, but stops at names of two values or odd character sets, and
    logs names that it finds odd. Messages must name no patient, and `with_source_identity` puts
    everything into the result afterwards.

    Args:
        series: The source.
    """
    image = Dataset()
    for name in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
        setattr(image, name, series.header[name].value)
    for name in MAY_BE_EMPTY:
        setattr(image, name, None)
    return image


def with_equipment(dataset: Dataset, algorithm: Algorithm, *, description: str) -> None:
    """Say what made a derived object, and when its series began."""
    now = datetime.now()
    dataset.SeriesDescription = description
    dataset.Manufacturer = MAKER
    dataset.ManufacturerModelName = MAKER
    dataset.DeviceSerialNumber = algorithm.recipe[:64]
    dataset.SoftwareVersions = algorithm.version
    dataset.SeriesDate = now.strftime("%Y%m%d")
    dataset.SeriesTime = now.strftime("%H%M%S")


def code_item(code: Code) -> Dataset:
    """A code sequence item."""
    item = Dataset()
    item.CodeValue = code.value
    item.CodingSchemeDesignator = code.scheme_designator
    item.CodeMeaning = code.meaning
    return item


def write_dataset(path: Path, dataset: Any) -> None:
    """Write a DICOM file, whole or not at all.

    Raises:
        OutputError: If it cannot be written.
    """
    with warnings.catch_warnings():
        # Names and ids of the patient are kept as the source has them, also where it is wrong.
        warnings.simplefilter("ignore")
        with written_atomically(path) as stream:
            dataset.save_as(stream, enforce_file_format=True)
