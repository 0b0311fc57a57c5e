"""One scan from file to findings, in steps.

The one place that composes reading, networks and measurement. `segment_case` does the steps one
after the other; with `read_scan`, `run_networks` and `measure_scan` those of several scans overlap.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from livertumor_cli.anatomy import Label
from livertumor_cli.arrays import InstanceArray
from livertumor_cli.case_files import CaseResult
from livertumor_cli.geometry import Geometry
from livertumor_cli.inference.cascade import Seen, run_cascade
from livertumor_cli.inference.segmentation import Segmentation, on_scan
from livertumor_cli.io.dicom_results import DicomPlan, plan_dicom
from livertumor_cli.io.formats import read_volume
from livertumor_cli.measure.case import Extras, measure_case
from livertumor_cli.measure.components import number_lesions
from livertumor_cli.measure.quality import quality_flags
from livertumor_cli.measure.scale_spread import scale_volumes_ml
from livertumor_cli.process_memory import peak_memory_mb
from livertumor_cli.report.run_record import RunRecord
from livertumor_cli.segment_setup import (
    ChosenNetworks,
    Networks,
    SegmentOptions,
    choose_networks,
)
from livertumor_cli.stopwatch import StopWatch
from livertumor_cli.volume import LabelMap, Volume

Progress = Callable[[str, int, int], None]
"""Told (step, done, total); a total of 0 means that the end is not known."""


@dataclass(frozen=True, slots=True)
class ReadScan:
    """A scan in memory, ready for the networks.

    Attributes:
        volume: The scan.
        dicom: The DICOM objects that will be written of it.
        watch: Seconds of the steps so far; the later steps add theirs.
    """

    volume: Volume
    dicom: DicomPlan = field(default_factory=DicomPlan)
    watch: StopWatch = field(default_factory=StopWatch)


@dataclass(frozen=True, slots=True)
class SegmentedScan:
    """A scan after the networks, which are free for the next one.

    Attributes:
        scan: The scan.
        seen: What the networks say.
        record: What ran, without times and flags.
    """

    scan: ReadScan
    seen: Seen
    record: RunRecord


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
    # Before the scan, which may take minutes to read: a wish that cannot be met is told at once.
    chosen = choose_networks(options) if networks is None else networks
    progress("read", 0, 0)
    if isinstance(chosen, ChosenNetworks):
        scan, chosen = _read_while_opening(path, chosen, options=options, progress=progress)
    else:
        scan = read_scan(path, options=options)
    segmented = run_networks(scan, networks=chosen, scales=options.scales, progress=progress)
    del chosen  # where they were opened here, their memory is free for the measurement
    progress("measure", 0, 0)
    return measure_scan(segmented)


def _read_while_opening(
    path: Path, chosen: ChosenNetworks, *, options: SegmentOptions, progress: Progress
) -> tuple[ReadScan, Networks]:
    """A scan and its networks: reading waits for one core and the disk, opening for the others.

    A scan that is refused is told before networks that cannot be opened.
    """
    with ThreadPoolExecutor(1, "open networks") as opener:
        opening = opener.submit(chosen.open, goes_on_cpu=True)
        scan = read_scan(path, options=options)
        progress("open networks", 0, 0)
        opened = opening.result()
    scan.watch.lap("open_networks")
    return scan, opened


def segment_volume(
    volume: Volume, *, networks: Networks, scales: tuple[float, ...] | None, progress: Progress
) -> CaseResult:
    """Segment and measure a scan in memory; see `segment_case`."""
    segmented = run_networks(ReadScan(volume), networks=networks, scales=scales, progress=progress)
    progress("measure", 0, 0)
    return measure_scan(segmented)


def read_scan(path: Path, *, options: SegmentOptions) -> ReadScan:
    """The first step: the scan in memory, and what will be written of it.

    Args:
        path: NIfTI, MHA or NRRD file, DICOM folder or zip.
        options: Series, resampling, DICOM objects.

    Raises:
        InputError: If the scan cannot be used.
        ConfigError: If the DICOM objects asked for cannot be made of it.
    """
    watch = StopWatch()
    volume = read_volume(path, series=options.series, resample_irregular=options.resample_irregular)
    return with_plan(volume, options=options, watch=watch)


def with_plan(volume: Volume, *, options: SegmentOptions, watch: StopWatch) -> ReadScan:
    """Settle what will be written of a volume that was read by other means than `read_scan`.

    What cannot be written is refused here, before minutes of work.

    Args:
        volume: The scan.
        options: DICOM objects.
        watch: Started before the reading, which is booked now.

    Raises:
        ConfigError: If the DICOM objects asked for cannot be made of it.
    """
    volume = replace(volume, source=replace(volume.source, keeps_identity=options.keep_identity))
    plan = plan_dicom(volume, objects=options.dicom, seg_type=options.seg_type)
    watch.lap("read")
    return ReadScan(volume, plan, watch)


def run_networks(
    scan: ReadScan, *, networks: Networks, scales: tuple[float, ...] | None, progress: Progress
) -> SegmentedScan:
    """The second step, the only one that uses the device.

    Args:
        scan: From `read_scan`.
        networks: Opened once for all scans, used by one thread at a time.
        scales: As asked for; the recipe's own where None.
        progress: Told after each window.

    Raises:
        NoLiverError: If there is none.
        BackendError: If memory will not do.
    """
    scan.watch.restart()
    seen = run_cascade(
        scan.volume,
        recipe=networks.recipe,
        engines=networks.engines,
        scales=scales,
        on_progress=progress,
        watch=scan.watch,
    )
    return SegmentedScan(scan, seen, networks.describe(scales))


def measure_scan(segmented: SegmentedScan) -> CaseResult:
    """The third step: the result on the scan's own grid, lesions, measurements, flags."""
    scan, record = segmented.scan, segmented.record
    volume, watch = scan.volume, scan.watch
    watch.restart()
    segmentation = on_scan(segmented.seen, volume.geometry)
    labels = segmentation.labels
    watch.lap("back_to_scan")
    lesions = number_lesions(labels == Label.TUMOR)
    extras = _extras(segmentation, lesions, volume.geometry)
    findings = measure_case(volume.hu, labels, lesions, geometry=volume.geometry, extras=extras)
    quality = quality_flags(findings, labels, geometry=volume.geometry, precision=record.precision)
    watch.lap("measure")
    not_written = (scan.dicom.note,) if scan.dicom.note else ()
    record = replace(
        record,
        timings_s=watch.timings_s,
        peak_memory_mb=peak_memory_mb(),
        flags=(*volume.source.notes, *record.flags, *quality, *segmentation.flags, *not_written),
    )
    segments = segmentation.segments
    return CaseResult(
        volume=volume,
        mask=LabelMap(labels, volume.geometry),
        lesions=LabelMap(lesions, volume.geometry),
        segments=None if segments is None else LabelMap(segments, volume.geometry),
        findings=findings,
        record=record,
        dicom=scan.dicom,
    )


def _extras(segmentation: Segmentation, lesions: InstanceArray, scan: Geometry) -> Extras:
    """What the networks know about lesions beside their outline."""
    extras = Extras(
        probabilities=segmentation.tumor_probabilities,
        segments=segmentation.segments,
        tells_vessels=segmentation.tells_vessels,
    )
    tumors = segmentation.scale_tumors
    if tumors is None:
        return extras
    masks, geometry = tumors.masks(), tumors.geometry
    spread = scale_volumes_ml(masks, geometry=geometry, lesions=lesions, scan=scan)
    return replace(extras, scale_volumes_ml=spread)
