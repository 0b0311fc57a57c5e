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
from livertumor_cli.geometry import Box
from livertumor_cli.inference.windows import place_windows
from livertumor_cli.training.batch import network_axes
from livertumor_cli.training.cache import NO_SEGMENT, TrainingCase
from livertumor_cli.training.precision import autocast
from livertumor_cli.training.surroundings import distance_to_liver
from livertumor_cli.training.tasks import Task


def validate(
    network: nn.Module, cases: list[TrainingCase], *, task: Task, device: str
) -> dict[str, float]:
    """Mean Dice over cases for liver and, as far as the task knows them, tumor and vessel.

    Of a task of segments, the mean over its segments and cases. Cases without reference voxels of a
    structure are left out of its mean.
    """
    if task.is_of_segments:
        scores = [_segment_dice(network, case, task=task, device=device) for case in cases]
        return {"segments": float(np.nanmean(scores))} if scores else {}
    return _structure_dice(network, cases, task=task, device=device)


def scored_structures(task: Task) -> tuple[str, ...]:
    """The names under which `validate` may give Dice."""
    return ("segments",) if task.is_of_segments else ("liver", "tumor", "vessel")


def _structure_dice(
    network: nn.Module, cases: list[TrainingCase], *, task: Task, device: str
) -> dict[str, float]:
    """Mean Dice by structure."""
    scores: dict[str, list[float]] = {name: [] for name in scored_structures(task)}
    for case in cases:
        predicted = predict_tiles(network, case, task=task, device=device)
        scores["liver"].append(_dice(predicted > 0, case.labels > 0))
        if "tumor" in task.classes:
            scores["tumor"].append(_dice(predicted == Label.TUMOR, case.labels == Label.TUMOR))
        if "vessel" in task.classes and case.has_vessels:
            scores["vessel"].append(_dice(predicted == Label.VESSEL, case.labels == Label.VESSEL))
    return {
        name: float(np.nanmean(values))
        for name, values in scores.items()
        if not np.isnan(values).all()
    }


def predict_tiles(network: nn.Module, case: TrainingCase, *, task: Task, device: str) -> LabelArray:
    """Labels of a case from tiles of one patch each that overlap only where they must.

    As in inference, what lies far from the liver is background and costs nothing.
    """
    low, high = task.hu_window
    hu = torch.from_numpy(case.hu).float()
    needed = np.ones(case.hu.shape, dtype=np.bool_)
    if task.surroundings_mm is not None:
        near = distance_to_liver(case, spacing_mm=task.spacing_mm) <= task.surroundings_mm
        hu, needed = torch.where(near, hu, low), near.numpy()
    plan = place_windows(
        needed, dimensions=task.dimensions, patch=task.patch, overlap=(0.0, 0.0, 0.0)
    )
    padded = torch.zeros(plan.padded)
    padded[tuple(slice(0, size) for size in hu.shape)] = (hu.clamp(low, high) - low) / (high - low)
    result = np.zeros(plan.padded, dtype=np.uint8)
    for box in plan.boxes:
        tile = network_axes(padded[box][None, None], dimensions=task.dimensions).to(device)
        with torch.inference_mode(), autocast(device):
            logits = network(tile)  # (1, C, D, H, W) or (1, C, H, W)
        result[box] = logits[0].float().argmax(0).to(torch.uint8).cpu().numpy()
    return result[tuple(slice(0, size) for size in hu.shape)]


def _segment_dice(
    network: nn.Module, case: TrainingCase, *, task: Task, device: str
) -> list[float]:
    """Dice of each segment from one window about the liver, where its segments are known."""
    low, high = task.hu_window
    box, padding = _window_about(case.labels > 0, task.patch)
    liver = np.pad(case.labels > 0, padding)[box]
    hu = np.where(liver, np.pad(case.hu, padding)[box], low).clip(low, high)
    image = torch.from_numpy(((hu - low) / (high - low)).astype(np.float32))[None, None]
    with torch.inference_mode(), autocast(device):
        logits = network(image.to(device))  # (1, 9, D, H, W)
    found = 1 + logits[0, 1:].float().argmax(0).cpu().numpy()
    reference = np.pad(case.labels, padding)[box]
    found[(reference == 0) | (reference == NO_SEGMENT)] = 0
    return [_dice(found == value, reference == value) for value in range(1, len(task.classes))]


def _window_about(mask: BoolArray, size: tuple[int, int, int]) -> tuple[Box, list[tuple[int, int]]]:
    """The box of a size about a mask in an array that has been padded, and the padding."""
    found = np.argwhere(mask)
    middles = (found.min(axis=0) + found.max(axis=0) + 1) // 2
    z, y, x = (
        slice(int(middle) + few - few // 2, int(middle) + few - few // 2 + few)
        for middle, few in zip(middles, size, strict=True)
    )
    return (z, y, x), [(few, few) for few in size]


def _dice(prediction: BoolArray, reference: BoolArray) -> float:
    """Dice; nan without reference voxels."""
    if not reference.any():
        return float("nan")
    return float(2 * (prediction & reference).sum() / (prediction.sum() + reference.sum()))
