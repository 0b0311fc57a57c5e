"""Progress of one case on stderr: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from livertumor_cli.cli.console import stderr_console

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

StepCallback = Callable[[str, int, int], None]
"""Told (step, done, total); a total of 0 means that the end is not known."""

STEP_TEXTS = {
    "draw": "Drawing the phantom",
    "prepare train": "Preparing the training cases",
    "prepare phantom": "Drawing phantoms to train on",
    "prepare validation": "Preparing the validation cases",
    "read": "Reading the scan",
    "open networks": "Opening the networks",
    "liver": "Finding the liver",
    "lesions": "Segmenting liver, tumors, vessels",
    "segments": "Telling the liver's segments",
    "measure": "Measuring",
    "compare": "Comparing with the references",
    "write": "Writing",
}
"""What a step of the pipeline is called on the terminal."""


@contextmanager
def show_progress(*, quiet: bool) -> Iterator[StepCallback]:
    """A callback that shows a case's progress on stderr.

    Args:
        quiet: Show nothing.
    """
    if quiet:
        yield _say_nothing
    elif sys.stderr.isatty():
        with _bars() as callback:
            yield callback
    else:
        yield _Lines()


def _say_nothing(_step: str, _done: int, _total: int) -> None:
    pass


class _Lines:
    """One line when a step begins, for logs."""

    def __init__(self) -> None:
        self._step = ""
        self._started = time.monotonic()

    def __call__(self, step: str, _done: int, _total: int) -> None:
        if step != self._step:
            self._step = step
            seconds = time.monotonic() - self._started
            click.echo(f"[{seconds:6.1f} s] {STEP_TEXTS.get(step, step)}", err=True)


@contextmanager
def _bars() -> Iterator[StepCallback]:
    with progress_bars("{task.percentage:>3.0f}%") as progress:
        bars = _Bars(progress)
        yield bars
        bars.finish()


def progress_bars(amount: str) -> Progress:
    """Bars on stderr that fit 80 columns: what is done, the bar, how much, time gone and left.

    Args:
        amount: How much is done, as a format of rich's `task`.
    """
    from rich.progress import (
        BarColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description:<33}", markup=False),
        BarColumn(bar_width=18),
        TextColumn(amount),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=stderr_console(),
    )


class _Bars:
    """One bar per step; it pulses as long as the step has told no total."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._step = ""
        self._task: TaskID | None = None

    def __call__(self, step: str, done: int, total: int) -> None:
        if step != self._step or self._task is None:
            self.finish()
            self._step = step
            self._task = self._progress.add_task(STEP_TEXTS.get(step, step), total=None)
        if total:
            self._progress.update(self._task, completed=done, total=total)

    def finish(self) -> None:
        """Fill the bar of the step that has ended."""
        if self._task is not None:
            self._progress.update(self._task, completed=1, total=1)
            self._progress.stop_task(self._task)
