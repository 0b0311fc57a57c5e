"""A scan and a mask from a file to findings: the report of a mask that a person corrected."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np

from livertumor_cli.anatomy import Label
from livertumor_cli.case_files import CaseResult
from livertumor_cli.io.dicom_results import DicomObject, plan_dicom
from livertumor_cli.io.formats import read_volume
from livertumor_cli.io.mask_in import read_mask
from livertumor_cli.measure.case import measure_case
from livertumor_cli.measure.components import number_lesions
from livertumor_cli.measure.quality import quality_flags
from livertumor_cli.pipeline import Progress
from livertumor_cli.process_memory import peak_memory_mb
from livertumor_cli.report.run_record import RecipeIdentity, RunRecord
from livertumor_cli.stopwatch import StopWatch
from livertumor_cli.volume import LabelMap

MASK_RECIPE = "mask file"
"""Stands where a recipe's name stands in reports of segmented scans."""

_BLOCK_BYTES = 1 << 20


def measure_files(
    scan: Path,
    mask: Path,
    *,
    series: str = "",
    resample_irregular: bool = False,
    dicom: tuple[DicomObject, ...] = (),
    seg_type: str = "binary",
    keep_identity: bool = False,
    progress: Progress,
) -> CaseResult:
    """Read a scan and its mask, and measure; writes nothing, runs no network.

    Args:
        scan: NIfTI, MHA or NRRD file, DICOM folder or zip.
        mask: Label map on the scan's voxels: 1 liver, 2 tumor, 3 vessel.
        series: UID or number of the DICOM series to read; the best for a liver where empty.
        resample_irregular: Whether DICOM slices that form no regular grid are resampled to one.
        dicom: DICOM objects to write of a DICOM scan.
        seg_type: "binary" or "labelmap": how a DICOM SEG stores its segments.
        keep_identity: Whether results may tell the name of a DICOM folder or zip.
        progress: Told what is going on.

    Raises:
        InputError: If scan or mask cannot be used, or their grids differ.
        ConfigError: If the DICOM objects asked for cannot be made of the scan.
    """
    watch = StopWatch()
    progress("read", 0, 0)
    volume = read_volume(scan, series=series, resample_irregular=resample_irregular)
    volume = replace(volume, source=replace(volume.source, keeps_identity=keep_identity))
    plan = plan_dicom(volume, objects=dicom, seg_type=seg_type)
    label_map = read_mask(mask, scan=volume.geometry)
    watch.lap("read")
    progress("measure", 0, 0)
    labels = np.asarray(label_map.labels, dtype=np.uint8)
    lesions = number_lesions(labels == Label.TUMOR)
    findings = measure_case(volume.hu, labels, lesions, geometry=volume.geometry)
    quality = quality_flags(findings, labels, geometry=volume.geometry)
    watch.lap("measure")
    record = RunRecord(
        recipe=RecipeIdentity(
            MASK_RECIPE, "", "Labels read from a file", "", {mask.name: _sha256(mask)}
        ),
        device="",
        engine="",
        precision="",
        scales=(),
        timings_s=watch.timings_s,
        peak_memory_mb=peak_memory_mb(),
        flags=(
            "The labels come from a file; no network ran.",
            *volume.source.notes,
            *quality,
        ),
    )
    numbered = LabelMap(lesions, volume.geometry)
    return CaseResult(
        volume=volume,
        mask=label_map,
        lesions=numbered,
        findings=findings,
        record=record,
        dicom=plan,
    )


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()
