"""Progress of one case on stderr: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import click

from livertumor_cli.cli.console import stderr_console

StepCallback = "Callable[[str, int, int], None]"

STEP_TEXTS = {
    "read": "Reading the scan",
    "open networks": "Opening the networks",
    "liver": "Finding the liver",
    "lesions": "Segmenting liver, tumors, vessels",
    "measure": "Measuring",
    "write": "Writing",
    "draw": "Drawing the phantom",
}
"""What a step of the pipeline is called on the terminal."""


class _Silent:
    def __call__(self, step: str, done: int, total: int) -> None:
        """Say nothing."""


class _Lines:
    """One line when a step begins, for logs."""

    def __init__(self) -> None:
        self.step = ""
        self.started = time.monotonic()

    def __call__(self, step: str, _done: int, _total: int) -> None:
        if step != self.step:
            self.step = step
            seconds = time.monotonic() - self.started
            click.echo(f"[{seconds:6.1f} s] {STEP_TEXTS.get(step, step)}", err=True)


@contextmanager
def show_progress(*, quiet: bool) -> Iterator[_Silent | _Lines]:
    """A callback (step, done, total) that shows a case's progress on stderr.

    Args:
        quiet: Show nothing.
    """
    if quiet:
        yield _Silent()
    elif not sys.stderr.isatty():
        yield _Lines()
    else:
        with _bars() as callback:
            yield callback


@contextmanager
def _bars() -> Iterator[_Lines]:
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description:<34}"),
        BarColumn(bar_width=20),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=stderr_console()) as progress:
        yield _Bars(progress)


class _Bars(_Lines):
    """One bar per step."""

    def __init__(self, progress: object) -> None:
        super().__init__()
        self.progress = progress
        self.task: object = None

    def __call__(self, step: str, done: int, total: int) -> None:
        if step != self.step:
            self._finish()
            self.step = step
            self.task = self.progress.add_task(STEP_TEXTS.get(step, step), total=None)  # type: ignore[attr-defined]
        if total:
            self.progress.update(self.task, completed=done, total=total)  # type: ignore[attr-defined]

    def _finish(self) -> None:
        if self.task is not None:
            self.progress.update(self.task, completed=1, total=1)  # type: ignore[attr-defined]
