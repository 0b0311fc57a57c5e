"""The DICOM objects of one case beside its masks and tables: which, and are they possible."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from livertumor_cli.errors import ConfigError, InputError
from livertumor_cli.findings import CaseFindings
from livertumor_cli.volume import LabelMap, Source, Volume

if TYPE_CHECKING:
    from livertumor_cli.io.dicom_source import SourceSeries


class DicomObject(StrEnum):
    """What can be written."""

    SEG = "seg"
    SR = "sr"
    RTSTRUCT = "rtstruct"


DICOM_FILES = {
    DicomObject.SEG: "segmentation.dcm",
    DicomObject.SR: "measurements.dcm",
    DicomObject.RTSTRUCT: "structures.dcm",
}

_USUAL = (DicomObject.SEG, DicomObject.SR)
"""Written for a DICOM scan unless told otherwise: what an archive shows beside the images."""


@dataclass(frozen=True, slots=True)
class DicomPlan:
    """What will be written, settled before the networks run.

    Attributes:
        objects: In the order of writing.
        series: The source they name; None if nothing is written.
        seg_type: How the SEG stores its segments.
        note: Why the usual objects are not written, for the report; empty if they are.
    """

    objects: tuple[DicomObject, ...] = ()
    series: SourceSeries | None = None
    seg_type: str = "binary"
    note: str = ""


def is_dicom(source: Source) -> bool:
    """Whether a volume came from DICOM files, zipped or not."""
    return bool(source.sop_instance_uids)


def plan_dicom(
    volume: Volume, *, objects: tuple[DicomObject, ...] | None = None, seg_type: str = "binary"
) -> DicomPlan:
    """Find out what can be written for a scan, and read the headers it needs.

    Args:
        volume: The scan.
        objects: What was asked for; None for the usual ones of a DICOM scan and none of others.
            A report names segments, so it brings the segmentation with it.
        seg_type: "binary" or "labelmap".

    Raises:
        ConfigError: If what was asked for cannot be made of this scan.
        InputError: If what was asked for needs files that cannot be read any more.
    """
    wanted = set(_USUAL if objects is None else objects)
    if not wanted or (objects is None and not is_dicom(volume.source)):
        return DicomPlan()
    if DicomObject.SR in wanted:
        wanted.add(DicomObject.SEG)
    from livertumor_cli.io.dicom_source import read_source

    try:
        series = read_source(volume.source, volume.geometry)
    except (ConfigError, InputError) as error:
        if objects is not None:
            raise
        # Why files cannot be read names them, and so perhaps the patient: this goes into reports.
        unread = "The files of the scan cannot be read any more."
        why = error.message if isinstance(error, ConfigError) else unread
        return DicomPlan(note=f"No DICOM results were written. {why}")
    return DicomPlan(tuple(one for one in DicomObject if one in wanted), series, seg_type)


def write_dicom(
    folder: Path,
    plan: DicomPlan,
    *,
    masks: tuple[LabelMap, LabelMap],
    findings: CaseFindings,
    recipe: str,
    is_automatic: bool = True,
) -> None:
    """Write what was planned: `segmentation.dcm`, `measurements.dcm`, `structures.dcm`.

    Args:
        folder: Where to.
        plan: From `plan_dicom` for the scan of the masks.
        masks: `anatomy.Label` values, and lesion numbers on the same grid.
        findings: Their measurements.
        recipe: Name and version of what made them.
        is_automatic: Whether networks drew the masks; False where a person had a hand in them.

    Raises:
        OutputError: If a file cannot be written, or the SEG does not read back as written.
    """
    if plan.series is None:
        return
    from livertumor_cli.io.dicom_derived import Algorithm, DerivedCase, write_dataset

    algorithm = Algorithm(recipe, version("livertumor"), is_automatic)
    case = DerivedCase(plan.series, *masks, findings, algorithm)
    if DicomObject.SEG in plan.objects:
        # highdicom takes its time to import, and most of the program never needs it.
        from livertumor_cli.io import dicom_seg
        from livertumor_cli.io.dicom_readback import verify_segmentation

        kind = dicom_seg.SegmentationType(plan.seg_type)
        segmentation = dicom_seg.build_segmentation(case, kind=kind)
        path = folder / DICOM_FILES[DicomObject.SEG]
        write_dataset(path, segmentation)
        verify_segmentation(path, dicom_seg.segment_numbers(case), case.mask.geometry)
        if DicomObject.SR in plan.objects:
            from livertumor_cli.io.dicom_sr import build_measurements

            report = build_measurements(case, segmentation)
            write_dataset(folder / DICOM_FILES[DicomObject.SR], report)
    if DicomObject.RTSTRUCT in plan.objects:
        from livertumor_cli.io.dicom_rtstruct import build_structures

        write_dataset(folder / DICOM_FILES[DicomObject.RTSTRUCT], build_structures(case))
