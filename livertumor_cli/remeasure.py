"""A scan and a mask from a file to findings: the report of a mask that a person corrected."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from livertumor_cli.anatomy import Label
from livertumor_cli.case_files import CaseResult
from livertumor_cli.file_digest import sha256_of
from livertumor_cli.io.mask_in import read_mask
from livertumor_cli.io.place import require_there
from livertumor_cli.measure.case import Extras, measure_case
from livertumor_cli.measure.components import number_lesions
from livertumor_cli.measure.quality import quality_flags
from livertumor_cli.pipeline import Progress, read_scan
from livertumor_cli.process_memory import peak_memory_mb
from livertumor_cli.report.run_record import RecipeIdentity, RunRecord
from livertumor_cli.segment_setup import SegmentOptions
from livertumor_cli.volume import LabelMap, text_name

MASK_RECIPE = "mask file"
"""Stands where a recipe's name stands in reports of segmented scans."""

NO_NETWORK = "The labels come from a file; no network ran."


def measure_files(
    scan: Path, mask: Path, *, options: SegmentOptions, progress: Progress
) -> CaseResult:
    """Read a scan and its mask, and measure; writes nothing, runs no network.

    Args:
        scan: NIfTI, MHA or NRRD file, DICOM folder or zip.
        mask: Label map on the scan's voxels: 1 liver, 2 tumor, 3 vessel.
        options: Series, resampling, DICOM objects and identity; what concerns networks is not used.
        progress: Told what is going on.

    Raises:
        InputError: If scan or mask cannot be used, or their grids differ.
        ConfigError: If the DICOM objects asked for cannot be made of the scan.
    """
    progress("read", 0, 0)
    require_there(mask)  # before the scan is read, which takes longer
    read = read_scan(scan, options=options)
    volume, watch = read.volume, read.watch
    placed = read_mask(mask, scan=volume.geometry)
    label_map = placed.label_map
    watch.lap("read")
    progress("measure", 0, 0)
    labels = np.asarray(label_map.labels, dtype=np.uint8)
    lesions = number_lesions(labels == Label.TUMOR)
    # A file does not say whether its author looked for vessels: one without any tells of none.
    extras = Extras(tells_vessels=bool((labels == Label.VESSEL).any()))
    findings = measure_case(volume.hu, labels, lesions, geometry=volume.geometry, extras=extras)
    quality = quality_flags(findings, labels, geometry=volume.geometry)
    watch.lap("measure")
    notes = tuple(note for note in (placed.note, read.dicom.note) if note)
    record = RunRecord(
        recipe=_identity(mask),
        device="",
        engine="",
        precision="",
        scales=(),
        timings_s=watch.timings_s,
        peak_memory_mb=peak_memory_mb(),
        flags=(NO_NETWORK, *volume.source.notes, *quality, *notes),
    )
    return CaseResult(
        volume=volume,
        mask=label_map,
        lesions=LabelMap(lesions, volume.geometry),
        findings=findings,
        record=record,
        dicom=read.dicom,
    )


def _identity(mask: Path) -> RecipeIdentity:
    """The mask where a recipe and its weights would stand."""
    files = {text_name(mask): sha256_of(mask)}
    return RecipeIdentity(MASK_RECIPE, "", "Labels read from a file", "", files)
