"""Progress of many cases on stderr: bars on a terminal, lines in a log, JSON for programs."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from livertumor_cli.batch.events import CaseEnd, CaseStep, Observer, Outcome
from livertumor_cli.cli.progress import STEP_TEXTS, progress_bars
from livertumor_cli.errors import LiverTumorError

if TYPE_CHECKING:
    from rich.progress import Progress

DEVICE_STEPS = ("liver", "lesions", "segments")
"""Of the cases that have a device; others are read and written meanwhile."""


@contextmanager
def show_batch(*, total: int | None, quiet: bool, as_json: bool) -> Iterator[Observer]:
    """A callback that shows the progress of a batch; it may be called from several threads.

    Args:
        total: Number of cases; None if that is not known.
        quiet: Show nothing.
        as_json: One JSON object per line.
    """
    tally = Tally(total)
    if quiet:
        yield lambda _event: None
    elif as_json:
        yield _locked(_JsonLines(tally))
    elif sys.stderr.isatty():
        with _bars(tally) as observer:
            yield _locked(observer)
    else:
        yield _locked(_Lines(tally))


@contextmanager
def told_to_programs(as_json: bool) -> Iterator[None]:
    """An error of the program as a JSON line and an exit code, so that every line can be parsed.

    Args:
        as_json: Whether programs read; else the error goes on its way.
    """
    try:
        yield
    except LiverTumorError as error:
        if not as_json:
            raise
        fields = {"message": error.message, "hint": error.hint, "exit_code": error.exit_code}
        click.echo(json.dumps({"event": "error", **fields}), err=True)
        click.get_current_context().exit(error.exit_code)


def tell_stopped(text: str, *, as_json: bool) -> None:
    """Say that the user's Ctrl-C ended the work."""
    click.echo(json.dumps({"event": "stopped", "message": text}) if as_json else text, err=True)


def _locked(observer: Observer) -> Observer:
    lock = threading.Lock()

    def observe(event: CaseStep | CaseEnd) -> None:
        with lock:
            observer(event)

    return observe


class Tally:
    """Counts cases and tells the time left.

    Args:
        total: Number of cases; None if that is not known.
        clock: Seconds; never goes back.
    """

    def __init__(self, total: int | None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.total = total
        self.ended = 0
        self.failed = 0
        self._worked = 0
        self._clock = clock
        self._since_s = clock()

    def add(self, end: CaseEnd) -> None:
        """Count a case that ended; one that is postponed has not."""
        if end.outcome is Outcome.POSTPONED:
            return
        self.ended += 1
        self.failed += end.outcome is Outcome.FAILED
        self._worked += end.outcome is Outcome.DONE

    @property
    def elapsed_s(self) -> float:
        """Since the batch began."""
        return self._clock() - self._since_s

    @property
    def left_s(self) -> float | None:
        """As long as the cases left take if they take as long as those done; None if unknown."""
        if self.total is None or not self._worked:
            return None
        return self.elapsed_s / self._worked * (self.total - self.ended)

    @property
    def count(self) -> str:
        """Such as 3/20."""
        return f"{self.ended}" if self.total is None else f"{self.ended}/{self.total}"


def how_it_ended(end: CaseEnd) -> str:
    """A sentence part for people."""
    if end.failure is not None and end.outcome is Outcome.FAILED:
        return f"failed ({end.failure.reason}): {end.failure.message}"
    if end.outcome is Outcome.POSTPONED:
        return "ran out of memory or device; will be tried alone at the end"
    if end.outcome is Outcome.KNOWN:
        return f"is {end.name}, which is known already"
    lesions = "1 lesion" if end.lesions == 1 else f"{end.lesions} lesions"
    return f"done as {end.name}, {lesions}, {end.seconds:.1f} s"


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


class _Lines:
    """A line when a case gets the device, and one when it ends."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._on_device: set[str] = set()

    def __call__(self, event: CaseStep | CaseEnd) -> None:
        if isinstance(event, CaseStep):
            if event.step in DEVICE_STEPS and event.source not in self._on_device:
                self._on_device.add(event.source)
                self._say(f"{event.source} is segmented")
            return
        self._on_device.discard(event.source)
        self._tally.add(event)
        left_s = self._tally.left_s
        left = f"; about {_duration(left_s)} left" if left_s else ""
        self._say(f"{self._tally.count} {event.source} {how_it_ended(event)}{left}")

    def _say(self, text: str) -> None:
        click.echo(f"[{self._tally.elapsed_s:8.1f} s] {printable(text)}", err=True)


class _JsonLines:
    """One object per event, in ASCII."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally

    def __call__(self, event: CaseStep | CaseEnd) -> None:
        if isinstance(event, CaseStep):
            click.echo(json.dumps({"event": "step", **asdict(event)}), err=True)
            return
        tally = self._tally
        tally.add(event)
        left_s = None if tally.left_s is None else round(tally.left_s, 1)
        counts = {"ended": tally.ended, "failed": tally.failed, "total": tally.total}
        record = asdict(event) | {"seconds": round(event.seconds, 3)}
        record = {"event": "end", **record, **counts, "left_s": left_s}
        click.echo(json.dumps(record), err=True)


@contextmanager
def _bars(tally: Tally) -> Iterator[Observer]:
    with progress_bars("{task.completed:.0f}/{task.total:.0f}") as progress:
        yield _Bars(progress, tally)


class _Bars:
    """A bar for all cases, and one for the step of the case that has the device.

    Of cases on workers the steps are known but not how far they are: they have the bar of all.
    """

    def __init__(self, progress: Progress, tally: Tally) -> None:
        self._progress = progress
        self._tally = tally
        self._all = progress.add_task("Cases", total=tally.total or 0)
        self._device = progress.add_task("Opening the networks", total=0)
        self._shown = ("", "")

    def __call__(self, event: CaseStep | CaseEnd) -> None:
        if isinstance(event, CaseEnd):
            self._tally.add(event)
            total = self._tally.total or self._tally.ended
            failed = f", {self._tally.failed} failed" if self._tally.failed else ""
            self._progress.update(
                self._all,
                completed=self._tally.ended,
                total=total,
                description=f"Cases{failed}",
            )
            if event.outcome is Outcome.FAILED:
                self._progress.console.print(
                    f"{printable(event.source)} {how_it_ended(event)}", markup=False
                )
            return
        if event.step not in DEVICE_STEPS:
            return
        if not event.total:
            self._progress.update(self._device, visible=False)
            return
        if (event.source, event.step) != self._shown:
            self._shown = (event.source, event.step)
            self._progress.reset(self._device, description=STEP_TEXTS[event.step])
        self._progress.update(self._device, completed=event.done, total=event.total)


def printable(text: str) -> str:
    """A text on one line: names of files may hold anything."""
    return "".join(sign if sign.isprintable() else "?" for sign in text)
