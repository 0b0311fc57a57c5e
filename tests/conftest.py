"""Fixtures of all tests: small scans that the readers accept, and a recipe that segments them."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from scans import a_ct

from livertumor_cli.volume import Volume

# Times say nothing about correctness, and machines that test are busy.
settings.register_profile("livertumor", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("livertumor")


def pytest_configure() -> None:
    """Whoever starts the tests in the background of a shell hands on an ignored Ctrl-C.

    Programs that the tests start, and interrupt, would ignore it as well.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def ct() -> Volume:
    """A tiny CT along the patient's axes, one bright voxel at index (z, y, x) = (4, 2, 6)."""
    return a_ct()


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a recipe whose networks are thresholds; see toy_recipe.py."""
    from toy_recipe import write_toy_recipe

    folder = tmp_path_factory.mktemp("recipes") / "toy"
    write_toy_recipe(folder)
    return folder


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    """A NIfTI file of the patient that the toy recipe segments exactly."""
    from segment_runs import GEOMETRY
    from toy_recipe import Patient

    from livertumor_cli.io.formats import write_volume

    path = tmp_path / "scan.nii.gz"
    write_volume(path, Patient().scan(GEOMETRY))
    return path


@pytest.fixture
def segment(toy: Path) -> Callable[..., int]:
    """`livertumor segment` with the toy recipe on one thread; returns the exit code."""
    from livertumor_cli.cli.app import run

    def call(scan: Path, *more: str) -> int:
        engine = ["--engine", "onnxruntime", "--device", "cpu", "--threads", "1"]
        recipe = [] if "--recipe" in more else ["--recipe", str(toy)]
        return run(["segment", str(scan), *engine, *recipe, *more])

    return call
