"""`livertumor segment SCAN`: the main job."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zlib import crc32

import click

from livertumor_cli.cli.options import (
    PATH,
    dicom_options,
    identity_option,
    network_options,
    result_options,
    scan_options,
)

if TYPE_CHECKING:
    from livertumor_cli.segment_setup import SegmentOptions

SUFFIXES = (".nii.gz", ".nii", ".mha", ".mhd", ".nrrd", ".nhdr", ".hdr", ".img", ".zip", ".dcm")


@click.command()
@click.argument("scan", type=PATH)
@result_options
@scan_options
@identity_option
@dicom_options
@network_options
def segment(
    scan: Path,
    output: Path | None,
    overwrite: bool,
    pdf: bool,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Segment liver, tumors and intrahepatic vessels in SCAN and measure them.

    SCAN is a contrast-enhanced abdominal CT: a NIfTI, MHA or NRRD file, a DICOM folder, or a zip of
    one. Results appear in <SCAN>_livertumor beside it, or in the folder given with -o. A DICOM
    folder or zip may be named after the patient, so its results get a number instead of its name.

    Example: livertumor segment scan.nii.gz -o results/patient1
    """
    target = output or default_output(scan, keep_identity=options["keep_identity"])
    report = run_and_write(
        scan,
        target=target,
        overwrite=overwrite,
        pdf=pdf,
        quiet=quiet or as_json,
        options=segment_options(**options),
    )
    show_result(report, target=target, as_json=as_json, quiet=quiet)


def segment_options(
    *,
    recipe: str | None,
    device: str,
    engine: str,
    precision: str,
    scales: tuple[float, ...] | None,
    threads: int | None,
    series: str = "",
    resample_irregular: bool = False,
    dicom: tuple[str, ...] | None = None,
    seg_type: str = "binary",
    keep_identity: bool = False,
) -> SegmentOptions:
    """The command line's words as the pipeline's options."""
    from livertumor_cli.engine.engine import Device, EngineKind
    from livertumor_cli.io.dicom_results import DicomObject
    from livertumor_cli.recipes.store import DEFAULT_RECIPE
    from livertumor_cli.segment_setup import SegmentOptions

    return SegmentOptions(
        recipe=DEFAULT_RECIPE if recipe is None else recipe,
        device=Device(device),
        engine=EngineKind(engine),
        precision=precision,
        scales=scales,
        threads=threads,
        series=series,
        resample_irregular=resample_irregular,
        dicom=None if dicom is None else tuple(DicomObject(name) for name in dicom),
        seg_type=seg_type,
        keep_identity=keep_identity,
    )


def default_output(scan: Path, *, keep_identity: bool = False) -> Path:
    """`<scan>_livertumor` beside the scan, without the scan's suffix.

    Args:
        scan: What the user gave.
        keep_identity: Whether the name of a DICOM folder or zip may be used, which often is the
            patient's; if not, digits stand for it, the same whenever it is segmented.
    """
    from livertumor_cli.io.formats import is_volume_file

    # `.` and `..` have no name of their own.
    whole = scan.absolute() if scan.name.strip(".") else scan.resolve()
    name = whole.name
    for suffix in SUFFIXES:
        if name.lower().endswith(suffix):
            name = name[: -len(suffix)]
            break
    if not (keep_identity or is_volume_file(whole)):
        name = f"scan_{crc32(os.fsencode(scan.resolve())):08x}"
    return whole.parent / f"{name}_livertumor"


def run_and_write(
    scan: Path, *, target: Path, overwrite: bool, pdf: bool, quiet: bool, options: SegmentOptions
) -> dict[str, Any]:
    """Segment with progress on stderr, write the results, and return the report."""
    from livertumor_cli.case_files import CASE_FILES, CaseWriter
    from livertumor_cli.cli.progress import show_progress
    from livertumor_cli.io.output_folder import require_writable
    from livertumor_cli.pipeline import segment_case

    # Minutes of work must not end in "exists already".
    require_writable(target, files=CASE_FILES, overwrite=overwrite, inputs=(scan,))
    with (
        CaseWriter(target, overwrite=overwrite) as writer,
        show_progress(quiet=quiet) as progress,
    ):
        result = segment_case(scan, options=options, progress=progress, on_masks=writer.write_masks)
        progress("write", 0, 0)
        return writer.finish(result, pdf=pdf)


def show_result(report: dict[str, Any], *, target: Path, as_json: bool, quiet: bool) -> None:
    """JSON, or the table and the folder; only the folder when quiet."""
    from livertumor_cli.cli.case_table import print_case_table
    from livertumor_cli.cli.console import write_json

    if as_json:
        write_json(report)
        return
    if not quiet:
        print_case_table(report)
    click.echo(str(target))
