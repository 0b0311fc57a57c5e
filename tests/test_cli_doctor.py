"""`livertumor doctor` tells whether this machine can do the job, and what to repair."""

from __future__ import annotations

import json
from collections import namedtuple
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from livertumor_cli.cli import diagnosis
from livertumor_cli.cli.app import run
from livertumor_cli.engine.cuda import Gpu, find_gpu
from livertumor_cli.engine.engine import Device, EngineKind, Precision
from livertumor_cli.engine.openvino_engine import is_openvino_installed
from livertumor_cli.engine.probe import Probe
from livertumor_cli.errors import ModelIntegrityError


@pytest.fixture
def healthy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A machine with the default recipe, its weights verified."""
    monkeypatch.setattr(diagnosis, "recipe_folders", lambda: {diagnosis.DEFAULT_RECIPE: tmp_path})
    monkeypatch.setattr(diagnosis, "load_named", lambda name, folder: None)
    monkeypatch.setattr(diagnosis, "verify_recipe", lambda recipe: None)
    monkeypatch.chdir(tmp_path)
    return monkeypatch


def examine(capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, Any]]:
    code = run(["doctor", "--json"])
    out, err = capsys.readouterr()
    assert err == ""
    document = json.loads(out)
    assert document["exit_code"] == code
    return code, document


def problems(document: dict[str, Any]) -> str:
    return " ".join(problem["what"] for problem in document["problems"])


def test_a_healthy_machine(
    healthy: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, document = examine(capsys)
    assert code == 0
    assert document["packages"]["numpy"] == version("numpy")
    assert document["physical_cores"] >= 1
    assert document["logical_cores"] >= document["physical_cores"]
    assert document["processor"]
    assert document["folder"]["path"] == str(tmp_path)
    assert document["folder"]["is_writable"] is True
    assert list(tmp_path.iterdir()) == []
    by_place = {(e["engine"], e["device"]): e for e in document["engines"]}
    runtime = by_place["onnxruntime", "cpu"]
    assert (runtime["works"], runtime["precisions"]) == (True, ["f32"])
    packages = document["packages"]
    assert runtime["version"] == (packages["onnxruntime-gpu"] or packages["onnxruntime"])
    if is_openvino_installed():
        assert "f32" in by_place["openvino", "cpu"]["precisions"]


def test_the_text_for_people(
    healthy: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["doctor"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "livertumor can segment a scan on this machine." in out
    assert f"ok  {diagnosis.DEFAULT_RECIPE} (default)" in out


@pytest.mark.skipif(find_gpu() is not None, reason="this machine has an NVIDIA GPU")
def test_what_cuda_lacks_is_named(
    healthy: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, document = examine(capsys)
    cuda = document["engines"][-1]
    assert (cuda["device"], cuda["works"]) == ("cuda", False)
    assert "no NVIDIA GPU" in cuda["fault"]
    assert "install the NVIDIA driver" in cuda["cure"]
    # A machine without a GPU is complete as it is.
    assert (code, document["problems"]) == (0, [])


def test_a_gpu_that_cannot_be_used_is_a_problem_but_no_obstacle(
    healthy: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def probe(kind: EngineKind, device: Device, *, precision: Precision = Precision.F32) -> Probe:
        fault = "no cuDNN" if device is Device.CUDA else ""
        return Probe(kind=kind, device=device, fault=fault, cure="install it")

    healthy.setattr(diagnosis, "probe", probe)
    healthy.setattr(diagnosis, "find_gpu", lambda: Gpu("Card 9", (9, 0)))
    code, document = examine(capsys)
    assert code == 0
    assert "the GPU Card 9 cannot be used: no cuDNN." in problems(document)


def test_no_engine_is_exit_5(
    healthy: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def probe(kind: EngineKind, device: Device, **_: object) -> Probe:
        return Probe(kind=kind, device=device, fault="broken", cure="mend it")

    healthy.setattr(diagnosis, "probe", probe)
    code, document = examine(capsys)
    assert code == 5
    assert "no engine works" in problems(document)
    assert run(["doctor"]) == 5
    assert "CANNOT segment" in capsys.readouterr().out


def test_both_runtimes_at_once(
    healthy: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    healthy.setattr(diagnosis, "version", lambda package: "1.31.1")
    code, document = examine(capsys)
    assert code == 0
    assert "both installed and overwrite each other" in problems(document)
    assert "pip uninstall onnxruntime onnxruntime-gpu" in document["problems"][0]["cure"]


def test_a_missing_package(healthy: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def find(package: str) -> str:
        if package == "nibabel":
            raise diagnosis.PackageNotFoundError(package)
        return "" if package == "onnxruntime" else "1.0"

    healthy.setattr(diagnosis, "version", find)
    code, document = examine(capsys)
    assert code == 5
    assert "the package nibabel is missing." in problems(document)


def test_wrong_weights_of_the_default_are_exit_4(
    healthy: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(recipe: object) -> None:
        raise ModelIntegrityError("lesion.onnx differs.")

    healthy.setattr(diagnosis, "verify_recipe", refuse)
    code, document = examine(capsys)
    assert code == 4
    assert "lesion.onnx differs." in problems(document)


def test_no_default_recipe_is_exit_4(
    healthy: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    healthy.setattr(diagnosis, "recipe_folders", dict)
    code, document = examine(capsys)
    assert code == 4
    assert "is not installed" in problems(document)


def test_a_full_disk_and_a_folder_without_permission(
    healthy: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(**_: object) -> None:
        raise PermissionError("read-only")

    usage = namedtuple("usage", "free")
    healthy.setattr(diagnosis.shutil, "disk_usage", lambda folder: usage(10**8))
    healthy.setattr(diagnosis.tempfile, "TemporaryFile", refuse)
    code, document = examine(capsys)
    assert code == 0
    assert "nothing can be written" in problems(document)
    assert "0.1 GB left" in problems(document)
