"""Found against true, for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from livertumor_cli.cli.number_table import print_numbers


def print_comparison(comparison: Mapping[str, Any]) -> None:
    """Print the demo's comparison with the phantom's truth.

    Args:
        comparison: From `demo.compare_with_truth`.
    """
    structures = [
        (row["name"], f"{row['true_ml']:.1f}", f"{row['found_ml']:.1f}", f"{row['dice']:.3f}")
        for row in comparison["structures"]
    ]
    tumors = [
        (f"{row['true_diameter_mm']:.1f}", f"{row['true_ml']:.2f}", f"{row['found_percent']:.0f}")
        for row in comparison["tumors"]
    ]
    false = [
        (str(row["id"]), f"{row['found_ml']:.2f}", f"{row['longest_axial_diameter_mm']:.1f}")
        for row in comparison["false_lesions"]
    ]
    click.echo("\nPhantom: found against true")
    print_numbers(("Structure", "True ml", "Found ml", "Dice"), structures, has_names=True)
    click.echo("Phantom: tumors")
    print_numbers(("True diameter mm", "True ml", "Found %"), tumors)
    if false:
        click.echo("Phantom: lesions found where no tumor is")
        print_numbers(("Lesion", "Found ml", "Longest mm"), false)
    else:
        click.echo("Every lesion found shares voxels with a true tumor.")
    click.echo("A phantom is a drawing: this shows that the program works here, and nothing")
    click.echo("about how well it finds tumors in patients.")
