"""The two streams of a command: results on stdout, everything for people on stderr."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import Console


@cache
def stderr_console() -> Console:
    """Console for progress, warnings and errors."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


@cache
def stdout_console() -> Console:
    """Console for tables that are the result of a command."""
    from rich.console import Console

    return Console(highlight=False)


def write_json(document: Mapping[str, object]) -> None:
    """Print one JSON document on stdout and nothing else.

    In ASCII: a pipe's encoding may lack the letters of a file's name, most of all on Windows.
    """
    click.echo(json.dumps(document, indent=2, allow_nan=False))


def warn(sentence: str) -> None:
    """Print one warning line on stderr."""
    click.echo(f"Warning: {sentence}", err=True)
