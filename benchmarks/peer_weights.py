"""Weights and recipes for the comparison with other programs: the same for all of them.

Masks of random weights are noise, which no two programs interpolate alike. So a network is taught
for some minutes the very phantom that it will see. Time does not depend on what the weights are.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peer_networks import CLASSES, HU_WINDOW, NOISE_HU, OVERLAP, SEED, Setup, build_network
from torch import nn

from livertumor_cli.anatomy import Label
from livertumor_cli.arrays import FloatArray, LabelArray
from livertumor_cli.export.onnx_export import write_onnx
from livertumor_cli.file_digest import sha256_of
from livertumor_cli.geometry import Box
from livertumor_cli.inference.intensity import prepare_intensity
from livertumor_cli.phantom import PhantomSpec, make_phantom
from livertumor_cli.recipes.recipe import (
    RECIPE_FILE,
    Activation,
    Fusion,
    Normalization,
    Recipe,
    Stage,
    StageRole,
    Weighting,
    to_toml,
)
from livertumor_cli.recipes.store import find_recipe

TOLD_EVERY = 20


@dataclass(frozen=True)
class Round:
    """A part of the teaching.

    Attributes:
        share: Of the steps asked for.
        rate: Highest learning rate.
        windows: At once.
        small: Whether they are SMALL_WINDOW, not as large as the network's input.
    """

    share: float
    rate: float
    windows: int = 1
    small: bool = False


SMALL_WINDOW = (16, 64, 64)

ROUNDS = {
    "unet3d": (
        Round(1.0, 1e-2, windows=2, small=True),
        Round(0.5, 3e-3, windows=2, small=True),
    ),
    "uca-net": (
        Round(0.25, 1e-2),
        Round(0.15, 3e-3),
        Round(0.25, 3e-3),
        Round(0.25, 3e-3),
    ),
    "nnunet": (Round(0.25, 1e-2), Round(0.15, 3e-3), Round(0.25, 5e-3)),
    "nnunet-bn": (
        Round(1.0, 1e-2, windows=2, small=True),
        Round(0.5, 3e-3, windows=2, small=True),
    ),
}
"""Attention and instance norm weigh all of a window: what was taught in small windows draws
something else in larger ones. So those networks see whole windows, of which one shows as much as
eight small ones."""

ABDOMEN_MM = (240.0, 360.0, 400.0)


def main() -> None:
    values = json.loads(sys.argv[1])
    prepare(Setup(**values["setup"]), Path(values["folder"]), steps=values["steps"])


def prepare(setup: Setup, folder: Path, *, steps: int) -> None:
    """Write the recipes `plain` and `cascade` and `weights.pt`, unless they are there already."""
    note, wanted = folder / "taught.json", what_is_taught(setup, steps=steps)
    if note.exists() and json.loads(note.read_text(encoding="utf-8")) == wanted:
        return
    note.unlink(missing_ok=True)
    torch.manual_seed(SEED)
    network = build_network(setup.network, setup.width)
    fit(network, setup, steps=steps)
    for name in ("plain", "cascade"):
        write_recipe(folder / name, network, setup, finds_liver=name == "cascade")
    torch.save(network.state_dict(), folder / "weights.pt")
    # Last: where it is, the others are whole.
    note.write_text(json.dumps(wanted), encoding="utf-8")


def what_is_taught(setup: Setup, *, steps: int) -> dict[str, Any]:
    """All that decides about the weights; what differs from it is taught anew."""
    rounds = [asdict(part) for part in ROUNDS[setup.network]]
    liver = find_recipe("uca-net").stage(StageRole.LIVER).sha256
    asked = {"setup": asdict(setup), "steps": steps, "rounds": rounds, "liver": liver}
    kept: dict[str, Any] = json.loads(json.dumps(asked))  # tuples as the note will read
    return kept


def write_recipe(folder: Path, network: nn.Module, setup: Setup, *, finds_liver: bool) -> None:
    """A recipe of the network alone, or with the shipped liver stage before it."""
    file = folder / "lesion.onnx"
    write_onnx(network, file, patch=tuple(setup.patch), metadata={})
    stages = [lesion_stage(setup, sha256=sha256_of(file))]
    shipped = find_recipe("uca-net")
    if finds_liver:
        liver = shipped.stage(StageRole.LIVER)
        (folder / liver.file).write_bytes(shipped.stage_path(liver).read_bytes())
        stages.insert(0, liver)
    recipe = Recipe(
        folder=folder,
        name="peers",
        title=f"{setup.network} for a comparison",
        version="1",
        citation="none",
        training_data="a phantom",
        license="Apache-2.0",
        liver_box_margin_mm=shipped.liver_box_margin_mm,
        stages=tuple(stages),
    )
    (folder / RECIPE_FILE).write_text(to_toml(recipe), encoding="utf-8")


def lesion_stage(setup: Setup, *, sha256: str = "0" * 64) -> Stage:
    return Stage(
        name=StageRole.LESION,
        network=setup.network,
        file="lesion.onnx",
        sha256=sha256,
        dimensions=3,
        spacing_mm=tuple(setup.spacing_mm),
        patch=tuple(setup.patch),
        overlap=(OVERLAP,) * 3,
        weighting=Weighting.GAUSSIAN,
        hu_window=HU_WINDOW,
        percentiles=None,
        normalization=Normalization.UNIT,
        classes=CLASSES,
        activation=Activation.SOFTMAX,
        scales=(1.0,),
        fusion=Fusion.MEAN,
    )


def fit(network: nn.Module, setup: Setup, *, steps: int) -> None:
    """Teach a network the phantom that it will see, until its masks have clear outlines."""
    arrays = phantom_arrays(setup)
    network.train().to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    for number, part in enumerate(ROUNDS[setup.network]):
        window = SMALL_WINDOW if part.small else setup.patch
        patch = [min(pair) for pair in zip(setup.patch, window, strict=True)]
        teach(network, arrays, part, steps=round(part.share * steps), patch=patch, seed=number)
    network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    network.eval()


def teach(
    network: nn.Module,
    arrays: tuple[FloatArray, LabelArray],
    part: Round,
    *,
    steps: int,
    patch: list[int],
    seed: int,
) -> None:
    """One round: the learning rate rises and falls once."""
    image, labels = arrays
    random = np.random.default_rng((SEED, seed))
    optimizer = torch.optim.Adam(network.parameters(), lr=part.rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=part.rate, total_steps=steps)
    for step in range(steps):
        wanted = [(step + shift) % len(CLASSES) for shift in range(part.windows)]
        boxes = [random_box(labels, patch, random, label=label) for label in wanted]
        inputs = torch.from_numpy(np.stack([image[box][None] for box in boxes]))
        truth = torch.from_numpy(np.stack([labels[box] for box in boxes]).astype(np.int64))
        loss = nn.functional.cross_entropy(network(inputs), truth)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if (step + 1) % TOLD_EVERY == 0:
            print(f"loss {loss.item():.3f} after {step + 1} of {steps} steps", flush=True)


def phantom_arrays(setup: Setup) -> tuple[FloatArray, LabelArray]:
    """A phantom's abdomen on the network's grid: its input, and values 0 to 2 of CLASSES."""
    size = [
        max(round(extent / step), edge)
        for extent, step, edge in zip(ABDOMEN_MM, setup.spacing_mm, setup.patch, strict=True)
    ]
    phantom = make_phantom(
        PhantomSpec(
            seed=SEED,
            shape=(size[0], size[1], size[2]),
            spacing_mm=tuple(setup.spacing_mm),
            noise_hu=NOISE_HU,
        )
    )
    image = prepare_intensity(phantom.volume.hu, lesion_stage(setup))
    labels = np.where(phantom.labels == Label.VESSEL, Label.LIVER, phantom.labels)
    return image, labels.astype(np.uint8)


def random_box(
    labels: LabelArray, patch: list[int], random: np.random.Generator, *, label: int
) -> Box:
    """A window about a random voxel of a class, inside the grid."""
    places = np.argwhere(labels == label)
    middle = places[random.integers(len(places))]
    starts = [
        int(np.clip(center - edge // 2, 0, size - edge))
        for center, edge, size in zip(middle, patch, labels.shape, strict=True)
    ]
    z, y, x = (slice(start, start + edge) for start, edge in zip(starts, patch, strict=True))
    return z, y, x


if __name__ == "__main__":
    main()
