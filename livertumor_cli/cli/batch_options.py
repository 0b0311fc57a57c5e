"""What `batch` and `watch` share: their options, and how they end."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from livertumor_cli.cli.options import (
    PATH,
    Command,
    dicom_options,
    irregular_option,
    network_options,
)

if TYPE_CHECKING:
    from livertumor_cli.batch.settings import BatchSettings

FOLDER_HINT = "Give a folder with volume files, DICOM studies or zips of them."

_SHARED = (
    click.option(
        "--output",
        "-o",
        type=PATH,
        required=True,
        help="Folder for the results, the journal and the tables.",
    ),
    click.option(
        "--overwrite",
        is_flag=True,
        help="Make results of another recipe, options or version anew.",
    ),
    click.option("--pdf", is_flag=True, help="Also write report.pdf of every case."),
    click.option(
        "--progress",
        type=click.Choice(["auto", "json"]),
        default="auto",
        show_default=True,
        help="json: one JSON object per line on stderr; auto: bars on a terminal, else lines.",
    ),
    click.option("--quiet", "-q", is_flag=True, help="No progress."),
    irregular_option,
)


def batch_options(command: Command) -> Command:
    """The options of `batch` and `watch`."""
    command = dicom_options(network_options(command))
    for option in reversed(_SHARED):
        command = option(command)
    return command


def batch_settings(*, overwrite: bool, pdf: bool, **options: Any) -> BatchSettings:
    """The command line's words as settings."""
    from livertumor_cli.batch.settings import BatchSettings
    from livertumor_cli.cli.segment import segment_options

    return BatchSettings(segment=segment_options(**options), pdf=pdf, overwrite=overwrite)


@contextmanager
def interruptible(out: Path) -> Iterator[Callable[[], bool]]:
    """Ctrl-C once: the question that is given says yes. Twice, or SIGTERM: the process ends now.

    Args:
        out: Folder of results, from which half-written ones are removed.
    """
    from livertumor_cli.batch.out_folder import remove_partial
    from livertumor_cli.cli.app import EXIT_INTERRUPTED
    from livertumor_cli.cli.stopping import first_interrupt_asks

    try:
        with first_interrupt_asks(during="case") as stop:
            yield stop
    except KeyboardInterrupt:
        remove_partial(out)
        click.echo("Interrupted; the same command goes on from there.", err=True)
        sys.stdout.flush()
        # Python would wait for the threads that read and write.
        os._exit(EXIT_INTERRUPTED)
