"""What is known of one scan, and its files in a folder that appears whole or not at all."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from livertumor_cli.findings import CaseFindings
from livertumor_cli.io.atomic import write_files, write_text
from livertumor_cli.io.dicom_results import DICOM_FILES, DicomPlan, write_dicom
from livertumor_cli.io.formats import write_label_map
from livertumor_cli.io.output_folder import OutputFolder, ResultFiles
from livertumor_cli.io.readback import verify_written
from livertumor_cli.report.json_report import build_report, report_text
from livertumor_cli.report.pages import FIGURES, HTML, PDF, reader_files
from livertumor_cli.report.run_record import RunRecord
from livertumor_cli.report.tables import lesions_csv
from livertumor_cli.stopwatch import StopWatch
from livertumor_cli.volume import LabelMap, Volume

REPORT = "report.json"
"""Written last: where it is, the others are."""

RESULT_FILES = {"mask.nii.gz", "lesions.nii.gz", "lesions.csv", REPORT, HTML, FIGURES}
"""What `write_case` always puts into the folder; of DICOM scans `dicom_results.DICOM_FILES` too."""

SEGMENTS = "segments.nii.gz"
"""Where the liver's segments are told."""

CASE_FILES = ResultFiles(
    proof=REPORT,
    names=frozenset(
        {*(RESULT_FILES - {FIGURES}), f"{FIGURES}/*.png", SEGMENTS, PDF, *DICOM_FILES.values()}
    ),
)
"""Every file that `write_case` may write."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseResult:
    """Everything known about one scan.

    Attributes:
        volume: The scan.
        mask: `anatomy.Label` values on its grid.
        lesions: One number per lesion, same grid.
        segments: Couinaud segments, same grid; None where nobody tells them.
        findings: The measurements.
        record: How the result was made.
        dicom: The DICOM objects to write with it.
    """

    volume: Volume
    mask: LabelMap
    lesions: LabelMap
    findings: CaseFindings
    record: RunRecord
    segments: LabelMap | None = None
    dicom: DicomPlan = field(default_factory=DicomPlan)

    def label_maps(self) -> dict[str, LabelMap]:
        """What is written as NIfTI, by file name."""
        maps = {"mask.nii.gz": self.mask, "lesions.nii.gz": self.lesions}
        return maps if self.segments is None else {**maps, SEGMENTS: self.segments}

    def report(self) -> dict[str, Any]:
        """The content of `report.json`."""
        volume = self.volume
        return build_report(
            self.findings, source=volume.source, geometry=volume.geometry, record=self.record
        )


def write_case(
    result: CaseResult, target: Path, *, overwrite: bool, pdf: bool = False
) -> dict[str, Any]:
    """Write masks, tables and reports into a folder that appears whole or not at all.

    Args:
        result: From `pipeline.segment_case`.
        target: The folder.
        overwrite: Whether an earlier result may be replaced.
        pdf: Whether `report.pdf` is written too.

    Returns:
        The content of `report.json`.

    Raises:
        OutputError: If the folder exists, cannot be written or does not read back as written.
    """
    watch = StopWatch()
    masks = (result.mask, result.lesions)
    with (
        OutputFolder(target, files=CASE_FILES, overwrite=overwrite) as folder,
        ThreadPoolExecutor(1, "masks") as writer,
    ):
        # Beside the pages: compressing and reading back leave the interpreter alone.
        writing = [
            writer.submit(_write_proved, folder / name, label_map)
            for name, label_map in result.label_maps().items()
        ]
        source = result.volume.source
        write_text(folder / "lesions.csv", lesions_csv(result.findings, source=source))
        recipe = result.record.recipe
        write_dicom(
            folder,
            result.dicom,
            masks=masks,
            findings=result.findings,
            recipe=f"{recipe.name} {recipe.version}".strip(),
            is_automatic=not result.record.labels_from_file,
        )
        report = result.report()
        pages = reader_files(
            report, volume=result.volume, masks=masks, findings=result.findings, pdf=pdf
        )
        write_files(folder, pages)
        for written in writing:
            written.result()
        watch.lap("write")
        report["timings_s"]["write"] = round(watch.timings_s["write"], 3)
        write_text(folder / REPORT, report_text(report))
    return report


def _write_proved(path: Path, label_map: LabelMap) -> None:
    """Write a label map and read it back."""
    write_label_map(path, label_map)
    verify_written(path, label_map)
