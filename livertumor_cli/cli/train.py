"""`livertumor train TASK`: train one stage of a recipe."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("task_name", metavar="TASK")
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder with cases.json and one folder of NIfTI files per case.",
)
@click.option(
    "--out",
    "-o",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder of the run; a run found there goes on.",
)
@click.option("--steps", type=click.IntRange(1), default=1000, help="Optimizer steps in all.")
@click.option("--batch", type=click.IntRange(1), default=2, help="Patches per step.")
@click.option("--learning-rate", type=click.FloatRange(0, min_open=True), default=1e-3)
@click.option("--validate-every", type=click.IntRange(1), default=250, help="Steps between.")
@click.option("--seed", type=int, default=1, help="Seed of weights and patches.")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu")
@click.option(
    "--cache",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for resampled scans (default: OUT/cache).",
)
def train(
    task_name: str,
    data: Path,
    out: Path,
    steps: int,
    batch: int,
    learning_rate: float,
    validate_every: int,
    seed: int,
    device: str,
    cache: Path | None,
) -> None:
    """Train TASK, for example uca-net/lesion, on a folder of labeled CTs.

    Example: livertumor train uca-net/lesion --data ct/ --out runs/lesion --steps 2000
    """
    from livertumor_cli.training.cache import load_cases
    from livertumor_cli.training.tasks import find_task
    from livertumor_cli.training.trainer import Progress, Trainer, TrainingOptions

    task = find_task(task_name)
    store = cache or out / "cache"
    cases = [
        case
        for split in ("train", "phantom")
        for case in load_cases(data, task=task, split=split, cache=store)
    ]
    validation = load_cases(data, task=task, split="validation", cache=store)
    options = TrainingOptions(
        steps=steps,
        batch=batch,
        learning_rate=learning_rate,
        validate_every=validate_every,
        seed=seed,
        device=device,
    )

    def report(progress: Progress) -> None:
        left_min = (progress.steps - progress.step) * progress.seconds_per_step / 60
        line = f"step {progress.step}/{progress.steps} loss {progress.loss:.4f}"
        line += f" {progress.seconds_per_step:.1f} s/step, about {left_min:.0f} min left"
        for name, value in progress.dice.items():
            line += f", {name} Dice {value:.3f}"
        click.echo(line, err=True)

    Trainer(task, options=options, out=out).train(cases, validation, report=report)
    click.echo(str(out / "model.safetensors"))
