"""A recipe whose networks are thresholds, and a patient it segments exactly.

The patient is made of nested balls, each brighter than what holds it: body 20, liver 100, tumor
160, vessel 220 HU. So a label is the number of thresholds that the HU exceed, also on soft edges
between neighbors, and the truth is known at every point and not only at voxels.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from livertumor_cli.anatomy import SEGMENT_CLASSES
from livertumor_cli.engine.engine import Device, EngineKind
from livertumor_cli.geometry import Geometry
from livertumor_cli.recipes.recipe import (
    Activation,
    Fusion,
    Normalization,
    Recipe,
    Stage,
    StageRole,
    Weighting,
    to_toml,
)
from livertumor_cli.segment_setup import SegmentOptions
from livertumor_cli.volume import Volume

WINDOW_HU = (-160.0, 240.0)
AIR, BODY, LIVER, TUMOR, VESSEL = -1000, 20, 100, 160, 220
THRESHOLDS_HU = (60.5, 130.5, 190.5)
"""From here on liver, tumor, vessel; halves, so that no whole number lies on one."""

SEGMENT_THRESHOLDS_HU = (0.5, 60.5, 130.5, 190.5, 225.5, 228.5, 231.5, 234.5)
"""The toy's segment II is the liver without its tumor, III the tumor, IV the vessel."""

GAIN = 20.0
"""Steepness of the logits: low enough that probabilities stay smooth between two voxels."""


@dataclass(frozen=True)
class Ball:
    center_mm: tuple[float, float, float]
    radius_mm: float

    def depth_mm(self, lps_mm: np.ndarray) -> np.ndarray:
        """Distance to the surface, positive inside."""
        return self.radius_mm - np.linalg.norm(lps_mm - np.array(self.center_mm), axis=-1)


@dataclass(frozen=True)
class Patient:
    """The balls; none for a part that the patient lacks."""

    body: Ball = Ball((0.0, 0.0, 0.0), 70.0)
    liver: Ball | None = Ball((-8.0, 4.0, 5.0), 34.0)
    tumor: Ball | None = Ball((-18.0, 9.0, 11.0), 13.0)
    vessel: Ball | None = Ball((-16.0, 11.0, 13.0), 5.0)

    def scan(self, geometry: Geometry, *, edge_mm: float = 5.0) -> Volume:
        """The patient on a grid; HU change over `edge_mm` at every surface (0: at once)."""
        points = grid_points(geometry)
        hu = np.full(geometry.shape, float(AIR))
        levels = [AIR, BODY, LIVER, TUMOR, VESSEL]
        balls = [self.body, self.liver, self.tumor, self.vessel]
        for ball, below, level in zip(balls, levels, levels[1:], strict=False):
            if ball is not None:
                depth = ball.depth_mm(points)
                share = np.clip(depth / edge_mm + 0.5, 0, 1) if edge_mm else depth > 0
                hu += (level - below) * share
        return Volume(np.rint(hu).astype(np.int16), geometry)

    def truth(self, geometry: Geometry) -> np.ndarray:
        """The label of every voxel of a grid."""
        points = grid_points(geometry)
        labels = np.zeros(geometry.shape, dtype=np.uint8)
        for value, ball in enumerate((self.liver, self.tumor, self.vessel), start=1):
            if ball is not None:
                labels[ball.depth_mm(points) > 0] = value
        return labels


def grid_points(geometry: Geometry) -> np.ndarray:
    """LPS mm of every voxel center, shape (z, y, x, 3)."""
    return geometry.index_to_lps(np.stack(np.indices(geometry.shape), axis=-1).astype(float))


def centered_grid(
    shape: tuple[int, int, int] = (40, 64, 64),
    *,
    spacing_mm: tuple[float, float, float] = (3.0, 2.0, 2.0),
    rotation: np.ndarray | None = None,
) -> Geometry:
    """A grid around the patient's middle; `rotation` has the unit vectors of x, y, z as columns."""
    affine = np.eye(4)
    affine[:3, :3] = (np.eye(3) if rotation is None else rotation) * np.array(spacing_mm)[::-1]
    middle = (np.array(shape[::-1]) - 1) / 2
    affine[:3, 3] = -affine[:3, :3] @ middle
    return Geometry(shape, affine)


def rotation_matrix(degrees: tuple[float, float, float]) -> np.ndarray:
    """A turn around x, then y, then z."""
    turn = np.eye(3)
    for axis, angle in enumerate(np.radians(degrees)):
        first, second = (axis + 1) % 3, (axis + 2) % 3
        step = np.eye(3)
        step[[first, second], [first, second]] = np.cos(angle)
        step[first, second], step[second, first] = -np.sin(angle), np.sin(angle)
        turn = step @ turn
    return turn


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))


