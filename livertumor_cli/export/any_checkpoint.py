"""Whose checkpoint lies at a path: ours, or that of another program."""

from __future__ import annotations

from pathlib import Path

from livertumor_cli.errors import ConfigError, ModelNotFoundError
from livertumor_cli.export.foreign import ForeignNetwork, export_foreign, require_axes
from livertumor_cli.export.monai_bundle import METADATA, find_bundle, read_bundle
from livertumor_cli.export.nnunet import PLANS, find_nnunet, read_nnunet
from livertumor_cli.export.stage_export import ExportedStage, export_stage
from livertumor_cli.recipes.recipe import StageRole


def export_any(
    checkpoint: Path,
    folder: Path,
    *,
    patch: tuple[int, int, int] | None = None,
    role: StageRole | None = None,
    axes: str | None = None,
    half_weights: bool = False,
) -> ExportedStage:
    """Export a checkpoint of this program, a model folder of nnU-Net v2 or a MONAI bundle.

    Args:
        checkpoint: File or folder.
        folder: The recipe's folder; made where it is missing.
        patch: Input size z, y, x; the one that it was trained for when None.
        role: Which stage it becomes; when None lesion for a foreign network, and of ours the one
            that it was trained for.
        axes: Where the axes of the training images of a foreign network point.
        half_weights: Whether the file stores its weights as float16.

    Raises:
        LiverTumorError: As `export_stage`, `read_nnunet`, `read_bundle` and `export_foreign` do.
    """
    try:
        checkpoint.stat()
    except OSError as error:
        raise ModelNotFoundError(f"there is no checkpoint {checkpoint}.") from error
    foreign = _read_foreign(checkpoint, axes=require_axes(axes) if axes else None)
    if foreign is not None:
        role = role or StageRole.LESION
        return export_foreign(foreign, folder, role=role, patch=patch, half_weights=half_weights)
    if checkpoint.is_dir():
        raise ModelNotFoundError(
            f"{checkpoint} is neither a model folder of nnU-Net v2, which has {PLANS}, nor a MONAI "
            f"bundle, which has {METADATA}.",
            hint="Of a run of `livertumor train` give best.safetensors.",
        )
    if axes is not None:
        raise ConfigError("--axes is for checkpoints of other programs.")
    return export_stage(checkpoint, folder, patch=patch, role=role, half_weights=half_weights)


def _read_foreign(checkpoint: Path, *, axes: str | None) -> ForeignNetwork | None:
    files = find_nnunet(checkpoint)
    if files is not None:
        return read_nnunet(files, axes=axes)
    if find_bundle(checkpoint) is not None:
        return read_bundle(checkpoint, axes=axes)
    return None
