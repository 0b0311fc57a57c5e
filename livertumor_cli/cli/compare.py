"""`livertumor compare BASELINE FOLLOWUP`: what changed between two results of one patient."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from livertumor_cli.cli.console import stdout_console, write_json
from livertumor_cli.cli.number_table import print_numbers
from livertumor_cli.cli.options import PATH


@click.command()
@click.argument("baseline", type=PATH)
@click.argument("followup", type=PATH)
@click.option(
    "--output",
    "-o",
    type=PATH,
    default=None,
    help="Folder for compare.json, compare.csv and compare.html (default: none is written).",
)
@click.option("--overwrite", is_flag=True, help="Replace an earlier comparison in that folder.")
@click.option("--json", "as_json", is_flag=True, help="Print the comparison as JSON, nothing else.")
def compare(
    baseline: Path, followup: Path, output: Path | None, overwrite: bool, as_json: bool
) -> None:
    """Compare the results in the folders BASELINE and FOLLOWUP of one patient.

    Both were written by 'segment' or 'measure'. The livers are aligned rigidly, the lesions
    matched, and growth, new and vanished lesions listed as numbers; no category of response is
    stated.

    Example: livertumor compare results/2025 results/2026 -o results/2025_2026
    """
    from livertumor_cli.follow_up import COMPARISON_FILES, compare_results, write_comparison
    from livertumor_cli.io.output_folder import require_writable

    if output is not None:
        require_writable(output, files=COMPARISON_FILES, overwrite=overwrite)
    comparison = compare_results(baseline, followup)
    if output is not None:
        write_comparison(comparison, output, overwrite=overwrite)
    if as_json:
        write_json(comparison)
        return
    _print_tables(comparison)
    if output is not None:
        click.echo(str(output))


def _print_tables(comparison: Mapping[str, Any]) -> None:
    from rich.table import Table
    from rich.text import Text

    from livertumor_cli.report.follow_up_report import (
        COLUMNS,
        LEGEND,
        comparison_rows,
        comparison_summary,
    )

    console = stdout_console()
    summary = Table.grid(padding=(0, 2))
    for name, text in comparison_summary(comparison):
        summary.add_row(name, text)
    console.print(summary)
    rows = comparison_rows(comparison)
    if rows:
        print_numbers(COLUMNS, rows)
        console.print(f"{LEGEND}\n")
    else:
        console.print("\nNeither scan has a lesion.\n")
    for flag in comparison["flags"]:
        # Text, as brackets in a sentence are no markup.
        console.print(Text(f"! {flag}"))
    console.print(comparison["disclaimer"])
