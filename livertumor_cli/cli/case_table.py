"""The findings of one case as tables for a terminal of 80 columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from livertumor_cli.cli.console import stdout_console

MOST_LESIONS = 25
"""What one screen holds beside the other numbers; the files hold all."""


def print_case_table(report: Mapping[str, Any]) -> None:
    """Print the whole-liver measurements, the lesions, the flags and the disclaimer on stdout.

    Args:
        report: From `report.json_report.build_report`.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from livertumor_cli.report.tables import (
        TERMINAL_COLUMNS,
        TERMINAL_LEGEND,
        lesion_rows,
        summary_rows,
    )

    console = stdout_console()
    summary = Table.grid(padding=(0, 2))
    summary.add_column()
    summary.add_column(justify="right")
    for name, value in summary_rows(report):
        summary.add_row(name, value)
    console.print(summary)
    rows = lesion_rows(report)
    if rows:
        lesions = Table(box=box.SIMPLE_HEAD, collapse_padding=True, pad_edge=False)
        for title in TERMINAL_COLUMNS:
            lesions.add_column(title, justify="right", no_wrap=True)
        for row in rows[:MOST_LESIONS]:
            lesions.add_row(*row)
        console.print(lesions)
        for line in TERMINAL_LEGEND:
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
