"""Where recipes lie, finding one by name or folder, and the check of its weights before use."""

from __future__ import annotations

import os
from pathlib import Path

from livertumor_cli.errors import ModelIntegrityError, ModelNotFoundError, RecipeError
from livertumor_cli.file_digest import sha256_of
from livertumor_cli.recipes.recipe import RECIPE_FILE, Recipe, load_recipe
from livertumor_cli.recipes.stage import Stage

DEFAULT_RECIPE = "uca-net-sfan"

WEIGHTS_VARIABLE = "LIVERTUMOR_WEIGHTS"
"""Environment variable: folders of recipes, searched before the installed ones."""

_PACKAGE = Path(__file__).resolve().parent.parent

_digests: dict[tuple[Path, int, int], str] = {}
"""SHA-256 by path, size and time of change, for the life of the process: nothing on disk may
vouch for a weight file."""


def search_folders() -> list[Path]:
    """Folders that hold recipe folders, in order of precedence; each exists.

    Raises:
        ModelNotFoundError: If the environment names one that holds none: what is meant to replace
            the installed recipes must not be passed over in silence.
    """
    given = os.environ.get(WEIGHTS_VARIABLE, "").split(os.pathsep)
    own = [Path(text).expanduser() for text in given if text]
    for folder in own:
        _require_recipes(folder)
    installed = [_PACKAGE / "weights"]
    # Beside an installed package a folder `weights` would be somebody else's.
    if (_PACKAGE.parent / "pyproject.toml").is_file():
        installed.append(_PACKAGE.parent / "weights")
    return [*own, *(folder for folder in installed if folder.is_dir())]


def _require_recipes(folder: Path) -> None:
    """Refuse a folder of the environment without a recipe in it."""
    if next(folder.glob(f"*/{RECIPE_FILE}"), None) is not None:
        return
    fault, hint = "holds no recipe", "Each recipe is a folder in it."
    if not folder.is_dir():
        fault, hint = "is no folder", "Correct or unset the variable."
    elif (folder / RECIPE_FILE).is_file():
        fault, hint = "is itself a recipe", f"Name the folder above it, {folder.absolute().parent}."
    raise ModelNotFoundError(f"{WEIGHTS_VARIABLE}: {folder} {fault}.", hint=hint)


def recipe_folders() -> dict[str, Path]:
    """Folder of every recipe that can be named, by name in alphabetical order; none is read."""
    found: dict[str, Path] = {}
    for folder in search_folders():
        for path in folder.glob(f"*/{RECIPE_FILE}"):
            found.setdefault(path.parent.name, path.parent)
    return dict(sorted(found.items()))


def replaced_folder(name: str) -> Path | None:
    """Folder of the next recipe of a name that another one hides; None where it hides none.

    Args:
        name: Of a recipe that can be named.
    """
    hidden = [
        folder / name for folder in search_folders() if (folder / name / RECIPE_FILE).is_file()
    ]
    return hidden[1] if len(hidden) > 1 else None


def list_recipes() -> list[Recipe]:
    """Every recipe that can be named, in alphabetical order.

    Raises:
        RecipeError: If one of them cannot be read.
    """
    return [load_named(name, folder) for name, folder in recipe_folders().items()]


def load_named(name: str, folder: Path) -> Recipe:
    """Read a recipe that was found by its folder's name.

    Raises:
        ModelNotFoundError: If its `recipe.toml` cannot be opened.
        RecipeError: If the recipe cannot be read or calls itself otherwise.
    """
    recipe = load_recipe(folder)
    if recipe.name != name:
        raise RecipeError(
            f"{folder / RECIPE_FILE} names itself '{recipe.name}', but its folder is '{name}'.",
            hint="Give the folder the recipe's name.",
        )
    return recipe


def find_recipe(name_or_path: str | Path = DEFAULT_RECIPE) -> Recipe:
    """A recipe by its name, or by the path of its folder or `recipe.toml`.

    Args:
        name_or_path: A text without a path separator is a name first.

    Raises:
        ModelNotFoundError: If there is none; the hint lists the names that are known.
        RecipeError: If it cannot be read.
    """
    named = recipe_folders()
    if isinstance(name_or_path, str) and name_or_path in named:
        return load_named(name_or_path, named[name_or_path])
    path = Path(name_or_path).expanduser()
    if path.name == RECIPE_FILE:
        path = path.parent
    if (path / RECIPE_FILE).is_file():
        return load_recipe(path)
    known = ", ".join(named) if named else "none is installed"
    raise ModelNotFoundError(
        f"there is no recipe '{name_or_path}'.",
        hint=f"Known recipes: {known}; or give the folder that holds a {RECIPE_FILE}.",
    )


def verify_stage(recipe: Recipe, stage: Stage) -> Path:
    """Check that a stage's file is the one its recipe names; call this before any engine opens it.

    Args:
        recipe: The recipe.
        stage: One of its stages.

    Returns:
        Path of the ONNX file.

    Raises:
        ModelNotFoundError: If the file is missing or cannot be read.
        ModelIntegrityError: If its SHA-256 differs.
    """
    path = recipe.stage_path(stage)
    try:
        found = _sha256(path)
    except OSError as error:
        raise ModelNotFoundError(
            f"the weights of {recipe.name}, stage {stage.name}, cannot be read: "
            f"{path}: {error.strerror}.",
            hint="Install livertumor again, or copy the recipe's folder again.",
        ) from error
    if found != stage.sha256:
        raise ModelIntegrityError(
            f"{path} is not the file that the recipe names: "
            f"SHA-256 expected {stage.sha256}, found {found}.",
            hint="Do not use it. Install livertumor again, or copy the recipe's folder again.",
        )
    return path


def verify_recipe(recipe: Recipe) -> None:
    """Check the files of all stages, as `verify_stage` does."""
    for stage in recipe.stages:
        verify_stage(recipe, stage)


def weights_bytes(recipe: Recipe) -> int:
    """Size of the ONNX files together; a missing one counts 0."""
    paths = {recipe.stage_path(stage) for stage in recipe.stages}
    return sum(path.stat().st_size for path in paths if path.is_file())


def _sha256(path: Path) -> str:
    status = path.stat()
    key = (path.resolve(), status.st_size, status.st_mtime_ns)
    if key not in _digests:
        _digests[key] = sha256_of(path)
    return _digests[key]
