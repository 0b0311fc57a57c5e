"""`livertumor train` and `livertumor export`: from labeled scans to a verified recipe."""

# ruff: noqa: E402 (torch is optional: what needs it is imported after the skip)

from __future__ import annotations

import csv
import importlib.util
import json
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")

from training_cases import TINY_LESION, TINY_LIVER, a_case

from livertumor_cli.cli import extras, training_progress
from livertumor_cli.cli import progress as cli_progress
from livertumor_cli.cli.app import EXIT_INTERRUPTED, run
from livertumor_cli.cli.stopping import first_interrupt_asks
from livertumor_cli.cli.training_progress import show_training
from livertumor_cli.recipes.recipe import load_recipe
from livertumor_cli.recipes.store import verify_recipe
from livertumor_cli.training import cache
from livertumor_cli.training.tasks import TASKS
from livertumor_cli.training.trainer import Progress, Trainer


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiny tasks, and no phantoms: drawing eight takes longer than all the rest."""
    monkeypatch.setitem(TASKS, "tiny/lesion", TINY_LESION)
    monkeypatch.setitem(TASKS, "tiny/liver", replace(TINY_LIVER, wide=False))
    monkeypatch.setattr(cache, "PHANTOM_SEEDS", ())


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A training and a validation case."""
    folder = tmp_path / "data"
    case = a_case()
    for name in ("one", "two"):
        (folder / name).mkdir(parents=True)
        for file, array in (("ct", case.hu), ("labels", case.labels)):
            image = nib.Nifti1Image(array.T, np.diag([-2.0, -2, 2, 1]))
            image.to_filename(folder / name / f"{file}.nii.gz")
    entries = [{"case": "one", "split": "train"}, {"case": "two", "split": "validation"}]
    (folder / "cases.json").write_text(json.dumps(entries))
    return folder


def train(data: Path, out: Path, *more: str) -> int:
    arguments = ["--data", str(data), "--out", str(out), "--steps", "4", "--batch", "1"]
    return run(["train", "tiny/lesion", *arguments, "--validate-every", "2", *more])


def steps_of(out: Path) -> list[str]:
    with (out / "curve.csv").open(newline="") as file:
        return [row["step"] for row in csv.DictReader(file)]


# The way from scans to a recipe


