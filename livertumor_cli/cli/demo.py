"""`livertumor demo`: the main job on a phantom whose truth is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from livertumor_cli.cli.options import PATH, network_options
from livertumor_cli.cli.segment import segment_options, show_result


@click.command()
@click.option(
    "--output",
    "-o",
    type=PATH,
    default=Path("livertumor_demo"),
    show_default=True,
    help="Folder for the phantom scan and the results.",
)
@click.option("--seed", type=click.IntRange(0), default=0, help="Another seed, another phantom.")
@click.option("--overwrite", is_flag=True, help="Replace an earlier demo in that folder.")
@click.option("--json", "as_json", is_flag=True, help="Print the comparison as JSON, nothing else.")
@click.option("--quiet", "-q", is_flag=True, help="No progress and no tables.")
@network_options
def demo(
    output: Path,
    seed: int,
    overwrite: bool,
    as_json: bool,
    quiet: bool,
    **network: Any,
) -> None:
    """Draw an abdominal CT phantom as a DICOM series, segment it, compare with the truth.

    The phantom is a drawing, not a patient: that it is segmented shows that the program works here,
    not how well it finds tumors in patients.

    Example: livertumor demo -o demo
    """
    from livertumor_cli.case_files import write_case
    from livertumor_cli.cli.console import write_json
    from livertumor_cli.cli.demo_table import print_comparison
    from livertumor_cli.cli.progress import show_progress
    from livertumor_cli.demo import DEMO_FILES, RESULTS, SCAN, compare_with_truth, write_phantom
    from livertumor_cli.io.output_folder import OutputFolder
    from livertumor_cli.pipeline import segment_case
    from livertumor_cli.segment_setup import open_networks

    options = segment_options(**network)
    with (
        OutputFolder(output, files=DEMO_FILES, overwrite=overwrite) as folder,
        show_progress(quiet=quiet or as_json) as progress,
    ):
        progress("open networks", 0, 0)
        networks = open_networks(options)
        progress("draw", 0, 0)
        phantom = write_phantom(folder, seed=seed)
        result = segment_case(folder / SCAN, options=options, progress=progress, networks=networks)
        progress("write", 0, 0)
        report = write_case(result, folder / RESULTS, overwrite=False)
        mask = folder / RESULTS / "mask.nii.gz"
        comparison = compare_with_truth(phantom, mask, report=report)
    if as_json:
        write_json(comparison)
        return
    show_result(report, target=output / RESULTS, as_json=False, quiet=quiet)
    if not quiet:
        print_comparison(comparison)
