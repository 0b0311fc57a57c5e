"""`livertumor watch FOLDER`: cases are segmented as they come in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from livertumor_cli.cli.batch_options import (
    FOLDER_HINT,
    batch_options,
    batch_settings,
    interruptible,
)
from livertumor_cli.cli.options import PATH


@click.command()
@click.argument("folder", type=PATH)
@click.option(
    "--every",
    type=click.FloatRange(0.1, 86400),
    default=10,
    show_default=True,
    metavar="SECONDS",
    help="Time between two searches of the folder.",
)
@click.option(
    "--settle",
    type=click.FloatRange(0, 86400),
    default=60,
    show_default=True,
    metavar="SECONDS",
    help="How long the files of a case must not have changed before it is taken.",
)
@batch_options
def watch(
    folder: Path,
    output: Path,
    every: float,
    settle: float,
    quiet: bool,
    progress: str,
    **options: Any,
) -> None:
    """Segment the scans that are in FOLDER and those that come into it, until Ctrl-C.

    A case is taken once its files have not changed for a while. Results, journal and tables are
    those of 'batch', which can go on with the same folder of results.

    Example: livertumor watch incoming/ -o results/
    """
    from livertumor_cli.batch.batch import open_batch
    from livertumor_cli.batch.watch import watch_folder
    from livertumor_cli.cli.batch_progress import show_batch, told_to_programs
    from livertumor_cli.io.place import require_folder

    is_json = progress == "json"
    with told_to_programs(is_json):
        require_folder(folder, hint=FOLDER_HINT)
        settings = batch_settings(**options)
    with (
        told_to_programs(is_json),
        interruptible(output) as stop,
        open_batch(output, settings) as opened,
        show_batch(total=None, quiet=quiet, as_json=is_json) as observe,
    ):
        watch_folder(
            opened, folder, every_s=every, settle_s=settle, observe=observe, should_stop=stop
        )
        opened.sum_up()
    click.echo(str(output))
