"""The findings of one case as tables for a terminal of 80 columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from livertumor_cli.cli.console import stdout_console
from livertumor_cli.cli.number_table import print_numbers

MOST_LESIONS = 25
"""What one screen holds beside the other numbers; the files hold all."""


def print_case_table(report: Mapping[str, Any]) -> None:
    """Print the whole-liver measurements, the lesions, the flags and the disclaimer on stdout.

    Args:
        report: From `report.json_report.build_report`.
    """
    from rich.table import Table
    from rich.text import Text

    from livertumor_cli.report.tables import (
        SEGMENT_HEADINGS,
        SEGMENT_LEGEND,
        TERMINAL_LEGEND,
        lesion_table,
        segment_rows,
        summary_rows,
    )

    console = stdout_console()
    summary = Table.grid(padding=(0, 2))
    summary.add_column()
    summary.add_column(justify="right")
    for name, value in summary_rows(report):
        summary.add_row(name, value)
    console.print(summary)
    columns, rows = lesion_table(report)
    segments = segment_rows(report)
    if segments:
        console.print(f"\n{SEGMENT_HEADINGS[report['segments_by']]}")
        print_numbers(segments[0], segments[1:])
    if rows:
        print_numbers(columns, rows[:MOST_LESIONS])
        for line in (*TERMINAL_LEGEND, *([SEGMENT_LEGEND] if segments else [])):
            console.print(line)
        console.print()
    else:
        console.print("\nNo tumor was found.\n")
    if len(rows) > MOST_LESIONS:
        console.print(f"{len(rows) - MOST_LESIONS} smaller lesions are in lesions.csv.\n")
    for flag in report["flags"]:
        # Text, as brackets in a sentence are no markup.
        console.print(Text(f"! {flag}"))
    console.print(Text(report["disclaimer"]))
