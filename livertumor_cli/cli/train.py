"""`livertumor train TASK`: train one stage of a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from livertumor_cli.cli.app import EXIT_INTERRUPTED
from livertumor_cli.cli.options import PATH


@click.command()
@click.argument("task_name", metavar="TASK")
@click.option(
    "--data",
    type=PATH,
    required=True,
    help="Folder with cases.json and one folder of NIfTI files per case.",
)
@click.option(
    "--out",
    "-o",
    type=PATH,
    required=True,
    help="Folder of the run; a run found there goes on.",
)
@click.option(
    "--cache",
    type=PATH,
    help="Folder for resampled scans (default: OUT/cache).",
)
@click.option(
    "--steps",
    type=click.IntRange(1),
    default=1000,
    show_default=True,
    help="Optimizer steps in all.",
)
@click.option(
    "--batch", type=click.IntRange(1), help="Patches per step (default: what suits the task)."
)
@click.option(
    "--learning-rate",
    type=click.FloatRange(0, min_open=True),
    default=1e-3,
    show_default=True,
    help="Highest rate of the optimizer.",
)
@click.option(
    "--validate-every",
    type=click.IntRange(1),
    default=250,
    show_default=True,
    help="Steps between two validations.",
)
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=1,
    show_default=True,
    help="Of first weights and patches.",
)
@click.option(
    "--device",
    type=click.Choice(["cpu", "cuda"]),
    default="cpu",
    show_default=True,
    help="Where to train.",
)
def train(
    *,
    task_name: str,
    data: Path,
    out: Path,
    cache: Path | None,
    batch: int | None,
    **options: Any,
) -> None:
    """Train TASK, for example uca-net/lesion, on a folder of labeled CTs.

    TASK is uca-net/liver, the first stage of every recipe, or the second stage of one:
    uca-net/lesion, sfan/lesion, msff-unet/lesion, dpc-net/lesion, darn/lesion; or
    uca-net/segments, a stage for the Couinaud segments that any recipe may have.

    The run saves its state as it goes, and at Ctrl-C; the same command then goes on from there.

    Example: livertumor train uca-net/lesion --data ct/ --out runs/lesion --steps 2000
    """
    from livertumor_cli.cli.extras import require_extra

    require_extra("train")
    from livertumor_cli.cli.progress import show_progress
    from livertumor_cli.cli.stopping import first_interrupt_asks
    from livertumor_cli.cli.training_progress import show_training
    from livertumor_cli.training.cache import load_cases, require_data
    from livertumor_cli.training.tasks import find_task
    from livertumor_cli.training.trainer import Trainer, TrainingOptions

    task = find_task(task_name)
    training = TrainingOptions(batch=batch or task.batch, **options)
    require_data(data)
    trainer = Trainer(task, options=training, out=out)
    prepared = cache or out / "cache"
    with show_progress(quiet=False) as progress:
        cases, phantoms, validation = (
            load_cases(data, task=task, split=split, cache=prepared, progress=progress)
            for split in ("train", "phantom", "validation")
        )
    with (
        show_training(start=trainer.step, steps=options["steps"]) as report,
        first_interrupt_asks() as stop,
    ):
        is_finished = trainer.train([*cases, *phantoms], validation, report=report, stop=stop)
    if not is_finished:
        click.echo(
            f"Stopped at step {trainer.step}; the same command goes on from there.", err=True
        )
        click.get_current_context().exit(EXIT_INTERRUPTED)
    click.echo(str(out / "model.safetensors"))
