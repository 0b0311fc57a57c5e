"""`livertumor export CHECKPOINT -o weights/NAME/`: a trained stage as checked ONNX in a recipe."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder of the recipe; its recipe.toml is written or updated.",
)
@click.option(
    "--patch",
    nargs=3,
    type=click.IntRange(8),
    metavar="Z Y X",
    help="Input size in voxels (default: the one that fits the task best).",
)
def export(checkpoint: Path, output: Path, patch: tuple[int, int, int] | None) -> None:
    """Export CHECKPOINT, a .safetensors file of `livertumor train`, and prove it against torch.

    Example: livertumor export runs/lesion/model.safetensors -o weights/uca-net
    """
    import numpy as np

    from livertumor_cli.errors import ConfigError, ModelError
    from livertumor_cli.export.onnx_export import (
        compare_with_torch,
        require_agreement,
        write_onnx,
    )
    from livertumor_cli.export.to_recipe import put_stage, require_place, stage_of
    from livertumor_cli.inference.intensity import prepare_intensity
    from livertumor_cli.inference.resample import patient_grid, resample_to
    from livertumor_cli.phantom import PhantomSpec, make_phantom
    from livertumor_cli.training.checkpoint import load_weights, read_metadata
    from livertumor_cli.training.tasks import find_task

    name = read_metadata(checkpoint).get("task", "")
    if not name:
        raise ModelError(f"{checkpoint} does not say which task it was trained for.")
    task = find_task(name)
    require_place(output, task)
    sizes = patch or task.inference_patch
    if any(size % task.divisor for size in sizes):
        raise ConfigError(f"every size of --patch must be divisible by {task.divisor}.")
    network = task.build()
    metadata = load_weights(checkpoint, network)
    role = name.rpartition("/")[2]
    file = output / f"{role}.onnx"
    write_onnx(network, file, patch=sizes, metadata={"livertumor": name, **metadata})
    stage = stage_of(task, file=file, patch=sizes)
    volume = make_phantom(PhantomSpec(seed=7, shape=(60, 160, 192), spacing_mm=(4, 2, 2))).volume
    grid = patient_grid(volume.geometry, task.spacing_mm)
    hu = resample_to(volume.hu, volume.geometry, target=grid, outside_hu=-1024)
    prepared = prepare_intensity(hu, stage)
    drawn = np.zeros(sizes, dtype=np.float32)
    part = tuple(slice(0, min(a, b)) for a, b in zip(sizes, prepared.shape, strict=True))
    drawn[part] = prepared[part]
    random = np.random.default_rng(0).random(sizes, dtype=np.float32)
    agreement = compare_with_torch(network, file, [drawn, random])
    require_agreement(agreement, file)
    put_stage(output, stage, task=task)
    click.echo(
        f"{file}: largest logit difference {agreement.logit_difference:.1e}, "
        f"class changed in {agreement.changed_share:.1e} of the voxels"
    )
