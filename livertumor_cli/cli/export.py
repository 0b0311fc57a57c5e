"""`livertumor export CHECKPOINT -o weights/NAME/`: a trained stage as checked ONNX in a recipe."""

from __future__ import annotations

from pathlib import Path

import click

from livertumor_cli.cli.options import PATH


@click.command()
@click.argument("checkpoint", type=PATH)
@click.option(
    "--output",
    "-o",
    type=PATH,
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
@click.option(
    "--stage",
    type=click.Choice(["liver", "lesion", "second_opinion"]),
    default=None,
    help="What the network becomes (default: what it was trained for, lesion if it does not say).",
)
@click.option(
    "--axes",
    default=None,
    metavar="CODE",
    help="Where x, y, z of its training images point, such as RAS (default: LPS).",
)
@click.option(
    "--half-weights",
    is_flag=True,
    help="Store the weights as float16: half the file, the same arithmetic.",
)
def export(
    checkpoint: Path,
    output: Path,
    patch: tuple[int, int, int] | None,
    stage: str | None,
    axes: str | None,
    half_weights: bool,
) -> None:
    """Export CHECKPOINT as ONNX into a recipe, and prove it against torch.

    CHECKPOINT is a .safetensors file of `livertumor train`, a model folder of nnU-Net v2 or a MONAI
    bundle. Nothing in it is executed. A recipe begins with its lesion stage; then a liver stage, a
    second opinion and one for segments may join it.

    Example: livertumor export runs/lesion/best.safetensors -o weights/uca-net
    """
    from livertumor_cli.cli.extras import require_extra

    require_extra("export")
    from livertumor_cli.export.any_checkpoint import export_any
    from livertumor_cli.recipes.recipe import StageRole

    role = StageRole(stage) if stage else None
    exported = export_any(
        checkpoint, output, patch=patch, role=role, axes=axes, half_weights=half_weights
    )
    click.echo(
        f"{exported.file}: largest logit difference {exported.agreement.logit_difference:.1e}, "
        f"class changed in {exported.agreement.changed_share:.1e} of the voxels"
    )
