"""Labelled rows of text that fit a terminal of 80 columns, for results that people read."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

import click

WIDTH = 80
LABEL_WIDTH = 16
"""Leaves 64 columns: the length of a SHA-256."""


def write_rows(rows: Iterable[tuple[str, str]]) -> None:
    """Print rows of label and text on stdout; long texts go on under themselves.

    Args:
        rows: An empty label continues the row above.
    """
    for label, text in rows:
        lines = textwrap.wrap(
            text,
            WIDTH - LABEL_WIDTH,
            # A path or a web address must stay one piece to be copied.
            break_long_words=False,
            break_on_hyphens=False,
        )
        for number, line in enumerate(lines or [""]):
            head = label if number == 0 else ""
            click.echo(f"{head:<{LABEL_WIDTH}}{line}".rstrip())


def megabytes(size_bytes: int) -> str:
    """A file size for people."""
    return f"{size_bytes / 1e6:.1f} MB"
