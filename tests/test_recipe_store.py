"""Recipes are found by name, folder and environment, and weights are checked before use."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from livertumor_cli.errors import ModelIntegrityError, ModelNotFoundError, RecipeError
from livertumor_cli.recipes import store
from livertumor_cli.recipes.store import (
    find_recipe,
    list_recipes,
    recipe_folders,
    replaced_folder,
    search_folders,
    verify_recipe,
    verify_stage,
    weights_bytes,
)

WEIGHTS = b"not a model, and no engine will ever see it"

RECIPE = """\
schema = 1
name = "{name}"
title = "{title}"
version = "0.1.0"
citation = "none"
training_data = "none"
license = "CC0-1.0"
liver_box_margin_mm = 0
[[stages]]
name = "lesion"
network = "none"
file = "lesion.onnx"
sha256 = "{sha256}"
dimensions = 3
spacing_mm = "native"
patch = [8, 8, 8]
overlap = [0, 0, 0]
weighting = "uniform"
hu_window = [-100, 200]
normalization = "unit"
classes = ["background", "liver", "tumor"]
activation = "softmax"
scales = [1]
fusion = "mean"
"""


def write_recipe(parent: Path, name: str, *, title: str = "none") -> Path:
    folder = parent / name
    folder.mkdir(parents=True)
    digest = hashlib.sha256(WEIGHTS).hexdigest()
    text = RECIPE.format(name=name, title=title, sha256=digest)
    (folder / "recipe.toml").write_text(text, encoding="utf-8")
    (folder / "lesion.onnx").write_bytes(WEIGHTS)
    return folder


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A wheel's folder of weights instead of the checkout's."""
    package = tmp_path / "site" / "livertumor_cli"
    (package / "weights").mkdir(parents=True)
    monkeypatch.setattr(store, "_PACKAGE", package)
    monkeypatch.delenv(store.WEIGHTS_VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)
    return package / "weights"


def test_the_checkout_has_its_weights_beside_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(store.WEIGHTS_VARIABLE, raising=False)
    root = Path(store.__file__).parents[2]
    assert search_folders() == [root / "weights"]


def test_a_wheel_ignores_a_folder_weights_beside_it(installed: Path) -> None:
    (installed.parent.parent / "weights").mkdir()
    assert search_folders() == [installed]


def test_names_in_order_and_first_folder_wins(
    installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_recipe(installed, "beta", title="installed")
    write_recipe(installed, "alpha", title="installed")
    own = tmp_path / "own"
    write_recipe(own, "beta", title="own")
    monkeypatch.setenv(store.WEIGHTS_VARIABLE, os.pathsep.join([str(own), ""]))
    assert search_folders() == [own, installed]
    assert replaced_folder("beta") == installed / "beta"
    assert replaced_folder("alpha") is None
    assert list(recipe_folders()) == ["alpha", "beta"]
    assert [recipe.title for recipe in list_recipes()] == ["installed", "own"]
    assert find_recipe("beta").folder == own / "beta"


@pytest.mark.parametrize(
    ("name", "words"),
    [("absent", "is no folder"), ("own/beta", "is itself a recipe"), ("empty", "holds no recipe")],
)
def test_a_folder_of_the_environment_without_recipes_is_refused(
    installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, words: str
) -> None:
    write_recipe(installed, "alpha")
    write_recipe(tmp_path / "own", "beta")
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv(store.WEIGHTS_VARIABLE, str(tmp_path / name))
    with pytest.raises(ModelNotFoundError, match=f"LIVERTUMOR_WEIGHTS: .*{words}"):
        find_recipe("alpha")


@pytest.mark.parametrize("tail", ["", "recipe.toml"])
def test_a_recipe_by_its_path(installed: Path, tmp_path: Path, tail: str) -> None:
    folder = write_recipe(tmp_path / "elsewhere", "gamma")
    assert find_recipe(folder / tail).name == "gamma"
    assert find_recipe(str(folder / tail)).name == "gamma"
    assert find_recipe(Path("elsewhere") / "gamma" / tail).name == "gamma"


def test_an_unknown_name_lists_the_known_ones(installed: Path) -> None:
    with pytest.raises(ModelNotFoundError) as caught:
        find_recipe("delta")
    assert "none is installed" in caught.value.hint
    write_recipe(installed, "alpha")
    with pytest.raises(ModelNotFoundError, match="no recipe 'delta'") as caught:
        find_recipe("delta")
    assert "Known recipes: alpha" in caught.value.hint


def test_a_recipe_must_have_the_name_of_its_folder(installed: Path) -> None:
    write_recipe(installed, "alpha").rename(installed / "omega")
    with pytest.raises(RecipeError, match="names itself 'alpha', but its folder is 'omega'"):
        find_recipe("omega")


def test_weights_are_verified_and_measured(installed: Path) -> None:
    recipe = find_recipe(write_recipe(installed, "alpha"))
    assert verify_stage(recipe, recipe.stage("lesion")) == recipe.folder / "lesion.onnx"
    assert weights_bytes(recipe) == len(WEIGHTS)


def test_changed_weights_are_refused_even_after_they_were_good(installed: Path) -> None:
    recipe = find_recipe(write_recipe(installed, "alpha"))
    verify_recipe(recipe)
    path = recipe.folder / "lesion.onnx"
    changed = WEIGHTS.upper()
    path.write_bytes(changed)
    # The same size, and a time that differs as little as a clock can tell.
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1_000_000))
    with pytest.raises(ModelIntegrityError) as caught:
        verify_recipe(recipe)
    assert caught.value.exit_code == 4
    assert str(path) in caught.value.message
    assert hashlib.sha256(WEIGHTS).hexdigest() in caught.value.message
    assert hashlib.sha256(changed).hexdigest() in caught.value.message
    assert "again" in caught.value.hint


def test_an_unchanged_file_is_read_once(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = find_recipe(write_recipe(installed, "alpha"))
    verify_recipe(recipe)
    monkeypatch.setattr(hashlib, "file_digest", None)
    verify_recipe(recipe)


def test_missing_weights(installed: Path) -> None:
    recipe = find_recipe(write_recipe(installed, "alpha"))
    (recipe.folder / "lesion.onnx").unlink()
    assert weights_bytes(recipe) == 0
    with pytest.raises(ModelNotFoundError, match="stage lesion, cannot be read"):
        verify_recipe(recipe)


def test_every_recipe_of_this_checkout_can_be_read() -> None:
    for recipe in list_recipes():
        verify_recipe(recipe)
