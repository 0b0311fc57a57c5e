"""One scan from file to findings and files.

The one place that composes reading, networks, measurement and report: the command line, the batch
runner and Python programs all call it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from livertumor_cli.anatomy import Label
from livertumor_cli.arrays import InstanceArray
from livertumor_cli.engine.contract import ModelContract
from livertumor_cli.engine.engine import Device, Engine, EngineKind, EngineRequest, Precision
from livertumor_cli.engine.open_engine import open_engine, resolve_device
from livertumor_cli.findings import CaseFindings
from livertumor_cli.geometry import Geometry
from livertumor_cli.inference.cascade import Segmentation, run_cascade
from livertumor_cli.io.atomic import write_files, write_text
from livertumor_cli.io.dicom_results import DicomObject, DicomPlan, plan_dicom, write_dicom
from livertumor_cli.io.formats import read_volume, write_label_map
from livertumor_cli.io.output_folder import OutputFolder
from livertumor_cli.io.readback import verify_written
from livertumor_cli.measure.case import Extras, measure_case
from livertumor_cli.measure.components import number_lesions
from livertumor_cli.measure.quality import quality_flags
from livertumor_cli.measure.scale_spread import scale_volumes_ml
from livertumor_cli.process_memory import peak_memory_mb
from livertumor_cli.recipes.recipe import Recipe, Stage, StageRole
from livertumor_cli.recipes.store import DEFAULT_RECIPE, find_recipe, verify_stage
from livertumor_cli.report.json_report import build_report, report_text
from livertumor_cli.report.pages import FIGURES, HTML, reader_files
from livertumor_cli.report.run_record import RecipeIdentity, RunRecord
from livertumor_cli.report.tables import lesions_csv
from livertumor_cli.stopwatch import StopWatch
from livertumor_cli.volume import LabelMap, Volume

Progress = Callable[[str, int, int], None]
"""Told (step, done, total); a total of 0 means that the end is not known."""

RESULT_FILES = {"mask.nii.gz", "lesions.nii.gz", "lesions.csv", "report.json", HTML, FIGURES}
"""What `write_case` always puts into the folder; of DICOM scans `dicom_results.DICOM_FILES` too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentOptions:
    """How to segment.

    Attributes:
        recipe: Name of an installed recipe or folder of one.
        device: Where to run.
        engine: Which program runs the networks.
        precision: "auto" takes what the recipe's validation allows; "f32" forbids less.
        scales: Zoom factors of the second stage; the recipe's own where None.
        threads: CPU threads; the engine's choice where None.
        series: UID or number of the DICOM series to read; the best for a liver where empty.
        resample_irregular: Whether DICOM slices that form no regular grid are resampled to one.
        dicom: DICOM objects to write; where None the usual ones of a DICOM scan, none of others.
        seg_type: "binary" or "labelmap": how a DICOM SEG stores its segments.
    """

    recipe: str = DEFAULT_RECIPE
    device: Device = Device.AUTO
    engine: EngineKind = EngineKind.AUTO
    precision: str = "auto"
    scales: tuple[float, ...] | None = None
    threads: int | None = None
    series: str = ""
    resample_irregular: bool = False
    dicom: tuple[DicomObject, ...] | None = None
    seg_type: str = "binary"


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseResult:
    """Everything known about one scan.

    Attributes:
        volume: The scan.
        mask: `anatomy.Label` values on its grid.
        lesions: One number per lesion, same grid.
        findings: The measurements.
        record: How the result was made.
        dicom: The DICOM objects to write with it.
    """

    volume: Volume
    mask: LabelMap
    lesions: LabelMap
    findings: CaseFindings
    record: RunRecord
    dicom: DicomPlan = field(default_factory=DicomPlan)

    def report(self) -> dict[str, Any]:
        """The content of `report.json`."""
        volume = self.volume
        return build_report(
            self.findings, source=volume.source, geometry=volume.geometry, record=self.record
        )


@dataclass(frozen=True, slots=True)
class Networks:
    """A recipe whose files were verified and whose networks are open."""

    recipe: Recipe
    engines: dict[StageRole, Engine] = field(default_factory=dict)

    def describe(self, scales: tuple[float, ...] | None) -> RunRecord:
        """What report and user must know about how they run.

        Args:
            scales: As asked for; the recipe's own where None.
        """
        recipe = self.recipe
        infos = [engine.info for engine in self.engines.values()]
        identity = RecipeIdentity(
            recipe.name,
            recipe.version,
            recipe.title,
            recipe.license,
            {stage.file: stage.sha256 for stage in recipe.stages},
        )
        return RunRecord(
            recipe=identity,
            device=str(infos[-1].device),
            engine=infos[-1].engine,
            precision=", ".join(dict.fromkeys(str(info.precision) for info in infos)),
            scales=scales or recipe.stage(StageRole.LESION).scales,
        )


