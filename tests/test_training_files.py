"""What a run leaves on disk besides its state: weights, the best of them, the learning curve."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch")

from training_cases import TINY_LESION, TINY_LIVER

from livertumor_cli.errors import ModelError, ModelNotFoundError
from livertumor_cli.training.checkpoint import (
    BestWeights,
    load_weights,
    metadata_json,
    read_metadata,
    save_weights,
)
from livertumor_cli.training.curve import forget_after, note_step
from livertumor_cli.training.curve_picture import (
    BOTTOM,
    COLORS,
    GRID,
    HEIGHT,
    LEFT,
    RIGHT,
    SMOOTHED,
    WIDTH,
    draw_curve,
)


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


# The best weights


def offered(best: BestWeights, step: int, **dice: float) -> None:
    network = TINY_LESION.build().state_dict()
    best.offer(network, dice=dice, metadata={"task": "tiny/lesion", "step": str(step)})


def test_best_weights_are_those_of_the_highest_mean_dice(tmp_path: Path):
    path = tmp_path / "best.safetensors"
    best = BestWeights(path, step=0)
    offered(best, 10, liver=0.9, tumor=0.1)
    offered(best, 20, liver=0.8, tumor=0.4)
    offered(best, 30, liver=0.95, tumor=0.2)
    assert read_metadata(path) == {"task": "tiny/lesion", "step": "20", "score": "0.6000"}
    resumed = BestWeights(path, step=30)
    offered(resumed, 40, liver=0.6, tumor=0.5)
    assert read_metadata(path)["step"] == "20"
    offered(resumed, 50, liver=0.7, tumor=0.6)
    assert read_metadata(path)["step"] == "50"


def test_best_weights_of_a_later_step_are_forgotten(tmp_path: Path):
    """A run that was killed takes its last steps again; another run's are none of its own."""
    path = tmp_path / "best.safetensors"
    offered(BestWeights(path, step=0), 30, liver=0.9)
    assert BestWeights(path, step=30).score == pytest.approx(0.9)
    assert BestWeights(path, step=20).score == float("-inf")
    assert not path.exists()


def test_without_a_validation_nothing_is_best(tmp_path: Path):
    offered(BestWeights(tmp_path / "best.safetensors", step=0), 10)
    assert list(tmp_path.iterdir()) == []


# The curve


def test_picture_shows_dice_where_it_belongs(tmp_path: Path):
    curve, picture = tmp_path / "curve.csv", tmp_path / "curve.png"
    for step in range(1, 101):
        dice = {"liver": 0.5, "tumor": 0.25} if step in (50, 100) else {}
        note_step(curve, step=step, trained_s=step, loss=2.0, dice=dice)
    draw_curve(curve, picture)
    image = np.asarray(Image.open(picture))
    assert image.shape == (HEIGHT, WIDTH, 3)
    liver, tumor = (np.argwhere((image == COLORS[name]).all(axis=2)) for name in ("liver", "tumor"))
    long_lines = np.flatnonzero((image == GRID).all(axis=2).sum(axis=1) > WIDTH / 2)
    one = long_lines[long_lines > HEIGHT // 2][0]
    # The lines lie at half and a quarter of the lower panel, from its middle to its right end.
    for points, value in ((liver, 0.5), (tumor, 0.25)):
        on_panel = points[points[:, 0] > HEIGHT // 2 + 40]
        row = np.median(on_panel[:, 0])
        zero = HEIGHT - BOTTOM
        assert row == pytest.approx(zero - value * (zero - one), abs=1.5)
        assert on_panel[:, 1].min() == pytest.approx((LEFT + WIDTH - RIGHT) / 2, abs=6)
        assert on_panel[:, 1].max() == pytest.approx(WIDTH - RIGHT, abs=6)
    assert not (image == COLORS["vessel"]).all(axis=2).any()


def test_picture_shows_that_a_loss_falls(tmp_path: Path):
    curve, picture = tmp_path / "curve.csv", tmp_path / "curve.png"
    for step in range(1, 201):
        note_step(curve, step=step, trained_s=step, loss=2.0 - step / 150, dice={})
    draw_curve(curve, picture)
    image = np.asarray(Image.open(picture))
    rows, columns = np.nonzero((image == SMOOTHED).all(axis=2))
    assert rows[columns < WIDTH // 3].mean() + 60 < rows[columns > 2 * WIDTH // 3].mean()


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
