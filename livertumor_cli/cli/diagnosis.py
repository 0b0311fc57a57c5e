"""What `livertumor doctor` examines: the machine, packages, engines, recipes, current folder."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from livertumor_cli.engine.cuda import find_gpu
from livertumor_cli.engine.engine import Device, EngineKind, Precision
from livertumor_cli.engine.hardware import cpu_name, logical_cores, memory_bytes, physical_cores
from livertumor_cli.engine.probe import Probe, probe
from livertumor_cli.errors import BackendError, LiverTumorError, ModelError
from livertumor_cli.recipes.store import (
    DEFAULT_RECIPE,
    load_named,
    recipe_folders,
    verify_recipe,
)

NEEDED = (
    "livertumor",
    "numpy",
    "scipy",
    "SimpleITK",
    "nibabel",
    "pydicom",
    "pyjpegls",
    "click",
    "rich",
)
"""Distributions without which no scan can be segmented."""

NEEDED_HERE_OR_THERE = ("onnxruntime", "onnxruntime-gpu", "openvino", "torch")
"""Distributions that depend on the machine or on an extra."""

LEAST_FREE_BYTES = 2_000_000_000
"""Masks and report of a large scan, and the copies that exist until they are renamed."""

_REPAIR_RUNTIME = (
    "pip uninstall onnxruntime onnxruntime-gpu, then pip install --force-reinstall livertumor"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineReport:
    """What one engine can do on one device."""

    engine: EngineKind
    device: Device
    works: bool
    version: str
    device_name: str
    precisions: tuple[Precision, ...]
    fault: str
    cure: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeReport:
    """Whether a recipe can be read and its weights are the right ones."""

    name: str
    folder: str
    is_default: bool
    works: bool
    fault: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderReport:
    """The folder in which results would be written."""

    path: str
    is_writable: bool
    free_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something to repair; an exit code above 0 says that no scan can be segmented before."""

    what: str
    cure: str
    exit_code: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """Everything that was examined."""

    python: str
    system: str
    processor: str
    physical_cores: int
    logical_cores: int
    memory_bytes: int | None
    packages: dict[str, str | None]
    engines: tuple[EngineReport, ...]
    recipes: tuple[RecipeReport, ...]
    folder: FolderReport
    problems: tuple[Problem, ...] = field(default=())

    @property
    def exit_code(self) -> int:
        """0 where a scan can be segmented, else the code of the first problem in the way."""
        return next((problem.exit_code for problem in self.problems if problem.exit_code), 0)

    def to_document(self) -> dict[str, object]:
        """The diagnosis as a JSON object."""
        return {**asdict(self), "exit_code": self.exit_code}


def diagnose() -> Diagnosis:
    """Examine everything; nothing is changed and nothing leaves the machine."""
    packages = _package_versions()
    engines = (
        _report_engine(EngineKind.ONNXRUNTIME, Device.CPU),
        _report_engine(EngineKind.OPENVINO, Device.CPU),
        _report_engine(EngineKind.ONNXRUNTIME, Device.CUDA),
    )
    recipes = tuple(_report_recipe(name, folder) for name, folder in recipe_folders().items())
    folder = _report_folder()
    return Diagnosis(
        python=f"{platform.python_version()} ({sys.executable})",
        system=platform.platform(),
        processor=cpu_name(),
        physical_cores=physical_cores(),
        logical_cores=logical_cores(),
        memory_bytes=memory_bytes(),
        packages=packages,
        engines=engines,
        recipes=recipes,
        folder=folder,
        problems=(
            *_package_problems(packages),
            *_engine_problems(engines),
            *_recipe_problems(recipes),
            *_folder_problems(folder),
        ),
    )


def _package_versions() -> dict[str, str | None]:
    versions: dict[str, str | None] = {}
    for package in (*NEEDED, *NEEDED_HERE_OR_THERE):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    return versions


def _report_engine(kind: EngineKind, device: Device) -> EngineReport:
    best = probe(kind, device)
    precisions = [] if best.info is None or not best.works else [best.info.precision]
    reduced = Precision.BF16 if device is Device.CPU else Precision.FP16
    if precisions:
        precisions += _obtained(probe(kind, device, precision=reduced))
    return EngineReport(
        engine=kind,
        device=device,
        works=best.works,
        version="" if best.info is None else best.info.version,
        device_name="" if best.info is None else best.info.device_name,
        precisions=tuple(dict.fromkeys(precisions)),
        fault=best.fault,
        cure=best.cure,
    )


def _obtained(result: Probe) -> list[Precision]:
    return [result.info.precision] if result.works and result.info is not None else []


def _report_recipe(name: str, folder: Path) -> RecipeReport:
    fault = ""
    try:
        verify_recipe(load_named(name, folder))
    except LiverTumorError as error:
        fault = error.message
    return RecipeReport(
        name=name,
        folder=str(folder),
        is_default=name == DEFAULT_RECIPE,
        works=not fault,
        fault=fault,
    )


def _report_folder() -> FolderReport:
    folder = Path.cwd()
    # Permission bits do not tell the truth on network drives and on Windows; a file does.
    try:
        with tempfile.TemporaryFile(dir=folder):
            is_writable = True
    except OSError:
        is_writable = False
    return FolderReport(
        path=os.fspath(folder),
        is_writable=is_writable,
        free_bytes=shutil.disk_usage(folder).free,
    )


def _package_problems(packages: dict[str, str | None]) -> list[Problem]:
    problems = [
        Problem(
            what=f"the package {package} is missing.",
            cure="install livertumor again",
            exit_code=BackendError.exit_code,
        )
        for package in NEEDED
        if packages[package] is None
    ]
    if packages["onnxruntime"] and packages["onnxruntime-gpu"]:
        what = "onnxruntime and onnxruntime-gpu are both installed and overwrite each other."
        problems.append(Problem(what=what, cure=_REPAIR_RUNTIME))
    return problems


def _engine_problems(engines: tuple[EngineReport, ...]) -> list[Problem]:
    problems = []
    if not any(engine.works for engine in engines):
        problems.append(
            Problem(
                what="no engine works, so no network can run.",
                cure=_REPAIR_RUNTIME,
                exit_code=BackendError.exit_code,
            )
        )
    gpu = find_gpu()
    for engine in engines:
        if engine.device is Device.CUDA and gpu is not None and not engine.works:
            what = f"the GPU {gpu.name} cannot be used: {engine.fault}."
            problems.append(Problem(what=what, cure=engine.cure))
    return problems


def _recipe_problems(recipes: tuple[RecipeReport, ...]) -> list[Problem]:
    problems = [
        Problem(
            what=recipe.fault,
            cure="install livertumor again, or copy the recipe's folder again",
            exit_code=ModelError.exit_code if recipe.is_default else 0,
        )
        for recipe in recipes
        if not recipe.works
    ]
    if not any(recipe.is_default for recipe in recipes):
        what = f"the default recipe '{DEFAULT_RECIPE}' is not installed."
        cure = "install livertumor again"
        problems.append(Problem(what=what, cure=cure, exit_code=ModelError.exit_code))
    return problems


def _folder_problems(folder: FolderReport) -> list[Problem]:
    problems = []
    if not folder.is_writable:
        what = f"nothing can be written in the current folder {folder.path}."
        problems.append(Problem(what=what, cure="give another folder with --output"))
    if folder.free_bytes < LEAST_FREE_BYTES:
        what = f"the disk of {folder.path} has {folder.free_bytes / 1e9:.1f} GB left."
        problems.append(Problem(what=what, cure="make room or write elsewhere"))
    return problems
