"""Sliding windows: a network of fixed input size over a grid of any size.

Windows are spread evenly, overlap as the recipe says, and are blended with weights that fall toward
their rims, where a network sees least (Isensee et al., nnU-Net, DOI 10.1038/s41592-020-01008-z, use
the same Gaussian with a standard deviation of an eighth of the window).

A 2D network's windows lie slice by slice about what is looked for there: Gong et al. (CSPS 2021,
section 2.2) crop 256x256 pixels about the target and paste the prediction back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np

from livertumor_cli.arrays import BoolArray, FloatArray
from livertumor_cli.engine.engine import Engine
from livertumor_cli.errors import BackendError
from livertumor_cli.geometry import Box
from livertumor_cli.recipes.recipe import Activation, Stage, Weighting

StepProgress = Callable[[int, int], None]
"""Told (windows done, windows in all)."""


@dataclass(frozen=True, slots=True)
class WindowPlan:
    """Where windows lie on a grid.

    Attributes:
        boxes: Windows in z, y, x order; all of one size, some may reach over the grid's end.
        padded: Grid size that holds all of them, at least the grid's own.
    """

    boxes: tuple[Box, ...]
    padded: tuple[int, int, int]


def place_windows(
    needed: BoolArray,
    *,
    dimensions: int,
    patch: tuple[int, int, int],
    overlap: tuple[float, float, float],
) -> WindowPlan:
    """Windows that see every needed voxel of a grid; none for what nobody needs.

    Args:
        needed: Shape (z, y, x).
        dimensions: Of the network: 3, or 2 for axial slices.
        patch: Window, z, y, x.
        overlap: Least share of a window that its neighbor also covers, per axis.
    """
    if dimensions == 2:
        return plan_crops(needed, patch=patch, overlap=overlap)
    depth, height, width = needed.shape
    plan = plan_windows((depth, height, width), patch=patch, overlap=overlap)
    return WindowPlan(tuple(box for box in plan.boxes if needed[box].any()), plan.padded)


def plan_windows(
    shape: tuple[int, int, int],
    *,
    patch: tuple[int, int, int],
    overlap: tuple[float, float, float],
) -> WindowPlan:
    """Evenly spread windows that cover a grid with at least the wanted overlap.

    Args:
        shape: Grid, z, y, x.
        patch: Window, z, y, x.
        overlap: Least share of a window that its neighbor also covers, per axis.
    """
    starts = [
        _starts(size, edge=edge, overlap=share)
        for size, edge, share in zip(shape, patch, overlap, strict=True)
    ]
    boxes = tuple(
        (
            slice(z, z + patch[0]),
            slice(y, y + patch[1]),
            slice(x, x + patch[2]),
        )
        for z, y, x in product(*starts)
    )
    padded = tuple(max(size, edge) for size, edge in zip(shape, patch, strict=True))
    return WindowPlan(boxes, (padded[0], padded[1], padded[2]))


def plan_crops(
    needed: BoolArray,
    *,
    patch: tuple[int, int, int],
    overlap: tuple[float, float, float],
) -> WindowPlan:
    """Windows of a 2D network: one about what is needed in each slice, several where it is larger.

    Args:
        needed: Voxels worth looking at, shape (z, y, x); slices without one get no window.
        patch: Window (1, y, x).
        overlap: Least share of a window that its neighbor also covers, where there are several.
    """
    boxes = []
    for z in np.flatnonzero(needed.any(axis=(1, 2))).tolist():
        rows, columns = (
            _starts_about(needed[z].any(axis=other), edge=patch[axis], overlap=overlap[axis])
            for axis, other in ((1, 1), (2, 0))
        )
        boxes += [
            (slice(z, z + 1), slice(y, y + patch[1]), slice(x, x + patch[2]))
            for y, x in product(rows, columns)
        ]
    depth, height, width = needed.shape
    return WindowPlan(tuple(boxes), (depth, max(height, patch[1]), max(width, patch[2])))


def _starts_about(needed: BoolArray, *, edge: int, overlap: float) -> list[int]:
    """First voxels of the windows along one axis of a slice, inside the grid where it is larger."""
    found = np.flatnonzero(needed)
    first, extent = int(found[0]), int(found[-1] - found[0] + 1)
    if extent > edge:
        return [first + start for start in _starts(extent, edge=edge, overlap=overlap)]
    centered = first - (edge - extent) // 2
    return [min(max(centered, 0), max(len(needed) - edge, 0))]


def _starts(size: int, *, edge: int, overlap: float) -> list[int]:
    """First voxels of the windows along one axis."""
    if size <= edge:
        return [0]
    # In binary, 10 * (1 - 0.8) is a hair below 2.
    step = max(1, int(edge * (1 - overlap) + 1e-6))
    count = -(-(size - edge) // step) + 1
    return [round(i * (size - edge) / (count - 1)) for i in range(count)]


def window_weights(patch: tuple[int, int, int], weighting: Weighting) -> FloatArray:
    """Weight of each voxel of a window, shape of the patch, highest 1, none 0."""
    if weighting is Weighting.UNIFORM:
        return np.ones(patch, dtype=np.float32)
    profiles = [
        np.exp(-0.5 * ((np.arange(edge) - 0.5 * (edge - 1)) / max(edge / 8.0, 0.5)) ** 2)
        for edge in patch
    ]
    weights = profiles[0][:, None, None] * profiles[1][None, :, None] * profiles[2][None, None, :]
    weights /= weights.max()
    # A corner's weight is about 1e-10: sums of such numbers would divide rounding errors.
    return np.asarray(np.maximum(weights, 1e-4), dtype=np.float32)


def predict_windows(
    image: FloatArray,
    *,
    engine: Engine,
    stage: Stage,
    needed: BoolArray,
    on_step: StepProgress,
) -> FloatArray:
    """Probabilities of a whole grid.

    Args:
        image: Network input (normalized), shape (z, y, x).
        engine: The stage's network.
        stage: Patch, overlap, weighting, activation, classes.
        needed: Shape (z, y, x); windows without a set voxel are skipped and count as background.
        on_step: Told after each window.

    Returns:
        float32, shape (1 + structures, z, y, x): background, then `stage.structures`.

    Raises:
        BackendError: If the network gives what is no number, as an overflow does.
    """
    depth, height, width = image.shape
    plan = place_windows(
        needed, dimensions=stage.dimensions, patch=stage.patch, overlap=stage.overlap
    )
    weights = window_weights(stage.patch, stage.weighting)
    total = np.zeros((1 + len(stage.structures), *plan.padded), dtype=np.float32)
    weight_sum = np.zeros(plan.padded, dtype=np.float32)
    padded = _pad_to(image, plan.padded)
    outputs = engine.run_many(_batches(padded, plan.boxes, stage=stage))
    for done, (box, output) in enumerate(zip(plan.boxes, outputs, strict=True), start=1):
        probabilities = class_probabilities(_spatial(output[0], stage), stage)
        total[:, *box] += probabilities * weights
        weight_sum[box] += weights
        on_step(done, len(plan.boxes))
    _fill_unseen(total, weight_sum)
    total /= weight_sum
    # Background is no number wherever any class is none; no comparison would ever notice.
    if not np.isfinite(total[0]).all():
        raise BackendError(
            f"the network '{stage.name}' gave values that are no numbers (NaN).",
            hint="Run it with --precision f32; if that does not help, with --device cpu.",
        )
    return total[:, :depth, :height, :width]


def _batches(image: FloatArray, boxes: tuple[Box, ...], *, stage: Stage) -> Iterator[FloatArray]:
    """Windows as network inputs (1, 1, z, y, x), or (1, 1, y, x) for a 2D network."""
    for box in boxes:
        window = np.ascontiguousarray(image[box])
        yield window[None, None] if stage.dimensions == 3 else window[None]


def _spatial(output: FloatArray, stage: Stage) -> FloatArray:
    """Network output (C, z, y, x), also of a 2D network's (C, y, x)."""
    return output if stage.dimensions == 3 else output[:, None]


