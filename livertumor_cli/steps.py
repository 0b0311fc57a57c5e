"""What follows the reading of a scan, in two steps: its networks, its measurement."""

from __future__ import annotations

from dataclasses import dataclass, replace

from livertumor_cli.arrays import InstanceArray
from livertumor_cli.case_files import CaseResult, MaskReceiver, named_maps
from livertumor_cli.geometry import Geometry
from livertumor_cli.inference.cascade import Seen, run_cascade
from livertumor_cli.inference.segmentation import Segmentation, on_scan
from livertumor_cli.measure.case import Extras, measure_case
from livertumor_cli.measure.components import number_tumors
from livertumor_cli.measure.quality import quality_flags
from livertumor_cli.measure.scale_spread import scale_volumes_ml
from livertumor_cli.process_memory import peak_memory_mb
from livertumor_cli.reading import Progress, ReadScan
from livertumor_cli.report.run_record import RunRecord
from livertumor_cli.segment_setup import Networks
from livertumor_cli.volume import LabelMap, Volume


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


def segment_volume(
    volume: Volume, *, networks: Networks, scales: tuple[float, ...] | None, progress: Progress
) -> CaseResult:
    """Both steps with a scan in memory; see `run_networks` and `measure_scan`."""
    segmented = run_networks(ReadScan(volume), networks=networks, scales=scales, progress=progress)
    progress("measure", 0, 0)
    return measure_scan(segmented)


def run_networks(
    scan: ReadScan, *, networks: Networks, scales: tuple[float, ...] | None, progress: Progress
) -> SegmentedScan:
    """The first of them, the only one that uses the device.

    Args:
        scan: From `reading.read_scan`.
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


def measure_scan(segmented: SegmentedScan, *, on_masks: MaskReceiver | None = None) -> CaseResult:
    """The second: the result on the scan's own grid, lesions, measurements, flags.

    Args:
        segmented: From `run_networks`.
        on_masks: Given the label maps as soon as they are known, by file name.
    """
    scan, record = segmented.scan, segmented.record
    volume, watch = scan.volume, scan.watch
    watch.restart()
    segmentation = on_scan(segmented.seen, volume.geometry)
    labels = segmentation.labels
    watch.lap("back_to_scan")
    lesions = number_tumors(labels)
    mask, numbered = (LabelMap(array, volume.geometry) for array in (labels, lesions))
    segments = None
    if segmentation.segments is not None:
        segments = LabelMap(segmentation.segments, volume.geometry)
    if on_masks:
        on_masks(named_maps(mask, numbered, segments))
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
    return CaseResult(
        volume=volume,
        mask=mask,
        lesions=numbered,
        segments=segments,
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
