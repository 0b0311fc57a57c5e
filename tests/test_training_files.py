"""What a run leaves on disk besides its state: weights and the learning curve."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

pytest.importorskip("torch")

from training_cases import TINY_LESION, TINY_LIVER

from livertumor_cli.errors import ModelError, ModelNotFoundError
from livertumor_cli.training.checkpoint import (
    load_weights,
    metadata_json,
    read_metadata,
    save_weights,
)
from livertumor_cli.training.curve import forget_after, note_step


def curve_of(out: Path) -> list[dict[str, str]]:
    with (out / "curve.csv").open(newline="") as file:
        return list(csv.DictReader(file))


# Weights on disk


def test_weights_of_another_network_are_refused(tmp_path: Path):
    path = tmp_path / "model.safetensors"
    save_weights(path, TINY_LIVER.build().state_dict(), metadata={})
    with pytest.raises(ModelError, match="another network"):
        load_weights(path, TINY_LESION.build())


def test_files_that_are_no_weights_are_refused(tmp_path: Path):
    path = tmp_path / "model.safetensors"
    for read in (read_metadata, lambda one: load_weights(one, TINY_LESION.build())):
        with pytest.raises(ModelNotFoundError):
            read(path)
    path.write_bytes(b"no weights at all")
    for read in (read_metadata, lambda one: load_weights(one, TINY_LESION.build())):
        with pytest.raises(ModelError, match="damaged"):
            read(path)


def test_metadata_are_texts():
    assert metadata_json({"a": "b", "n": 3, "list": [1]}) == {"a": "b", "n": "3", "list": "[1]"}


# The curve


def test_curve_forgets_what_comes_after_the_state(tmp_path: Path):
    path = tmp_path / "curve.csv"
    for step in (1, 2, 3):
        note_step(path, step=step, trained_s=step, loss=0.5, dice={"liver": 0.9})
    whole = path.read_bytes()
    forget_after(path, 3)
    assert path.read_bytes() == whole
    path.write_bytes(whole + b"4,4.0,0.")  # a kill in the middle of a line
    forget_after(path, 3)
    assert path.read_bytes() == whole
    forget_after(path, 1)
    assert [row["step"] for row in curve_of(tmp_path)] == ["1"]
    assert curve_of(tmp_path)[0] == {
        "step": "1",
        "trained_s": "1.0",
        "loss": "0.50000",
        "dice_liver": "0.9000",
        "dice_tumor": "",
        "dice_vessel": "",
    }


def test_a_missing_curve_stays_missing(tmp_path: Path):
    forget_after(tmp_path / "curve.csv", 3)
    assert list(tmp_path.iterdir()) == []