def write_model(path: Path, patch: tuple[int, ...], thresholds_hu: tuple[float, ...]) -> str:
    """A 1x1 convolution whose softmax has class k + 1 win where HU exceed threshold k."""
    low, high = WINDOW_HU
    steps = GAIN * (np.array(thresholds_hu) - low) / (high - low)
    classes = len(thresholds_hu) + 1
    weights = GAIN * np.arange(classes, dtype=np.float32).reshape(classes, 1, *[1] * len(patch))
    bias = -np.concatenate([[0.0], np.cumsum(steps)]).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("Conv", ["image", "weights", "bias"], ["logits"])],
        "thresholds",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 1, *patch])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, classes, *patch])],
        [
            onnx.numpy_helper.from_array(weights, "weights"),
            onnx.numpy_helper.from_array(bias, "bias"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString())
    return hashlib.sha256(path.read_bytes()).hexdigest()


def toy_stage(**changes: Any) -> Stage:
    """The lesion stage; `changes` replace its values."""
    values: dict[str, Any] = {
        "name": StageRole.LESION,
        "network": "thresholds",
        "file": "lesion.onnx",
        "sha256": "0" * 64,
        "dimensions": 3,
        "spacing_mm": None,
        "patch": (16, 32, 32),
        "overlap": (0.5, 0.25, 0.25),
        "weighting": Weighting.GAUSSIAN,
        "hu_window": WINDOW_HU,
        "percentiles": None,
        "normalization": Normalization.UNIT,
        "classes": ("background", "liver", "tumor", "vessel"),
        "activation": Activation.SOFTMAX,
        "scales": (1.0,),
        "fusion": Fusion.MEAN,
    }
    return Stage(**(values | changes))


def segment_stage(**changes: Any) -> Stage:
    """The stage of segments on a 4 mm grid, blind to what is no liver."""
    values: dict[str, Any] = {
        "name": StageRole.SEGMENTS,
        "file": "segments.onnx",
        "spacing_mm": (4.0, 4.0, 4.0),
        "patch": (24, 24, 24),
        "classes": ("background", *SEGMENT_CLASSES),
        "surroundings_mm": 0.0,
    }
    return toy_stage(**(values | changes))


def blind_opinion(folder: Path, **changes: Any) -> Stage:
    """A second opinion on a 4 mm grid that sees the liver and never a tumor; writes its model."""
    sha = write_model(folder / "second.onnx", (16, 16, 16), (THRESHOLDS_HU[0], 10_000))
    values: dict[str, Any] = {
        "name": StageRole.SECOND_OPINION,
        "file": "second.onnx",
        "sha256": sha,
        "spacing_mm": (4.0, 4.0, 4.0),
        "patch": (16, 16, 16),
        "classes": ("background", "liver", "tumor"),
    }
    return toy_stage(**(values | changes))


def write_toy_recipe(
    folder: Path, *, margin_mm: float = 8.0, segments: bool = False, **changes: Any
) -> Recipe:
    """Liver stage on a 4 mm grid, lesion stage on the scan's own unless `changes` say else."""
    lesion = toy_stage(**changes)
    patch = lesion.network_patch
    lesion_sha = write_model(folder / "lesion.onnx", patch, THRESHOLDS_HU)
    liver_sha = write_model(folder / "liver.onnx", (16, 16, 16), THRESHOLDS_HU[:1])
    liver = toy_stage(
        name=StageRole.LIVER,
        file="liver.onnx",
        sha256=liver_sha,
        spacing_mm=(4.0, 4.0, 4.0),
        patch=(16, 16, 16),
        classes=("background", "liver"),
    )
    stages = [liver, toy_stage(**(changes | {"sha256": lesion_sha}))]
    if segments:
        sha = write_model(folder / "segments.onnx", (24, 24, 24), SEGMENT_THRESHOLDS_HU)
        stages.append(segment_stage(sha256=sha))
    recipe = Recipe(
        folder=folder,
        name="toy",
        title="Thresholds",
        version="1.0",
        citation="none",
        training_data="none",
        license="Apache-2.0",
        liver_box_margin_mm=margin_mm,
        stages=tuple(stages),
    )
    (folder / "recipe.toml").write_text(to_toml(recipe), encoding="utf-8")
    return recipe


def toy_options(folder: Path, **changes: Any) -> SegmentOptions:
    """ONNX Runtime on one CPU thread: it opens faster than a tiny scan takes."""
    values: dict[str, Any] = {
        "recipe": str(folder),
        "device": Device.CPU,
        "engine": EngineKind.ONNXRUNTIME,
        "threads": 1,
    }
    return SegmentOptions(**(values | changes))


def silent(step: str, done: int, total: int) -> None:
    """A progress callback for tests."""
