"""The wheel holds the program with its weights, and works where nothing else of it is."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
RECIPES = sorted(path.parent for path in (ROOT / "weights").glob("*/recipe.toml"))

needs_weights = pytest.mark.skipif(not RECIPES, reason="this copy of the sources has no weights")


def run_python(*arguments: str, cwd: Path, path: Path | None = None) -> str:
    """Stdout of a Python in another folder that sees only `path` besides its own packages."""
    environment = {key: text for key, text in os.environ.items() if not key.startswith("PYTHON")}
    environment.pop("LIVERTUMOR_WEIGHTS", None)
    if path is not None:
        environment["PYTHONPATH"] = str(path)
    done = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env=environment,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that nothing appears in the sources."""
    folder = tmp_path_factory.mktemp("sources")
    for name in ("livertumor_cli", "weights"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    out = tmp_path_factory.mktemp("dist")
    run_python(
        *("-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(folder)), cwd=out
    )
    [path] = out.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("installed")
    command = ("-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-compile")
    run_python(*command, "--target", str(folder), str(wheel), cwd=folder)
    return folder


def contents(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_the_wheel_holds_every_file_of_the_package(wheel: Path) -> None:
    package = ROOT / "livertumor_cli"
    sources = {
        f"livertumor_cli/{path.relative_to(package).as_posix()}"
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    weights = {
        f"livertumor_cli/weights/{path.relative_to(ROOT / 'weights').as_posix()}"
        for path in (ROOT / "weights").rglob("*")
        if path.is_file()
    }
    found = {name for name in contents(wheel) if ".dist-info/" not in name}
    assert found == sources | weights


def test_the_wheel_holds_licenses_and_the_command(wheel: Path) -> None:
    names = contents(wheel)
    for license_file in ("licenses/LICENSE", "licenses/weights/LICENSE"):
        assert any(name.endswith(f".dist-info/{license_file}") for name in names)
    with zipfile.ZipFile(wheel) as archive:
        [entry_points] = [name for name in names if name.endswith("entry_points.txt")]
        assert b"livertumor = livertumor_cli.cli.app:main" in archive.read(entry_points)


def test_exactly_one_onnxruntime_is_installed_anywhere() -> None:
    """The two packages share one folder: both together break each other."""
    from packaging.requirements import Requirement

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    requirements = [Requirement(text) for text in project["dependencies"]]
    runtimes = [one for one in requirements if one.name.startswith("onnxruntime")]
    assert len(runtimes) == 2
    for system, machine in (
        ("linux", "x86_64"),
        ("linux", "aarch64"),
        ("win32", "AMD64"),
        ("win32", "ARM64"),
        ("darwin", "arm64"),
        ("darwin", "x86_64"),
    ):
        here = {"sys_platform": system, "platform_machine": machine}
        chosen = [one.name for one in runtimes if one.marker and one.marker.evaluate(here)]
        assert len(chosen) == 1, here


def test_the_installed_program_knows_its_version(installed: Path, tmp_path: Path) -> None:
    out = run_python("-m", "livertumor_cli", "--version", cwd=tmp_path, path=installed)
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert out == f"livertumor {version['project']['version']}\n"
    where = run_python(
        "-c", "import livertumor_cli; print(livertumor_cli.__file__)", cwd=tmp_path, path=installed
    )
    assert Path(where.strip()).is_relative_to(installed)


def test_the_installed_program_finds_its_recipes(installed: Path, tmp_path: Path) -> None:
    out = run_python(
        "-m", "livertumor_cli", "models", "list", "--json", cwd=tmp_path, path=installed
    )
    assert [recipe["name"] for recipe in json.loads(out)["recipes"]] == [
        folder.name for folder in RECIPES
    ]


@needs_weights
def test_the_installed_weights_are_whole(installed: Path, tmp_path: Path) -> None:
    out = run_python(
        "-m", "livertumor_cli", "models", "verify", "--json", cwd=tmp_path, path=installed
    )
    checks = json.loads(out)["files"]
    assert len(checks) >= len(RECIPES)
    assert all(check["is_good"] for check in checks)
    for folder in RECIPES:
        assert (installed / "livertumor_cli" / "weights" / folder.name / "MODEL_CARD.md").is_file()
