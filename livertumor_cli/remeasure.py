"""A scan and a mask from a file to findings: the report of a mask that a person corrected."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from livertumor_cli.anatomy import Label
from livertumor_cli.arrays import LabelArray
from livertumor_cli.case_files import CaseResult
from livertumor_cli.file_digest import sha256_of
from livertumor_cli.io.mask_in import read_mask
from livertumor_cli.io.place import require_there
from livertumor_cli.measure.case import Extras, measure_case
from livertumor_cli.measure.components import number_tumors
from livertumor_cli.measure.quality import quality_flags
from livertumor_cli.process_memory import peak_memory_mb
from livertumor_cli.reading import Progress, ReadScan, read_scan
from livertumor_cli.report.run_record import RecipeIdentity, RunRecord, SegmentsBy
from livertumor_cli.segment_setup import SegmentOptions
from livertumor_cli.told_segments import ToldSegments, choose_teller
from livertumor_cli.volume import LabelMap, text_name

MASK_RECIPE = "mask file"
"""Stands where a recipe's name stands in reports of segmented scans."""


def measure_files(
    scan: Path,
    mask: Path,
    *,
    options: SegmentOptions,
    segments: SegmentsBy | Path | None = SegmentsBy.NETWORK,
    progress: Progress,
) -> CaseResult:
    """Read a scan and its mask, and measure; writes nothing.

    Args:
        scan: NIfTI, MHA or NRRD file, DICOM folder or zip.
        mask: Label map on the scan's voxels: 1 liver, 2 tumor, 3 vessel.
        options: Series, resampling, DICOM objects and identity; recipe and device of the network
            that tells the Couinaud segments.
        segments: Who tells the segments: the recipe's network, a file of them, or nobody.
        progress: Told what is going on.

    Raises:
        InputError: If scan or a file of labels cannot be used, or their grids differ.
        ConfigError: If the DICOM objects asked for cannot be made of the scan, or the recipe has no
            stage for the segments.
        ModelError: If the recipe is missing or damaged.
        BackendError: If the device asked for cannot be had, or memory will not do.
    """
    progress("read", 0, 0)
    require_there(mask)  # before the scan is read, which takes longer
    teller = choose_teller(segments, options)
    read = read_scan(scan, options=options)
    placed = read_mask(mask, scan=read.volume.geometry)
    labels = np.asarray(placed.label_map.labels, dtype=np.uint8)
    read.watch.lap("read")
    told = teller.tell(read.volume, labels, progress=progress, watch=read.watch)
    progress("measure", 0, 0)
    result = _measured(read, labels, told, identity=_identity(mask, told))
    notes = tuple(note for note in (placed.note, read.dicom.note) if note)
    record = replace(result.record, flags=(*result.record.flags, *notes))
    return replace(result, record=record)


def _measured(
    read: ReadScan, labels: LabelArray, told: ToldSegments, *, identity: RecipeIdentity
) -> CaseResult:
    volume, geometry = read.volume, read.volume.geometry
    lesions = number_tumors(labels)
    # A file does not say whether its author looked for vessels: one without any tells of none.
    tells_vessels = bool((labels == Label.VESSEL).any())
    extras = Extras(segments=told.labels, tells_vessels=tells_vessels)
    findings = measure_case(volume.hu, labels, lesions, geometry=geometry, extras=extras)
    quality = quality_flags(findings, labels, geometry=geometry, precision=told.precision)
    read.watch.lap("measure")
    record = RunRecord(
        recipe=identity,
        device=told.device,
        engine=told.engine,
        precision=told.precision,
        scales=(),
        timings_s=read.watch.timings_s,
        peak_memory_mb=peak_memory_mb(),
        flags=(*told.flags, *volume.source.notes, *quality),
        labels_from_file=True,
        segments_by=told.by,
    )
    return CaseResult(
        volume=volume,
        mask=LabelMap(labels, geometry),
        lesions=LabelMap(lesions, geometry),
        segments=None if told.labels is None else LabelMap(told.labels, geometry),
        findings=findings,
        record=record,
        dicom=read.dicom,
    )


def _identity(mask: Path, told: ToldSegments) -> RecipeIdentity:
    """The mask where a recipe and its weights would stand, and beside it who told the segments."""
    name = text_name(mask)
    # Files of one name from two folders are two files.
    others = {f"{key} (segments)" if key == name else key: told.files[key] for key in told.files}
    title = "; ".join(part for part in ("Labels read from a file", told.origin) if part)
    return RecipeIdentity(MASK_RECIPE, "", title, told.license, {name: sha256_of(mask), **others})
