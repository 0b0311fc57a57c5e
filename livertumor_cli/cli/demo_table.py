"""Found against true, for the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click

from livertumor_cli.cli.console import stdout_console


def print_comparison(comparison: Mapping[str, Any]) -> None:
    """Print the demo's comparison with the phantom's truth, at most 80 columns wide."""
    structures = [
        (row["name"], f"{row['true_ml']:.1f}", f"{row['found_ml']:.1f}", f"{row['dice']:.3f}")
        for row in comparison["structures"]
    ]
    tumors = [
        (f"{row['true_diameter_mm']:.1f}", f"{row['true_ml']:.2f}", f"{row['found_percent']:.0f}")
        for row in comparison["tumors"]
    ]
    click.echo("\nPhantom: found against true")
    _print_table(("Structure", "True ml", "Found ml", "Dice"), structures)
    click.echo("Phantom: tumors")
    _print_table(("True diameter mm", "True ml", "Found %"), tumors)
    click.echo("A phantom is a drawing: this shows that the program works here, and nothing")
    click.echo("about how well it finds tumors in patients.")


def _print_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    for heading in headings:
        table.add_column(heading, justify="left" if heading == "Structure" else "right")
    for row in rows:
        table.add_row(*row)
    stdout_console().print(table)
