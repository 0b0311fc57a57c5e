"""Progress of a training on stderr: a bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from livertumor_cli.cli.progress import progress_bars

if TYPE_CHECKING:
    from livertumor_cli.training.trainer import Progress

STEPS_PER_LINE = 10


@contextmanager
def show_training(*, start: int, steps: int) -> Iterator[Callable[[Progress], None]]:
    """A callback for the trainer.

    Args:
        start: Steps taken before.
        steps: Steps in all.
    """
    if not sys.stderr.isatty():
        yield _Lines(start)
    else:
        with _bar(start=start, steps=steps) as report:
            yield report


class _Lines:
    """A line every few steps, after each validation and at the end."""

    def __init__(self, start: int) -> None:
        self.start = start
        self.began = time.monotonic()

    def __call__(self, progress: Progress) -> None:
        step, steps = progress.step, progress.steps
        if step % STEPS_PER_LINE and step != steps and not progress.dice:
            return
        # By the clock, as the time between steps (patches, validation, saving) counts too.
        seconds = (time.monotonic() - self.began) / (step - self.start)
        line = f"step {step}/{steps} loss {progress.loss:.4f} {seconds:.1f} s/step"
        line += f", about {(steps - step) * seconds / 60:.0f} min left"
        click.echo(line + _dice_text(progress.dice), err=True)


@contextmanager
def _bar(*, start: int, steps: int) -> Iterator[Callable[[Progress], None]]:
    with progress_bars("{task.completed:.0f}/{task.total:.0f}") as bar:
        task = bar.add_task("Training", total=steps, completed=start)

        def report(progress: Progress) -> None:
            bar.update(task, completed=progress.step, description=f"loss {progress.loss:.4f}")
            if progress.dice:
                bar.console.print(f"step {progress.step}{_dice_text(progress.dice)}")

        yield report


def _dice_text(dice: Mapping[str, float]) -> str:
    return "".join(f", {name} Dice {value:.3f}" for name, value in dice.items())
