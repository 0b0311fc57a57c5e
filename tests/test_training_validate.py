"""Validation during training: every voxel is seen, what has no reference is left out."""

# ruff: noqa: E402 (torch is optional: what needs it is imported after the skip)

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from training_cases import TINY_LESION, a_case

from livertumor_cli.training.validate import predict_tiles, validate


class Painter(torch.nn.Module):
    """Calls bright voxels liver, dark ones tumor."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        levels = (image * 400 - 160).float()
        steps = [levels < 0, (levels >= 85), (levels >= 0) & (levels < 85), levels > 1000]
        return torch.cat([step.float() for step in steps], dim=1)


@pytest.fixture
def tiles(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[int, ...]]]:
    """Sizes of what the network was given."""
    seen: list[tuple[int, ...]] = []
    forward = Painter.forward

    def watched(self: Painter, image: torch.Tensor) -> torch.Tensor:
        seen.append(tuple(image.shape[2:]))
        return forward(self, image)

    monkeypatch.setattr(Painter, "forward", watched)
    return iter([seen])


@pytest.mark.parametrize("shape", [(8, 16, 16), (20, 32, 36), (5, 40, 17)])
def test_tiles_cover_the_whole_case(shape: tuple[int, int, int], tiles):
    hu = np.random.default_rng(0).choice(np.array([-100, 50, 110], dtype=np.int16), shape)
    case = replace(a_case(), hu=hu, labels=np.zeros(shape, np.uint8))
    predicted = predict_tiles(Painter(), case, task=TINY_LESION, device="cpu")
    assert np.array_equal(predicted, np.select([hu == 110, hu == 50], [1, 2], 0))
    assert set(next(tiles)) == {TINY_LESION.patch}


def test_validation_leaves_out_what_has_no_reference():
    scores = validate(Painter(), [a_case(tumor=False)], task=TINY_LESION, device="cpu")
    assert set(scores) == {"liver"}
    assert scores["liver"] > 0.99
    scores = validate(Painter(), [a_case(), a_case(tumor=False)], task=TINY_LESION, device="cpu")
    assert scores["tumor"] > 0.99


def test_validation_of_no_cases_is_empty():
    assert validate(Painter(), [], task=TINY_LESION, device="cpu") == {}


def test_two_dimensional_networks_are_given_slices(tiles):
    task = replace(TINY_LESION, dimensions=2, patch=(1, 16, 16))
    case = a_case()
    hu = np.random.default_rng(0).choice(np.array([-100, 50, 110], dtype=np.int16), (5, 20, 30))
    case = replace(case, hu=hu, labels=np.zeros(hu.shape, np.uint8))
    predicted = predict_tiles(Painter(), case, task=task, device="cpu")
    assert np.array_equal(predicted, np.select([hu == 110, hu == 50], [1, 2], 0))
    seen = next(tiles)
    assert (set(seen), len(seen)) == ({(16, 16)}, 5 * 2 * 2)


def test_what_lies_far_from_the_liver_is_not_looked_at(tiles):
    """Liver in one corner: its tile alone is run, and all else is background."""
    task = replace(TINY_LESION, surroundings_mm=4.0)
    hu = np.full((8, 16, 64), 110, dtype=np.int16)
    labels = np.zeros(hu.shape, np.uint8)
    labels[2:6, 4:12, 2:8] = 1
    predicted = predict_tiles(
        Painter(), replace(a_case(), hu=hu, labels=labels), task=task, device="cpu"
    )
    assert predicted[labels > 0].all()
    assert not predicted[:, :, 16:].any()
    assert len(next(tiles)) == 1
