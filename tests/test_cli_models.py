"""`livertumor models` lists, shows and verifies; stdout holds the result alone."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from livertumor_cli.cli import console
from livertumor_cli.cli.app import run
from livertumor_cli.recipes import store

WEIGHTS = b"weights of a recipe" * 1000

RECIPE = """\
schema = 1
name = "{name}"
title = "A cascade with one stage"
version = "0.1.0"
citation = "{citation}"
training_data = "phantoms"
license = "CC-BY-SA-4.0"
liver_box_margin_mm = 0
[scores]
on = "6 validation cases"
tumor_dice = 0.625
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
percentiles = [0.5, 99.5]
normalization = "zscore"
classes = ["background", "liver", "tumor"]
activation = "softmax"
scales = [1]
fusion = "mean"
[stages.thresholds]
tumor = 0.4
"""


def write_recipe(parent: Path, name: str) -> Path:
    folder = parent / name
    folder.mkdir(parents=True)
    digest = hashlib.sha256(WEIGHTS).hexdigest()
    text = RECIPE.format(name=name, citation="A long citation. " * 12, sha256=digest)
    (folder / "recipe.toml").write_text(text, encoding="utf-8")
    (folder / "lesion.onnx").write_bytes(WEIGHTS)
    return folder


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder of recipes, with the default and another one."""
    monkeypatch.setattr(store, "_PACKAGE", tmp_path / "package")
    monkeypatch.setenv(store.WEIGHTS_VARIABLE, str(tmp_path / "weights"))
    write_recipe(tmp_path / "weights", store.DEFAULT_RECIPE)
    write_recipe(tmp_path / "weights", "another")
    return tmp_path / "weights"


@pytest.mark.parametrize("width", [40, 60, 80])
def test_narrow_terminals_cut_no_version_and_no_size(
    width: int, weights: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    console.stdout_console.cache_clear()
    assert run(["models", "list"]) == 0
    console.stdout_console.cache_clear()
    out = capsys.readouterr().out
    table = out.partition("* the default")[0].splitlines()
    assert max(map(len, table)) <= width
    for name in (f"{store.DEFAULT_RECIPE} *", "another"):
        line = next(line for line in table if line.startswith(name))
        assert "0.1.0" in line.split()
        assert line.rstrip().endswith(" 0.0 MB")
    assert "…" not in out


def test_list_marks_the_default(weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models", "list"]) == 0
    out, err = capsys.readouterr()
    assert f"{store.DEFAULT_RECIPE} *" in out
    assert "another *" not in out
    assert "CC-BY-SA-4.0" in out
    assert "0.0 MB" in out
    *lines, origin = out.splitlines()
    assert max(map(len, lines)) <= 80
    assert origin == f"From {weights}: another, {store.DEFAULT_RECIPE}"
    assert err == ""


def test_list_tells_which_recipe_replaces_another(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    installed = write_recipe(tmp_path / "package" / "weights", store.DEFAULT_RECIPE)
    own = weights / store.DEFAULT_RECIPE
    assert run(["models", "list"]) == 0
    assert f"{own} replaces {installed}" in capsys.readouterr().err
    assert run(["models", "list", "--json"]) == 0
    another, default = json.loads(capsys.readouterr().out)["recipes"]
    assert (another["replaces"], default["replaces"]) == (None, str(installed))


def test_list_as_json(weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models", "list", "--json"]) == 0
    first, second = json.loads(capsys.readouterr().out)["recipes"]
    assert (first["name"], first["is_default"]) == ("another", False)
    assert (second["name"], second["is_default"]) == (store.DEFAULT_RECIPE, True)
    assert first["weights_bytes"] == len(WEIGHTS)


def test_list_survives_a_bad_recipe(weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (weights / "another" / "recipe.toml").write_text("schema = 1", encoding="utf-8")
    assert run(["models", "list"]) == 0
    out, err = capsys.readouterr()
    assert "another" not in out
    assert store.DEFAULT_RECIPE in out
    assert "the key 'name' is missing" in err


def test_list_without_recipes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(store, "_PACKAGE", tmp_path)
    monkeypatch.delenv(store.WEIGHTS_VARIABLE, raising=False)
    assert run(["models", "list"]) == 0
    assert "no recipe is installed" in capsys.readouterr().err
    assert run(["models", "verify"]) == 4


def test_show_fits_80_columns_and_says_all(
    weights: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(weights)
    assert run(["models", "show", os.fspath(Path("another"))]) == 0
    out, err = capsys.readouterr()
    lines = [line for line in out.splitlines() if not line.startswith("Folder")]
    assert max(map(len, lines)) <= 80
    for words in (
        "A cascade with one stage",
        "on 6 validation cases",
        "tumor_dice 0.625",
        "percentiles 0.5 to 99.5, zscore",
        "the scan's own",
        "tumor from 0.4",
        hashlib.sha256(WEIGHTS).hexdigest(),
    ):
        assert words in out
    assert err == ""


def test_show_as_json(weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models", "show", "another", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["stages"][0]["percentiles"] == [0.5, 99.5]
    assert document["scores"] == {"on": "6 validation cases", "tumor_dice": 0.625}
    assert document["is_default"] is False
    assert document["folder"] == str(weights / "another")


def test_show_an_unknown_name(weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models", "show", "nothing"]) == 4
    out, err = capsys.readouterr()
    assert out == ""
    assert f"Known recipes: another, {store.DEFAULT_RECIPE}" in err


def test_verify_good_weights(weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models", "verify"]) == 0
    assert capsys.readouterr().out.count("ok ") == 2
    assert run(["models", "verify", "another"]) == 0
    assert capsys.readouterr().out == "ok  another  lesion.onnx\n"


def test_verify_finds_each_fault(weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (weights / "another" / "lesion.onnx").write_bytes(b"other weights")
    assert run(["models", "verify", store.DEFAULT_RECIPE]) == 0
    assert run(["models", "verify", "another"]) == 4
    capsys.readouterr()

    (weights / store.DEFAULT_RECIPE / "lesion.onnx").unlink()
    write_recipe(weights, "broken")
    (weights / "broken" / "recipe.toml").write_text("schema = 1", encoding="utf-8")
    assert run(["models", "verify", "--json"]) == 4
    out, err = capsys.readouterr()
    checks = json.loads(out)["files"]
    assert [check["is_good"] for check in checks] == [False, False, False]
    assert "SHA-256 expected" in err
    assert "cannot be read" in err
    assert "the key 'name' is missing" in err
    assert "3 of 3 files must not be used" in err
