"""An exported stage takes its place in a recipe folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from livertumor_cli.errors import ConfigError
from livertumor_cli.export.papers import PAPERS, Paper
from livertumor_cli.io.atomic import write_text
from livertumor_cli.recipes.recipe import (
    RECIPE_FILE,
    Activation,
    Fusion,
    Normalization,
    Recipe,
    Stage,
    StageRole,
    Weighting,
    load_recipe,
    parse_recipe,
    to_toml,
)
from livertumor_cli.training.tasks import Task

LIVER_BOX_MARGIN_MM = 20.0
NOT_STATED = "not stated"
"""Texts of a recipe made by an export; whoever trained the network knows what belongs there."""


UNPROVEN = "0" * 64
"""SHA-256 of a stage whose file is not written yet."""


def stage_of(
    task: Task, *, role: StageRole, patch: tuple[int, int, int], sha256: str = UNPROVEN
) -> Stage:
    """The recipe's stage for a trained task, as the training prepared its data.

    Args:
        task: What was trained.
        role: What it becomes.
        patch: Input size of the exported file, z, y, x.
        sha256: Of that file.
    """
    return Stage(
        name=role,
        network=task.network,
        file=f"{role}.onnx",
        sha256=sha256,
        dimensions=task.dimensions,
        spacing_mm=task.spacing_mm,
        patch=patch,
        overlap=task.overlap,
        weighting=Weighting.GAUSSIAN,
        hu_window=task.hu_window,
        percentiles=None,
        normalization=Normalization.UNIT,
        classes=task.classes,
        activation=Activation.SOFTMAX,
        scales=task.scales,
        fusion=Fusion.MEAN,
        surroundings_mm=task.surroundings_mm,
    )


def require_place(folder: Path, role: StageRole) -> None:
    """Refuse a stage that cannot stand alone, before any work is done.

    Args:
        folder: The recipe's folder; may be missing.
        role: Of the stage.

    Raises:
        ConfigError: If another than the lesion stage would be the only one of a recipe.
        RecipeError: If a recipe that is there cannot be read.
    """
    if (folder / RECIPE_FILE).is_file():
        load_recipe(folder)
    elif role is not StageRole.LESION:
        raise ConfigError(
            f"{folder} holds no recipe that a {role} stage could join.",
            hint="Export the lesion stage first: it may stand alone, the others may not.",
        )


def role_of(task: Task, wish: StageRole | None = None) -> StageRole:
    """Which stage of a recipe a task's network becomes.

    Args:
        task: The last part of its name is the stage that it trains.
        wish: A network that looks for lesions may also become the second opinion.

    Raises:
        ConfigError: If the network cannot become what is wished.
    """
    own = StageRole(task.name.rpartition("/")[2])
    if wish in (None, own) or (own, wish) == (StageRole.LESION, StageRole.SECOND_OPINION):
        return wish or own
    raise ConfigError(
        f"a checkpoint of {task.name} cannot become a {wish} stage.",
        hint="Leave --stage out: the checkpoint says itself what it is.",
    )


def recipe_with(folder: Path, stage: Stage, *, task: Task) -> Recipe:
    """The folder's recipe with a stage, or a new one; checked as if it were read.

    In an existing recipe the texts and the other stages stay, and of this stage thresholds,
    precisions and scales, unless another network or other classes take its place: they were chosen
    for those outputs. Scores that were measured with the older stage go.

    Args:
        folder: The recipe's folder.
        stage: The new stage.
        task: Gives a new recipe its name.

    Raises:
        RecipeError: If the stage cannot stand there.
    """
    if (folder / RECIPE_FILE).is_file():
        recipe = _with_stage(load_recipe(folder), stage)
    else:
        name = task.name.partition("/")[0]
        paper = PAPERS.get(name, Paper(title=name, citation=NOT_STATED))
        recipe = Recipe(
            folder=folder,
            name=name,
            title=paper.title,
            version="0.1.0",
            citation=paper.citation,
            training_data=NOT_STATED,
            license=NOT_STATED,
            liver_box_margin_mm=LIVER_BOX_MARGIN_MM,
            stages=(stage,),
        )
    return parse_recipe(to_toml(recipe), folder=folder)


def put_stage(folder: Path, stage: Stage, *, task: Task) -> Recipe:
    """Write or update `recipe.toml` so that it names a stage's new file; see `recipe_with`."""
    recipe = recipe_with(folder, stage, task=task)
    write_text(folder / RECIPE_FILE, to_toml(recipe))
    return recipe


def _with_stage(recipe: Recipe, stage: Stage) -> Recipe:
    old = recipe.stage(stage.name) if recipe.has_stage(stage.name) else None
    if old is not None and (old.network, old.classes) == (stage.network, stage.classes):
        stage = replace(
            stage,
            thresholds=old.thresholds,
            cpu_precision=old.cpu_precision,
            cuda_precision=old.cuda_precision,
            scales=old.scales,
        )
    return recipe.with_stage(stage)
