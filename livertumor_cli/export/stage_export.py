"""From a training checkpoint to a stage of a recipe, taken in only when it has proven itself."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from torch import nn

from livertumor_cli.arrays import FloatArray
from livertumor_cli.errors import ConfigError, ModelError
from livertumor_cli.export.half_weights import halve_weights
from livertumor_cli.export.onnx_export import (
    Agreement,
    compare_with_torch,
    require_agreement,
    require_half_agreement,
    write_onnx,
)
from livertumor_cli.export.to_recipe import (
    put_stage,
    recipe_with,
    require_place,
    role_of,
    stage_of,
)
from livertumor_cli.file_digest import sha256_of
from livertumor_cli.geometry import Spacing
from livertumor_cli.inference.intensity import prepare_intensity
from livertumor_cli.inference.resample import patient_grid, resample_to
from livertumor_cli.io.atomic import make_folder, output_error
from livertumor_cli.phantom import PhantomSpec, make_phantom
from livertumor_cli.recipes.recipe import Stage, StageRole
from livertumor_cli.training.checkpoint import load_weights, read_metadata
from livertumor_cli.training.tasks import Task, find_task

PROOF_PHANTOM = PhantomSpec(seed=7, shape=(60, 160, 192), spacing_mm=(4.0, 2.0, 2.0))
"""The drawing that torch and ONNX must agree on; no training phantom."""

AIR_HU = -1024.0


@dataclass(frozen=True, slots=True)
class ExportedStage:
    """A stage that has taken its place.

    Attributes:
        file: The ONNX file in the recipe's folder.
        agreement: How far it departs from the torch network.
    """

    file: Path
    agreement: Agreement


def export_stage(
    checkpoint: Path,
    folder: Path,
    *,
    patch: tuple[int, int, int] | None = None,
    role: StageRole | None = None,
    half_weights: bool = False,
) -> ExportedStage:
    """Export a checkpoint into a recipe's folder, where it replaces an older file of its stage.

    Args:
        checkpoint: Weights that `livertumor train` wrote.
        folder: The recipe's folder; made where it is missing.
        patch: Input size z, y, x; the task's own when None.
        role: Which stage it becomes; the one that it was trained for when None.
        half_weights: Whether the file stores its weights as float16.

    Raises:
        ConfigError: If the patch does not fit the network, or the stage the recipe.
        ModelError: If the checkpoint cannot be used.
        ModelContractError: If the file does not compute what the network computes; the folder is
            then as it was.
        OutputError: If the folder cannot be written.
    """
    task = _task_of(checkpoint)
    role = role_of(task, role)
    require_place(folder, role)
    sizes = patch or task.inference_patch
    _require_fitting(sizes, task)
    # Before any work: the stage must go with those that are there.
    recipe_with(folder, stage_of(task, role=role, patch=sizes), task=task)
    network = task.build()
    metadata = load_weights(checkpoint, network)
    with workplace(folder) as inside:
        file = Path(inside) / f"{role}.onnx"
        axes = sizes[-task.dimensions :]
        write_onnx(network, file, patch=axes, metadata={"livertumor": task.name, **metadata})
        stage = stage_of(task, role=role, patch=sizes, sha256=sha256_of(file))
        stage, agreement = proven(
            stage, file, network, spacing_mm=task.spacing_mm, half_weights=half_weights
        )
        # Only now: a recipe must never name a file that has not proven itself.
        file = file.replace(folder / file.name)
    put_stage(folder, stage, task=task)
    return ExportedStage(file, agreement)


def _task_of(checkpoint: Path) -> Task:
    name = read_metadata(checkpoint).get("task", "")
    if not name:
        raise ModelError(f"{checkpoint} does not say which task it was trained for.")
    return find_task(name)


def _require_fitting(sizes: tuple[int, int, int], task: Task) -> None:
    """Refuse a patch that the network cannot halve as often as it has to."""
    if any(size % task.divisor for size in sizes[-task.dimensions :]):
        raise ConfigError(f"every size of --patch must be divisible by {task.divisor}.")
    if task.dimensions == 2 and sizes[0] != 1:
        raise ConfigError(f"{task.network} sees slices: the first size of --patch must be 1.")


def workplace(folder: Path) -> TemporaryDirectory[str]:
    """A hidden folder inside the recipe's: a rename works within one disk only."""
    make_folder(folder)
    try:
        return TemporaryDirectory(prefix=".export-", dir=folder)
    except OSError as error:
        raise output_error(error, path=folder) from error


def proven(
    stage: Stage, file: Path, network: nn.Module, *, spacing_mm: Spacing, half_weights: bool
) -> tuple[Stage, Agreement]:
    """A stage whose file computes what its network computes, and how far the two are apart.

    Args:
        stage: As the recipe is to name it.
        file: Its ONNX file in float32; its weights become float16 where that is asked.
        network: In torch.
        spacing_mm: Grid of the network.
        half_weights: Whether the file stores float16; the stage then says what that changes.

    Raises:
        ModelContractError: If the file differs from the network.
    """
    images = proof_images(stage, spacing_mm=spacing_mm)
    agreement = compare_with_torch(network, file, images, activation=stage.activation)
    require_agreement(agreement, file)
    if not half_weights:
        return stage, agreement
    # After the proof in float32: what differs from here on is the rounding of the weights alone.
    halve_weights(file)
    agreement = compare_with_torch(network, file, images, activation=stage.activation)
    require_half_agreement(agreement, file)
    share = agreement.changed_share
    return replace(stage, sha256=sha256_of(file), half_weights_changed_share=share), agreement


def proof_images(stage: Stage, *, spacing_mm: Spacing) -> list[FloatArray]:
    """The middle of a phantom, prepared as for inference, and noise; each as the network sees it.

    Args:
        stage: Patch and intensities.
        spacing_mm: Its grid.
    """
    volume = make_phantom(PROOF_PHANTOM).volume
    grid = patient_grid(volume.geometry, spacing_mm)
    hu = resample_to(volume.hu, volume.geometry, target=grid, outside_hu=AIR_HU)
    prepared = prepare_intensity(hu, stage)
    drawn = np.zeros(stage.patch, dtype=np.float32)
    common = [min(pair) for pair in zip(stage.patch, prepared.shape, strict=True)]
    drawn[_middle(stage.patch, common)] = prepared[_middle(prepared.shape, common)]
    noise = np.random.default_rng(0).random(stage.patch, dtype=np.float32)
    return [image.reshape(stage.network_patch) for image in (drawn, noise)]


def _middle(shape: tuple[int, ...], size: list[int]) -> tuple[slice, ...]:
    """The box of that size in the middle of an array."""
    starts = [(whole - part) // 2 for whole, part in zip(shape, size, strict=True)]
    return tuple(slice(start, start + part) for start, part in zip(starts, size, strict=True))
