"""One scan from file to findings, in steps.

The one place that composes reading, networks and measurement. `segment_case` does the steps one
after the other; with those of `reading` and `steps` those of several scans overlap.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path

from livertumor_cli.case_files import CaseResult, MaskReceiver
from livertumor_cli.reading import Progress, ReadScan, read_scan
from livertumor_cli.segment_setup import (
    ChosenNetworks,
    Networks,
    SegmentOptions,
    choose_networks,
)

WHAT_FOLLOWS = "livertumor_cli.steps"
"""Half a second of imports that reading does not need."""


def segment_case(
    path: Path,
    *,
    options: SegmentOptions,
    progress: Progress,
    networks: Networks | None = None,
    on_masks: MaskReceiver | None = None,
) -> CaseResult:
    """Read, segment and measure one scan; writes nothing.

    Args:
        path: NIfTI, MHA or NRRD file, DICOM folder or zip.
        options: Recipe, device, scales.
        progress: Told what is going on.
        networks: Networks opened before, for many scans; opened here where None.
        on_masks: Given the label maps before they are measured, by file name.

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
    from livertumor_cli.steps import measure_scan, run_networks

    segmented = run_networks(scan, networks=chosen, scales=options.scales, progress=progress)
    del chosen  # where they were opened here, their memory is free for the measurement
    progress("measure", 0, 0)
    return measure_scan(segmented, on_masks=on_masks)


def _read_while_opening(
    path: Path, chosen: ChosenNetworks, *, options: SegmentOptions, progress: Progress
) -> tuple[ReadScan, Networks]:
    """A scan and its networks: reading waits for one core and the disk, opening for the others.

    What follows is imported meanwhile too, for the same reason.

    A scan that is refused is told before networks that cannot be opened.
    """
    with ThreadPoolExecutor(2, "open networks") as opener:
        opening = opener.submit(chosen.open, goes_on_cpu=True)
        opener.submit(import_module, WHAT_FOLLOWS)
        scan = read_scan(path, options=options)
        progress("open networks", 0, 0)
        opened = opening.result()
    scan.watch.lap("open_networks")
    return scan, opened
