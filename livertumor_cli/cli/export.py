"""`livertumor export CHECKPOINT -o weights/NAME/`: a trained stage as checked ONNX in a recipe."""

from __future__ import annotations

from pathlib import Path

import click

from livertumor_cli.cli.options import FOLDER


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option(
    "--output",
    "-o",
    type=FOLDER,
    required=True,
    help="Folder of the recipe; its recipe.toml is written or updated.",
)
@click.option(
    "--patch",
    nargs=3,
    type=click.IntRange(1),
    metavar="Z Y X",
    help="Input size in voxels; Z is 1 for a 2D network (default: the one that fits the task).",
)
def export(checkpoint: Path, output: Path, patch: tuple[int, int, int] | None) -> None:
    """Export CHECKPOINT, a .safetensors file of `livertumor train`, and prove it against torch.

    Example: livertumor export runs/lesion/best.safetensors -o weights/uca-net
    """
    from livertumor_cli.cli.extras import require_extra

    require_extra("export")
    from livertumor_cli.export.stage_export import export_stage

    stage = export_stage(checkpoint, output, patch=patch)
    click.echo(
        f"{stage.file}: largest logit difference {stage.agreement.logit_difference:.1e}, "
        f"class changed in {stage.agreement.changed_share:.1e} of the voxels"
    )
