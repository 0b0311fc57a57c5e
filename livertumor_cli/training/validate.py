"""Validation during training: Dice on cached cases by plain tiles.

Quick and coarse, to watch a curve: the first stage is taken to be the reference with its rim. The
figures that are published come from the whole program on the scans' own grids.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from livertumor_cli.anatomy import Label
from livertumor_cli.arrays import BoolArray, LabelArray
from livertumor_cli.training.cache import TrainingCase
from livertumor_cli.training.surroundings import distance_to_liver
from livertumor_cli.training.tasks import Task


def validate(
    network: nn.Module, cases: list[TrainingCase], *, task: Task, device: str
) -> dict[str, float]:
    """Mean Dice over cases for liver and, in the lesion task, tumor and vessel.

    Cases without reference voxels of a structure are left out of its mean.
    """
    scores: dict[str, list[float]] = {"liver": [], "tumor": [], "vessel": []}
    for case in cases:
        predicted = predict_tiles(network, case, task=task, device=device)
        scores["liver"].append(_dice(predicted > 0, case.labels > 0))
        if len(task.classes) > 2:
            scores["tumor"].append(_dice(predicted == Label.TUMOR, case.labels == Label.TUMOR))
            if case.has_vessels:
                scores["vessel"].append(
                    _dice(predicted == Label.VESSEL, case.labels == Label.VESSEL)
                )
    return {
        name: float(np.nanmean(values))
        for name, values in scores.items()
        if not np.isnan(values).all()
    }


def predict_tiles(network: nn.Module, case: TrainingCase, *, task: Task, device: str) -> LabelArray:
    """Labels of a case from tiles of one patch each that overlap only where they must."""
    low, high = task.hu_window
    hu = torch.from_numpy(case.hu).float()
    if task.surroundings_mm is not None:
        distance_mm = distance_to_liver(case, spacing_mm=task.spacing_mm)
        hu = torch.where(distance_mm <= task.surroundings_mm, hu, low)
    image = (hu.clamp(low, high) - low) / (high - low)
    sizes = [max(size, edge) for size, edge in zip(image.shape, task.patch, strict=True)]
    padded = torch.zeros(sizes)
    padded[tuple(slice(0, size) for size in image.shape)] = image
    result = np.zeros(sizes, dtype=np.uint8)
    for z in _starts(sizes[0], task.patch[0]):
        for y in _starts(sizes[1], task.patch[1]):
            for x in _starts(sizes[2], task.patch[2]):
                tile = tuple(
                    slice(s, s + edge) for s, edge in zip((z, y, x), task.patch, strict=True)
                )
                batch = padded[tile][None, None].to(device)
                with torch.inference_mode(), torch.autocast(device, torch.bfloat16):
                    logits = network(batch)
                result[tile] = logits[0].float().argmax(0).to(torch.uint8).cpu().numpy()
    return result[tuple(slice(0, size) for size in image.shape)]


def _starts(size: int, edge: int) -> list[int]:
    """Evenly spread starts of the fewest tiles that cover an axis."""
    count = -(-size // edge)
    return [round(i * (size - edge) / max(1, count - 1)) for i in range(count)]


def _dice(prediction: BoolArray, reference: BoolArray) -> float:
    """Dice; nan without reference voxels."""
    if not reference.any():
        return float("nan")
    return float(2 * (prediction & reference).sum() / (prediction.sum() + reference.sum()))