def open_networks(options: SegmentOptions) -> Networks:
    """Find the recipe, verify its files and open its networks.

    Raises:
        ModelError: If a recipe or file is missing, altered or unfit.
        BackendError: If the device or engine asked for cannot be had.
    """
    recipe = find_recipe(options.recipe)
    device = resolve_device(options.device, kind=options.engine)
    engines: dict[StageRole, Engine] = {}
    for stage in recipe.stages:
        request = EngineRequest(
            file=verify_stage(recipe, stage),
            device=device,
            kind=options.engine,
            precision=_precision(stage, device, options.precision),
            threads=options.threads,
        )
        contract = ModelContract(patch=stage.network_patch, classes=len(stage.classes))
        engines[stage.name] = open_engine(request, contract=contract)
    return Networks(recipe, engines)


def _precision(stage: Stage, device: Device, wish: str) -> Precision:
    """The lowest precision that recipe and user allow."""
    if wish != "auto":
        return Precision(wish)
    allowed = stage.cuda_precision if device is Device.CUDA else stage.cpu_precision
    return Precision(str(allowed))


def segment_case(
    path: Path,
    *,
    options: SegmentOptions,
    progress: Progress,
    networks: Networks | None = None,
) -> CaseResult:
    """Read, segment and measure one scan; writes nothing.

    Args:
        path: NIfTI, MHA or NRRD file, DICOM folder or zip.
        options: Recipe, device, scales.
        progress: Told what is going on.
        networks: Networks opened before, for many scans; opened here where None.

    Raises:
        LiverTumorError: Of the class that fits, with what is wrong and what to do.
    """
    watch = StopWatch()
    progress("read", 0, 0)
    volume = read_volume(path, series=options.series, resample_irregular=options.resample_irregular)
    # What cannot be written is refused now, not after minutes of work.
    plan = plan_dicom(volume, objects=options.dicom, seg_type=options.seg_type)
    watch.lap("read")
    if networks is None:
        progress("open networks", 0, 0)
        networks = open_networks(options)
        watch.lap("open_networks")
    result = segment_volume(
        volume, networks=networks, scales=options.scales, progress=progress, watch=watch
    )
    flags = (*result.record.flags, plan.note) if plan.note else result.record.flags
    return replace(result, dicom=plan, record=replace(result.record, flags=flags))


def segment_volume(
    volume: Volume,
    *,
    networks: Networks,
    scales: tuple[float, ...] | None,
    progress: Progress,
    watch: StopWatch | None = None,
) -> CaseResult:
    """Segment and measure a scan in memory; see `segment_case`."""
    watch = watch or StopWatch()
    segmentation = run_cascade(
        volume,
        recipe=networks.recipe,
        engines=networks.engines,
        scales=scales,
        on_progress=progress,
        watch=watch,
    )
    labels = segmentation.labels
    progress("measure", 0, 0)
    lesions = number_lesions(labels == Label.TUMOR)
    extras = _extras(segmentation, lesions, volume.geometry)
    findings = measure_case(volume.hu, labels, lesions, geometry=volume.geometry, extras=extras)
    watch.lap("measure")
    record = networks.describe(scales)
    quality = quality_flags(findings, labels, geometry=volume.geometry, precision=record.precision)
    record = replace(
        record,
        timings_s=watch.timings_s,
        peak_memory_mb=peak_memory_mb(),
        flags=(*volume.source.notes, *quality, *segmentation.flags),
    )
    return CaseResult(
        volume=volume,
        mask=LabelMap(labels, volume.geometry),
        lesions=LabelMap(lesions, volume.geometry),
        findings=findings,
        record=record,
    )


def _extras(segmentation: Segmentation, lesions: InstanceArray, scan: Geometry) -> Extras:
    """What the networks know about lesions beside their outline."""
    tumors = segmentation.scale_tumors
    spread = None
    if tumors is not None:
        spread = scale_volumes_ml(
            tumors.masks(), geometry=tumors.geometry, lesions=lesions, scan=scan
        )
    return Extras(probabilities=segmentation.tumor_probabilities, scale_volumes_ml=spread)


def write_case(
    result: CaseResult, target: Path, *, overwrite: bool, pdf: bool = False
) -> dict[str, Any]:
    """Write masks, tables and reports into a folder that appears whole or not at all.

    Args:
        result: From `segment_case`.
        target: The folder.
        overwrite: Whether an earlier result may be replaced.
        pdf: Whether `report.pdf` is written too.

    Returns:
        The content of `report.json`.

    Raises:
        OutputError: If the folder exists, cannot be written or does not read back as written.
    """
    watch = StopWatch()
    with OutputFolder(target, overwrite=overwrite) as folder:
        for name, label_map in (("mask", result.mask), ("lesions", result.lesions)):
            path = folder / f"{name}.nii.gz"
            write_label_map(path, label_map)
            verify_written(path, label_map)
        source = result.volume.source
        write_text(folder / "lesions.csv", lesions_csv(result.findings, source=source))
        recipe = result.record.recipe
        write_dicom(
            folder,
            result.dicom,
            masks=(result.mask, result.lesions),
            findings=result.findings,
            recipe=f"{recipe.name} {recipe.version}",
        )
        report = result.report()
        masks = (result.mask, result.lesions)
        pages = reader_files(
            report, volume=result.volume, masks=masks, findings=result.findings, pdf=pdf
        )
        write_files(folder, pages)
        watch.lap("write")
        report["timings_s"]["write"] = round(watch.timings_s["write"], 3)
        write_text(folder / "report.json", report_text(report))
    return report
