"""What is known of one scan, and its files in a folder that appears whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, cast

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


MaskReceiver = Callable[[Mapping[str, LabelMap]], None]
"""Given label maps by file name, before they are measured."""


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
        return named_maps(self.mask, self.lesions, self.segments)

    def report(self) -> dict[str, Any]:
        """The content of `report.json`."""
        volume = self.volume
        return build_report(
            self.findings, source=volume.source, geometry=volume.geometry, record=self.record
        )


def named_maps(mask: LabelMap, lesions: LabelMap, segments: LabelMap | None) -> dict[str, LabelMap]:
    """Label maps by the names of their files."""
    maps = {"mask.nii.gz": mask, "lesions.nii.gz": lesions}
    return maps if segments is None else {**maps, SEGMENTS: segments}


class CaseWriter:
    """Context in which the files of one scan come into a folder that appears whole or not at all.

    Masks can be handed over as soon as they are known: they are written while they are measured.
    The folder appears in `finish`; without it, or after an exception, nothing is left behind.
    """

    def __init__(self, target: Path, *, overwrite: bool) -> None:
        """Begin; nothing is on disk yet.

        Args:
            target: The folder.
            overwrite: Whether an earlier result may be replaced.
        """
        self._output = OutputFolder(target, files=CASE_FILES, overwrite=overwrite)
        self._open = ExitStack()
        self._folder: Path | None = None
        self._writing: list[Future[None]] = []

    def __enter__(self) -> CaseWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None and self._folder is not None:  # left without `finish`
            kind, error = RuntimeError, RuntimeError("the case was not finished")
        self._open.__exit__(kind, error, traceback)

    def write_masks(self, label_maps: Mapping[str, LabelMap]) -> None:
        """Begin to write label maps, and to read each back.

        Args:
            label_maps: By file name; unchanged from now on.

        Raises:
            OutputError: If the folder exists or cannot be written.
        """
        self._folder = folder = self._open.enter_context(self._output)
        # Compressing and reading back leave the interpreter to what the caller does meanwhile.
        writer = ThreadPoolExecutor(1, "masks")
        # An interrupt waits for the mask that is being written, not for all.
        self._open.callback(writer.shutdown, cancel_futures=True)
        self._writing = [
            writer.submit(_write_proved, folder / name, label_map)
            for name, label_map in label_maps.items()
        ]

    def finish(self, result: CaseResult, *, pdf: bool = False) -> dict[str, Any]:
        """Write tables and reports, and with them what `write_masks` was not told yet.

        Args:
            result: From `pipeline.segment_case`.
            pdf: Whether `report.pdf` is written too.

        Returns:
            The content of `report.json`.

        Raises:
            OutputError: If the folder exists, cannot be written or does not read back as written.
        """
        watch = StopWatch()
        if self._folder is None:
            self.write_masks(result.label_maps())
        folder = cast("Path", self._folder)
        report = _write_pages(folder, result, pdf=pdf)
        for written in self._writing:
            written.result()
        watch.lap("write")
        report["timings_s"]["write"] = round(watch.timings_s["write"], 3)
        write_text(folder / REPORT, report_text(report))
        self._folder = None
        self._open.close()
        return report


def write_case(
    result: CaseResult, target: Path, *, overwrite: bool, pdf: bool = False
) -> dict[str, Any]:
    """Write a result whose masks nobody has begun to write; see `CaseWriter`."""
    with CaseWriter(target, overwrite=overwrite) as writer:
        return writer.finish(result, pdf=pdf)


def _write_pages(folder: Path, result: CaseResult, *, pdf: bool) -> dict[str, Any]:
    """All but masks and `report.json`, whose content is returned."""
    masks = (result.mask, result.lesions)
    write_text(folder / "lesions.csv", lesions_csv(result.findings, source=result.volume.source))
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
    return report


def _write_proved(path: Path, label_map: LabelMap) -> None:
    """Write a label map and read it back."""
    write_label_map(path, label_map)
    verify_written(path, label_map)
