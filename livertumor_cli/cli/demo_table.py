"""Found against true, for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from livertumor_cli.cli.console import stdout_console


def print_comparison(comparison: Mapping[str, Any]) -> None:
    """Print the demo's comparison with the phantom's truth, at most 80 columns wide."""
    from rich.table import Table

    console = stdout_console()
    volumes = Table(title="Phantom: found against true", title_justify="left")
    volumes.add_column("Structure")
    for heading in ("True ml", "Found ml", "Dice"):
        volumes.add_column(heading, justify="right")
    for row in comparison["structures"]:
        volumes.add_row(
            row["name"], f"{row['true_ml']:.1f}", f"{row['found_ml']:.1f}", f"{row['dice']:.3f}"
        )
    console.print(volumes)
    tumors = Table(title="Phantom tumors", title_justify="left")
    for heading in ("True diameter mm", "True ml", "Found %"):
        tumors.add_column(heading, justify="right")
    for row in comparison["tumors"]:
        tumors.add_row(
            f"{row['true_diameter_mm']:.1f}", f"{row['true_ml']:.2f}", f"{row['found_percent']:.0f}"
        )
    console.print(tumors)
    console.print(
        "A phantom is a drawing: this shows that the program works here, not how well it finds\n"
        "tumors in patients.",
        soft_wrap=True,
    )
