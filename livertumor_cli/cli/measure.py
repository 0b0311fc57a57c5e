"""`livertumor measure SCAN MASK`: the report of a mask that a person corrected."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from livertumor_cli.cli.options import (
    PATH,
    SEG_TYPES,
    identity_option,
    one_network_options,
    parse_dicom,
    result_options,
    scan_options,
)

_SUFFIXES = (".nii.gz", ".nii", ".seg.nrrd", ".nrrd", ".nhdr", ".mha", ".mhd", ".dcm")


def _parse_segments(
    context: click.Context, parameter: click.Parameter, value: str
) -> Path | str | None:
    """Read a word or a path.

    Raises:
        click.BadParameter: If the path is empty.
    """
    if value == "network":
        return value
    return None if value == "none" else PATH.convert(value, parameter, context)


@click.command()
@click.argument("scan", type=PATH)
@click.argument("mask", type=PATH)
@result_options
@scan_options
@identity_option
@click.option(
    "--segments",
    callback=_parse_segments,
    default="network",
    show_default=True,
    metavar="network|none|FILE",
    help="Who tells the Couinaud segments: a recipe's network, nobody, or a label map of them with "
    "the values 1 to 8.",
)
@one_network_options
@click.option(
    "--dicom",
    callback=parse_dicom,
    default="none",
    show_default=True,
    metavar="LIST",
    help="DICOM objects to write: seg, sr, rtstruct, or auto for seg,sr of a DICOM scan.",
)
@click.option(
    "--seg-type",
    type=click.Choice(SEG_TYPES),
    default="binary",
    show_default=True,
    help="How a DICOM SEG stores its segments.",
)
def measure(
    scan: Path,
    mask: Path,
    output: Path | None,
    overwrite: bool,
    pdf: bool,
    as_json: bool,
    quiet: bool,
    segments: Path | str | None,
    **options: Any,
) -> None:
    """Measure liver, tumors and vessels that MASK marks in SCAN, and write the report of 'segment'.

    MASK is a label map on the scan's own voxels, such as the mask of 'segment' corrected in 3D
    Slicer or ITK-SNAP: .nii, .nii.gz, .nrrd or .mha with 1 liver, 2 tumor, 3 vessel; or a .seg.nrrd
    or DICOM Segmentation whose segments are named so. A recipe's network tells the Couinaud
    segments inside that liver and draws nothing else. Results appear in <MASK>_measured beside the
    mask, or in the folder given with -o.

    Example: livertumor measure scan.nii.gz corrected.nii.gz -o results/patient1_corrected
    """
    from livertumor_cli.case_files import CASE_FILES, write_case
    from livertumor_cli.cli.progress import show_progress
    from livertumor_cli.cli.segment import segment_options, show_result
    from livertumor_cli.io.output_folder import require_writable
    from livertumor_cli.remeasure import measure_files
    from livertumor_cli.report.run_record import SegmentsBy

    if segments != "network" and options["recipe"] is not None:
        raise click.UsageError("--recipe tells the Couinaud segments: it needs --segments network.")
    target = output or default_output(mask)
    inputs = (scan, mask, *([segments] if isinstance(segments, Path) else []))
    require_writable(target, files=CASE_FILES, overwrite=overwrite, inputs=inputs)
    with show_progress(quiet=quiet or as_json) as progress:
        result = measure_files(
            scan,
            mask,
            options=segment_options(**options, scales=None),
            segments=SegmentsBy(segments) if isinstance(segments, str) else segments,
            progress=progress,
        )
        progress("write", 0, 0)
        report = write_case(result, target, overwrite=overwrite, pdf=pdf)
    show_result(report, target=target, as_json=as_json, quiet=quiet)


def default_output(mask: Path) -> Path:
    """`<mask>_measured` beside the mask, without its suffix."""
    whole = mask.absolute()
    name = whole.name
    for suffix in _SUFFIXES:
        if name.lower().endswith(suffix):
            name = name[: -len(suffix)]
            break
    return whole.parent / f"{name}_measured"
