"""The training loop: learns, resumes as if nothing had happened, refuses what is not its own."""

# ruff: noqa: E402 (torch is optional: what needs it is imported after the skip)

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import load_file
from training_cases import TINY_LESION, TINY_LIVER, a_case

from livertumor_cli.errors import BackendError, ModelError, OutputError
from livertumor_cli.training import patches, precision
from livertumor_cli.training import trainer as trainer_module
from livertumor_cli.training.checkpoint import (
    BestWeights,
    load_state,
    load_weights,
    read_metadata,
)
from livertumor_cli.training.trainer import Progress, Trainer, TrainingOptions

OPTIONS = TrainingOptions(steps=4, batch=1, warmup=2, save_every=2, validate_every=2)
CASES = [a_case("one", vessels=True), a_case("two")]


class KilledError(Exception):
    """Stands for a kill: nothing after it is executed."""


@pytest.fixture
def _float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training in float32: bf16 kernels on CPUs do not repeat to the last bit."""
    monkeypatch.setattr(precision, "_has_bf16", lambda: False)


def train(
    out: Path,
    *,
    report: Callable[[Progress], None] = lambda _: None,
    stop: Callable[[], bool] = lambda: False,
    options: TrainingOptions = OPTIONS,
) -> bool:
    """A run, new or resumed."""
    trainer = Trainer(TINY_LESION, options=options, out=out)
    return trainer.train(CASES, CASES[:1], report=report, stop=stop)


def curve_of(out: Path) -> list[dict[str, str]]:
    with (out / "curve.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def assert_same_weights(one: Path, other: Path) -> None:
    first, second = load_file(one / "model.safetensors"), load_file(other / "model.safetensors")
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        torch.testing.assert_close(tensor, second[name], rtol=1e-6, atol=1e-7, msg=name)


# A whole run


def test_a_run_leaves_state_weights_and_curve(tmp_path: Path):
    told: list[Progress] = []
    assert train(tmp_path, report=told.append)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "best.safetensors",
        "curve.csv",
        "curve.png",
        "model.safetensors",
        "state.pt",
    ]
    assert [progress.step for progress in told] == [1, 2, 3, 4]
    assert [sorted(progress.dice) for progress in told] == [
        [],
        ["liver", "tumor", "vessel"],
        [],
        ["liver", "tumor", "vessel"],
    ]
    rows = curve_of(tmp_path)
    assert [row["step"] for row in rows] == ["1", "2", "3", "4"]
    assert [bool(row["dice_tumor"]) for row in rows] == [False, True, False, True]
    assert [float(row["loss"]) for row in rows] == pytest.approx([p.loss for p in told], abs=1e-5)


def test_weights_say_where_they_come_from(tmp_path: Path):
    train(tmp_path)
    metadata = read_metadata(tmp_path / "model.safetensors")
    assert metadata["task"] == "tiny/lesion"
    assert metadata["step"] == "4"
    assert metadata["seed"] == "1"
    network = TINY_LESION.build()
    assert load_weights(tmp_path / "model.safetensors", network) == metadata


@pytest.mark.usefixtures("_float32")
def test_weights_are_the_average_of_the_steps(tmp_path: Path):
    trainer = Trainer(TINY_LESION, options=replace(OPTIONS, steps=1), out=tmp_path)
    before = {key: value.clone() for key, value in trainer.average.items()}
    trainer.train(CASES, [], report=lambda _: None)
    stored = load_file(tmp_path / "model.safetensors")
    for name, value in trainer.network.state_dict().items():
        # The first step keeps a tenth of what was there.
        expected = 0.1 * before[name] + 0.9 * value if value.is_floating_point() else value
        torch.testing.assert_close(stored[name], expected, msg=name)


def test_best_weights_and_a_picture_follow_the_validations(tmp_path: Path):
    told: list[Progress] = []
    train(tmp_path, report=told.append)
    scores = {p.step: sum(p.dice.values()) / 3 for p in told if p.dice}
    metadata = read_metadata(tmp_path / "best.safetensors")
    assert metadata["step"] == str(max(scores, key=lambda step: scores[step]))
    assert float(metadata["score"]) == pytest.approx(max(scores.values()), abs=1e-4)
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.usefixtures("_float32")
def test_the_seed_decides_the_run(tmp_path: Path):
    train(tmp_path / "one")
    train(tmp_path / "again")
    assert_same_weights(tmp_path / "one", tmp_path / "again")
    train(tmp_path / "other", options=replace(OPTIONS, seed=2))
    with pytest.raises(AssertionError):
        assert_same_weights(tmp_path / "one", tmp_path / "other")


def test_learning_rate_rises_then_falls(tmp_path: Path):
    options = replace(OPTIONS, steps=8, validate_every=100, learning_rate=0.02)
    trainer = Trainer(TINY_LESION, options=options, out=tmp_path)
    rates: list[float] = []
    trainer.train(
        CASES, [], report=lambda _: rates.append(float(trainer.optimizer.param_groups[0]["lr"]))
    )
    assert rates[:3] == pytest.approx([0.01, 0.02, 0.02])
    assert all(later < earlier for earlier, later in pairwise(rates[2:]))
    # Half a cosine over the six steps after the rise, down to a hundredth.
    assert rates[5] == pytest.approx(0.02 * (0.01 + 0.99 * 0.5))
    assert 0.0002 < rates[-1] < 0.002


@pytest.mark.usefixtures("_float32")
def test_an_easy_problem_is_learned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    # A mass of up to 12 cm would fill all of a patch of 3 cm, and the problem would not be easy.
    monkeypatch.setattr(patches, "MASS_CHANCE", 0.0)
    options = replace(
        OPTIONS, steps=40, learning_rate=0.03, warmup=5, validate_every=40, save_every=40
    )
    trainer = Trainer(TINY_LIVER, options=options, out=tmp_path)
    told: list[Progress] = []
    trainer.train([a_case(tumor=False)], [a_case(tumor=False)], report=told.append)
    first, last = (np.mean([p.loss for p in part]) for part in (told[:5], told[-5:]))
    assert last < 0.5 * first
    assert told[-1].dice["liver"] > 0.8


# Interruptions


@pytest.mark.usefixtures("_float32")
def test_a_stopped_run_goes_on_as_if_nothing_had_happened(tmp_path: Path):
    train(tmp_path / "whole")
    steps: list[int] = []
    finished = train(
        tmp_path / "parts", report=lambda p: steps.append(p.step), stop=lambda: len(steps) == 3
    )
    assert not finished
    assert load_state(tmp_path / "parts" / "state.pt").step == 3
    assert train(tmp_path / "parts", report=lambda p: steps.append(p.step))
    assert steps == [1, 2, 3, 4]
    assert_same_weights(tmp_path / "whole", tmp_path / "parts")


@pytest.mark.usefixtures("_float32")
def test_a_killed_run_goes_on_from_its_last_saved_state(tmp_path: Path):
    def killed(progress: Progress) -> None:
        if progress.step == 3:
            raise KilledError

    train(tmp_path / "whole")
    with pytest.raises(KilledError):
        train(tmp_path / "parts", report=killed)
    assert [row["step"] for row in curve_of(tmp_path / "parts")] == ["1", "2", "3"]
    assert load_state(tmp_path / "parts" / "state.pt").step == 2
    assert train(tmp_path / "parts")
    assert [row["step"] for row in curve_of(tmp_path / "parts")] == ["1", "2", "3", "4"]
    assert_same_weights(tmp_path / "whole", tmp_path / "parts")


WRITES = ("note_step", "save_state", "save_weights", "draw_curve")
"""What a run writes with, best weights aside."""


def kill_before_write(patch: pytest.MonkeyPatch, number: int) -> None:
    """The run that writes for the number-th time ends there."""
    left = [number]

    def killed_in_time(write: Callable[..., None]) -> Callable[..., None]:
        def written(*arguments: object, **more: object) -> None:
            left[0] -= 1
            if left[0] == 0:
                raise KilledError
            write(*arguments, **more)

        return written

    for name in WRITES:
        patch.setattr(trainer_module, name, killed_in_time(getattr(trainer_module, name)))
    patch.setattr(BestWeights, "offer", killed_in_time(BestWeights.offer))


@pytest.mark.usefixtures("_float32")
def test_a_kill_at_any_moment_loses_nothing(tmp_path: Path):
    options = replace(OPTIONS, save_every=3)
    train(tmp_path / "whole", options=options)
    best = read_metadata(tmp_path / "whole" / "best.safetensors")
    for moment in range(1, 100):
        out = tmp_path / f"killed-{moment}"
        with pytest.MonkeyPatch.context() as patch:
            kill_before_write(patch, moment)
            try:
                train(out, options=options)
                break  # written fewer times: every moment was tried
            except KilledError:
                pass
        assert train(out, options=options)
        assert [row["step"] for row in curve_of(out)] == ["1", "2", "3", "4"]
        found = read_metadata(out / "best.safetensors")
        assert (found["step"], found["score"]) == (best["step"], best["score"]), moment
        assert_same_weights(tmp_path / "whole", out)
    assert moment > 12


def test_a_finished_run_has_nothing_left_to_do(tmp_path: Path):
    train(tmp_path)
    before = (tmp_path / "model.safetensors").read_bytes()
    assert train(tmp_path, report=lambda _: pytest.fail("a step was taken"))
    assert (tmp_path / "model.safetensors").read_bytes() == before


def test_a_finished_run_can_be_prolonged(tmp_path: Path):
    train(tmp_path)
    steps: list[int] = []
    train(tmp_path, options=replace(OPTIONS, steps=6), report=lambda p: steps.append(p.step))
    assert steps == [5, 6]


def test_a_loss_that_is_no_number_spoils_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    train(tmp_path, options=replace(OPTIONS, steps=2))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    nan = torch.tensor(float("nan"), requires_grad=True)
    monkeypatch.setattr(trainer_module, "output_loss", lambda *_, **__: nan)
    with pytest.raises(ModelError, match="step 3"):
        train(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


# Refusals


@pytest.mark.parametrize("content", [b"", b"not a state", b"PK\x03\x04 cut short"])
def test_a_damaged_state_is_refused(tmp_path: Path, content: bytes):
    (tmp_path / "state.pt").write_bytes(content)
    with pytest.raises(ModelError, match=r"state\.pt") as caught:
        train(tmp_path)
    assert "Delete" in caught.value.hint
    assert (tmp_path / "state.pt").read_bytes() == content


def test_a_state_with_other_contents_is_refused(tmp_path: Path):
    torch.save({"step": 3}, tmp_path / "state.pt")
    with pytest.raises(ModelError, match="no training state"):
        train(tmp_path)


class Harmful:
    """Executes code when unpickled."""

    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return Path.touch, (Path("executed"),)


def test_nothing_in_a_state_is_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"step": Harmful()}, tmp_path / "state.pt")
    with pytest.raises(ModelError):
        train(tmp_path)
    assert not (tmp_path / "executed").exists()


def test_a_state_of_another_network_is_refused(tmp_path: Path):
    train(tmp_path)
    with pytest.raises(ModelError, match="another network than that of tiny/liver"):
        Trainer(TINY_LIVER, options=OPTIONS, out=tmp_path)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_that_is_not_there_is_refused(tmp_path: Path):
    with pytest.raises(BackendError, match="no CUDA device"):
        Trainer(TINY_LESION, options=replace(OPTIONS, device="cuda"), out=tmp_path)


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError):
        Trainer(TINY_LESION, options=OPTIONS, out=tmp_path / "file" / "run")