def test_train_then_export(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "run"
    assert train(data, out) == 0
    captured = capsys.readouterr()
    assert captured.out == f"{out / 'model.safetensors'}\n"
    assert "Preparing the training cases" in captured.err
    assert "step 4/4 loss" in captured.err
    assert "tumor Dice" in captured.err
    assert sorted(path.name for path in (out / "cache").iterdir()) == [
        "one-liver-2x2x2.npz",
        "two-liver-2x2x2.npz",
    ]

    recipe = tmp_path / "weights" / "tiny"
    arguments = ["--output", str(recipe), "--patch", "8", "16", "24"]
    assert run(["export", str(out / "model.safetensors"), *arguments]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith(f"{recipe / 'lesion.onnx'}: largest logit difference")
    assert captured.err == ""
    verify_recipe(load_recipe(recipe))
    assert load_recipe(recipe).stages[0].patch == (8, 16, 24)


def test_the_same_command_prolongs_a_run(data: Path, tmp_path: Path):
    out = tmp_path / "run"
    assert train(data, out) == 0
    assert train(data, out, "--steps", "6") == 0
    assert steps_of(out) == ["1", "2", "3", "4", "5", "6"]


def test_prepared_scans_go_where_the_user_says(data: Path, tmp_path: Path):
    assert train(data, tmp_path / "run", "--cache", str(tmp_path / "prepared")) == 0
    assert (tmp_path / "prepared" / "one-liver-2x2x2.npz").is_file()
    assert not (tmp_path / "run" / "cache").exists()


@pytest.mark.parametrize(
    ("option", "value"), [("--seed", "7"), ("--learning-rate", "0.1"), ("--batch", "2")]
)
def test_options_change_the_run(data: Path, tmp_path: Path, option: str, value: str):
    assert train(data, tmp_path / "plain") == 0
    assert train(data, tmp_path / "other", option, value) == 0
    plain, other = (
        (tmp_path / name / "model.safetensors").read_bytes() for name in ("plain", "other")
    )
    assert plain != other


# Ctrl-C


def interrupt_at(step: int, times: int = 1) -> Callable[[Trainer, object, object], Progress]:
    """Trainer._advance with Ctrl-C pressed in the middle of a step."""
    advance = Trainer._advance

    def interrupted(self: Trainer, batch: object, validation: object) -> Progress:
        if self.step + 1 == step:
            for _ in range(times):
                signal.raise_signal(signal.SIGINT)
        return advance(self, batch, validation)  # type: ignore[arg-type]

    return interrupted


def test_interrupt_saves_the_state_and_the_run_goes_on(
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
):
    out = tmp_path / "run"
    monkeypatch.setattr(Trainer, "_advance", interrupt_at(3))
    assert train(data, out) == EXIT_INTERRUPTED
    captured = capfd.readouterr()
    assert captured.out == ""
    assert "Stopping after this step" in captured.err
    assert "Stopped at step 3; the same command goes on from there." in captured.err
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    monkeypatch.undo()
    monkeypatch.setitem(TASKS, "tiny/lesion", TINY_LESION)
    monkeypatch.setattr(cache, "PHANTOM_SEEDS", ())
    assert train(data, out) == 0
    assert steps_of(out) == ["1", "2", "3", "4"]


def test_a_second_interrupt_ends_the_run_at_once(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(Trainer, "_advance", interrupt_at(2, times=2))
    assert train(data, tmp_path / "run") == EXIT_INTERRUPTED
    assert steps_of(tmp_path / "run") == ["1"]
    assert not (tmp_path / "run" / "state.pt").exists()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_ignored_interrupt_stays_ignored():
    """As in the background jobs of a shell."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with first_interrupt_asks() as stop:
            signal.raise_signal(signal.SIGINT)
            assert not stop()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


# Progress


def progress_at(step: int, dice: dict[str, float] | None = None) -> Progress:
    return Progress(step, 100, 0.5, 1.0, dice or {})


def test_a_log_has_a_line_every_ten_steps(capsys: pytest.CaptureFixture[str]):
    with show_training(start=80, steps=100) as report:
        for step in range(81, 101):
            report(progress_at(step, {"liver": 0.9} if step == 85 else None))
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert [line.split()[1] for line in lines] == ["85/100", "90/100", "100/100"]
    assert lines[0].endswith("liver Dice 0.900")
    assert "min left" in lines[1]


def test_a_terminal_has_a_bar(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    from rich.console import Console

    monkeypatch.setattr(training_progress.sys.stderr, "isatty", lambda: True)
    console = Console(stderr=True, force_terminal=True, width=100, highlight=False)
    monkeypatch.setattr(cli_progress, "stderr_console", lambda: console)
    with show_training(start=0, steps=100) as report:
        report(progress_at(1))
        report(progress_at(2, {"tumor": 0.25}))
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "loss 0.5000" in captured.err
    assert "2/100" in captured.err
    assert "tumor Dice 0.250" in captured.err


# Refusals


def test_an_unknown_task_lists_those_there_are(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert run(["train", "nothing", "--data", str(data), "--out", str(tmp_path / "run")]) == 2
    assert "uca-net/lesion" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_folder_without_cases_is_an_input_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert train(tmp_path, tmp_path / "run") == 3
    assert "cases.json" in capsys.readouterr().err


def test_a_state_of_another_task_is_a_model_error(data: Path, tmp_path: Path):
    assert train(data, tmp_path / "run") == 0
    arguments = ["--data", str(data), "--out", str(tmp_path / "run")]
    assert run(["train", "tiny/liver", *arguments]) == 4


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_that_is_not_there_is_a_backend_error(data: Path, tmp_path: Path):
    assert train(data, tmp_path / "run", "--device", "cuda") == 5


@pytest.mark.parametrize("option", ["--steps", "--batch", "--learning-rate", "--validate-every"])
def test_numbers_that_make_no_sense_are_usage_errors(data: Path, tmp_path: Path, option: str):
    assert train(data, tmp_path / "run", option, "0") == 2


def test_export_refuses_what_is_no_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = tmp_path / "model.safetensors"
    assert run(["export", str(path), "-o", str(tmp_path / "new")]) == 4
    path.write_bytes(os.urandom(64))
    assert run(["export", str(path), "-o", str(tmp_path / "new")]) == 4
    assert str(path) in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_export_tells_what_of_a_folder_it_takes(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    run_folder = tmp_path / "run"
    run_folder.mkdir()
    (run_folder / "best.safetensors").touch()
    assert run(["export", str(run_folder), "-o", str(tmp_path / "new")]) == 4
    error = capsys.readouterr().err
    assert f"{run_folder} is neither a model folder of nnU-Net v2" in error
    assert "give best.safetensors" in error
    loose = tmp_path / "checkpoint_final.pth"
    torch.save({"network_weights": {}}, loose)
    assert run(["export", str(loose), "-o", str(tmp_path / "new")]) == 4
    assert "the whole folder of an nnU-Net v2 model" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_export_refuses_patches_without_voxels(tmp_path: Path):
    arguments = ["-o", str(tmp_path), "--patch", "0", "8", "8"]
    assert run(["export", "model.safetensors", *arguments]) == 2


@pytest.mark.parametrize("command", ["train", "export"])
def test_a_missing_extra_is_named(
    command: str, data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        extras, "find_spec", lambda name: None if name == "torch" else find_spec(name)
    )
    arguments = {
        "train": ["tiny/lesion", "--data", str(data), "--out", str(data / "run")],
        "export": ["model.safetensors", "-o", str(data / "new")],
    }
    assert run([command, *arguments[command]]) == 5
    assert capsys.readouterr().err == (
        "Error: this command needs torch, which the plain installation leaves out.\n"
        f"Hint: Install livertumor with its extra '{command}': livertumor[{command}].\n"
    )


def test_extras_are_those_of_the_package():
    import tomllib

    project = Path(__file__).parent.parent / "pyproject.toml"
    optional = tomllib.loads(project.read_text())["project"]["optional-dependencies"]
    for extra, packages in extras.EXTRAS.items():
        names = {text.split("=")[0].split(">")[0].replace("-", "_") for text in optional[extra]}
        assert set(packages) == names