def class_probabilities(logits: FloatArray, stage: Stage) -> FloatArray:
    """Network output to probabilities of background and `stage.structures`, over axis 0.

    A sigmoid judges every structure by itself: what none of them claims is background.
    """
    probabilities = activate(logits, stage.activation)
    channels = [stage.classes.index(name) for name in stage.structures]
    if stage.activation is Activation.SOFTMAX:
        return np.asarray(probabilities[[0, *channels]])
    structures = probabilities[channels]
    background = np.float32(1.0) - structures.max(axis=0, keepdims=True)
    return np.concatenate([background, structures])


def activate(logits: FloatArray, activation: Activation) -> FloatArray:
    """Logits to probabilities over axis 0."""
    if activation is Activation.SIGMOID:
        # Written with tanh, which cannot overflow as exp of a large negative number does.
        return np.asarray(0.5 * (1 + np.tanh(0.5 * logits)), dtype=np.float32)
    exponentials = np.exp(logits - logits.max(axis=0, keepdims=True))
    exponentials /= exponentials.sum(axis=0, keepdims=True)
    return np.asarray(exponentials, dtype=np.float32)


def _fill_unseen(total: FloatArray, weight_sum: FloatArray) -> None:
    """Voxels of skipped windows only: certain background."""
    unseen = weight_sum == 0
    if unseen.any():
        total[0][unseen] = 1.0
        weight_sum[unseen] = 1.0


def _pad_to(image: FloatArray, shape: tuple[int, int, int]) -> FloatArray:
    """Extend at the end with the lowest value, which is air for every normalization."""
    missing = [(0, want - have) for want, have in zip(shape, image.shape, strict=True)]
    if not any(after for _, after in missing):
        return image
    return np.pad(image, missing, constant_values=float(image.min()))
