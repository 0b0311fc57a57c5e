"""`livertumor models`: the recipes and weights that are installed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from livertumor_cli.cli.console import stdout_console, warn, write_json
from livertumor_cli.cli.rows import megabytes, write_rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from livertumor_cli.recipes.recipe import Recipe, Scores
    from livertumor_cli.recipes.stage import Stage

as_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")


@click.group()
def models() -> None:
    """List, show and verify the installed recipes and weights.

    A recipe is a paper's cascade of networks: how the scan is prepared, which ONNX files run on it
    and how their output is read. LIVERTUMOR_WEIGHTS names further folders of recipes.
    """


@models.command("list")
@as_json_option
def list_command(as_json: bool) -> None:
    """List the recipes that can be named.

    Example: livertumor models list
    """
    from livertumor_cli.errors import LiverTumorError
    from livertumor_cli.recipes.store import load_named, recipe_folders

    recipes = []
    for name, folder in recipe_folders().items():
        try:
            recipes.append(load_named(name, folder))
        except LiverTumorError as error:  # one bad recipe must not hide the others
            warn(error.message)
    documents = [_summary(recipe) for recipe in recipes]
    if as_json:
        write_json({"recipes": documents})
    elif documents:
        _print_table(documents)
    else:
        warn("no recipe is installed.")


@models.command("show")
@click.argument("name")
@as_json_option
def show_command(name: str, as_json: bool) -> None:
    """Show everything a recipe says; NAME may also be the path of its folder.

    Example: livertumor models show uca-net
    """
    from livertumor_cli.recipes.store import find_recipe

    recipe = find_recipe(name)
    if as_json:
        write_json(_document(recipe))
    else:
        write_rows(_recipe_rows(recipe))


@models.command("verify")
@click.argument("name", required=False)
@as_json_option
def verify_command(name: str | None, as_json: bool) -> None:
    """Compare the SHA-256 of every weight file with its recipe; of all recipes without NAME.

    Leaves with exit code 4 when a file is missing or differs.

    Example: livertumor models verify uca-net
    """
    from livertumor_cli.errors import ModelIntegrityError, ModelNotFoundError

    checks = list(_verify(name))
    if as_json:
        write_json({"files": checks})
    else:
        for check in checks:
            word = "ok" if check["is_good"] else "BAD"
            click.echo(f"{word:<4}{check['recipe']}  {check['file']}")
    if not checks:
        raise ModelNotFoundError("no recipe is installed.", hint="Install livertumor again.")
    bad = [check for check in checks if not check["is_good"]]
    for check in bad:
        warn(str(check["fault"]))
    if bad:
        raise ModelIntegrityError(
            f"{len(bad)} of {len(checks)} files must not be used.",
            hint="Install livertumor again, or copy the recipe's folder again.",
        )


def _verify(name: str | None) -> Iterator[dict[str, object]]:
    from livertumor_cli.errors import LiverTumorError
    from livertumor_cli.recipes.recipe import RECIPE_FILE
    from livertumor_cli.recipes.store import find_recipe, load_named, recipe_folders, verify_stage

    def check(recipe: str, file: str, fault: str) -> dict[str, object]:
        return {"recipe": recipe, "file": file, "is_good": not fault, "fault": fault}

    if name is not None:
        recipes = [find_recipe(name)]
    else:
        recipes = []
        for known, folder in recipe_folders().items():
            try:
                recipes.append(load_named(known, folder))
            except LiverTumorError as error:
                yield check(known, RECIPE_FILE, error.message)
    for recipe in recipes:
        for stage in recipe.stages:
            try:
                verify_stage(recipe, stage)
            except LiverTumorError as error:
                yield check(recipe.name, stage.file, error.message)
            else:
                yield check(recipe.name, stage.file, "")


def _summary(recipe: Recipe) -> dict[str, object]:
    from livertumor_cli.recipes.store import DEFAULT_RECIPE, replaced_folder, weights_bytes

    replaced = replaced_folder(recipe.name)
    return {
        "name": recipe.name,
        "title": recipe.title,
        "version": recipe.version,
        "license": recipe.license,
        "weights_bytes": weights_bytes(recipe),
        "is_default": recipe.name == DEFAULT_RECIPE,
        "folder": str(recipe.folder),
        "replaces": None if replaced is None else str(replaced),
    }


def _document(recipe: Recipe) -> dict[str, object]:
    import tomllib

    from livertumor_cli.recipes.recipe import to_toml

    return {**tomllib.loads(to_toml(recipe)), **_summary(recipe)}


def _print_table(documents: list[dict[str, object]]) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("Name", "Title", "Version", "License"):
        # A version that goes on in the next line would be read as another one.
        table.add_column(heading, overflow="fold", no_wrap=heading in ("Name", "Version"))
    table.add_column("Size", justify="right", no_wrap=True)
    for document in documents:
        mark = " *" if document["is_default"] else ""
        table.add_row(
            f"{document['name']}{mark}",
            str(document["title"]),
            str(document["version"]),
            str(document["license"]),
            megabytes(int(str(document["weights_bytes"]))),
        )
    stdout_console().print(table)
    if any(document["is_default"] for document in documents):
        click.echo("* the default")
    # Not in the table: a path must stay one piece to be copied.
    folders = dict.fromkeys(str(Path(str(document["folder"])).parent) for document in documents)
    for folder in folders:
        names = [
            str(document["name"])
            for document in documents
            if str(Path(str(document["folder"])).parent) == folder
        ]
        click.echo(f"From {folder}: {', '.join(names)}")
    for document in documents:
        if document["replaces"] is not None:
            warn(f"{document['name']} of {document['folder']} replaces {document['replaces']}.")


def _recipe_rows(recipe: Recipe) -> Iterator[tuple[str, str]]:
    from livertumor_cli.recipes.store import weights_bytes

    yield "Recipe", f"{recipe.name} {recipe.version}"
    yield "Title", recipe.title
    yield "Citation", recipe.citation
    yield "Training data", recipe.training_data
    yield "License", f"{recipe.license} (of the weights)"
    yield "Folder", str(recipe.folder)
    yield "Weights", megabytes(weights_bytes(recipe))
    yield "Liver box", f"widened by {recipe.liver_box_margin_mm:g} mm on every side"
    yield from _score_rows("Measured", recipe.scores)
    yield from _score_rows("Authors report", recipe.authors)
    for stage in recipe.stages:
        yield "", ""
        yield from _stage_rows(stage)


def _score_rows(label: str, scores: Scores) -> Iterator[tuple[str, str]]:
    if scores.on:
        yield label, f"on {scores.on}"
    for name, value in scores.values.items():
        yield "", f"{name} {value:g}"


def _stage_rows(stage: Stage) -> Iterator[tuple[str, str]]:
    if stage.spacing_mm is None:
        grid = "the scan's own"
    else:
        grid = " x ".join(f"{size:g}" for size in stage.spacing_mm) + " mm (z, y, x)"
    yield "Stage", f"{stage.name}: {stage.network}, {stage.dimensions}D"
    yield "File", stage.file
    yield "SHA-256", stage.sha256
    if stage.half_weights_changed_share is not None:
        share = stage.half_weights_changed_share
        yield "Weights", f"float16, which changes the class of {share:.1e} of the voxels"
    yield "Grid", grid
    yield (
        "Windows",
        f"{' x '.join(map(str, stage.patch))} voxels, overlap "
        f"{', '.join(f'{share:g}' for share in stage.overlap)}, {stage.weighting} weights",
    )
    yield "Intensities", _intensity_words(stage)
    yield "Classes", f"{', '.join(stage.classes)} ({stage.activation})"
    if stage.surroundings_mm is not None:
        yield "Surroundings", f"blank beyond {stage.surroundings_mm:g} mm from the liver"
    if stage.thresholds:
        words = (f"{name} from {value:g}" for name, value in stage.thresholds.items())
        yield "Thresholds", ", ".join(words)
    yield "Scales", f"{', '.join(f'{scale:g}' for scale in stage.scales)} ({stage.fusion})"
    yield "Precision", f"{stage.cpu_precision} on a CPU, {stage.cuda_precision} on CUDA"


def _intensity_words(stage: Stage) -> str:
    if stage.hu_window is not None:
        low, high = stage.hu_window
        return f"{low:g} to {high:g} HU, {stage.normalization}"
    low, high = stage.percentiles or (0, 100)
    return f"percentiles {low:g} to {high:g}, {stage.normalization}"
