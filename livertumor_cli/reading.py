"""The first step with a scan: from a path to a volume in memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from livertumor_cli.io.dicom_results import DicomPlan, plan_dicom
from livertumor_cli.io.formats import read_volume
from livertumor_cli.segment_setup import SegmentOptions
from livertumor_cli.stopwatch import StopWatch
from livertumor_cli.volume import Volume

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


def read_scan(path: Path, *, options: SegmentOptions) -> ReadScan:
    """The scan in memory, and what will be written of it.

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
