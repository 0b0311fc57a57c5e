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
    from livertumor_cli.cli.extras import require_extra

    require_extra("export")
    from livertumor_cli.export.stage_export import export_stage

    stage = export_stage(checkpoint, output, patch=patch)
    click.echo(
        f"{stage.file}: largest logit difference {stage.agreement.logit_difference:.1e}, "
        f"class changed in {stage.agreement.changed_share:.1e} of the voxels"
    )
