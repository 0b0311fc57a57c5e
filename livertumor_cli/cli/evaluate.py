"""`livertumor evaluate`: label maps against references, by the protocol of the LiTS challenge."""

from __future__ import annotations

from pathlib import Path

import click

from livertumor_cli.cli.console import write_json
from livertumor_cli.cli.options import PATH
from livertumor_cli.cli.progress import show_progress


@click.command()
@click.argument("prediction", type=PATH)
@click.argument("reference", type=PATH)
@click.option("--common", is_flag=True, help="Score the cases that both folders have.")
@click.option(
    "--output",
    "-o",
    type=PATH,
    default=None,
    help="Folder for evaluation.json, cases.csv and lesions.csv (default: none is written).",
)
@click.option("--overwrite", is_flag=True, help="Replace an earlier evaluation in that folder.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of tables.")
@click.option("--quiet", "-q", is_flag=True, help="No progress.")
def evaluate(
    prediction: Path,
    reference: Path,
    common: bool,
    output: Path | None,
    overwrite: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Compare PREDICTION with REFERENCE: two label maps, or two folders of them.

    Label maps are .nii or .nii.gz on the same grid, with 1 liver, 2 tumor, 3 vessel; liver means
    all three together. In folders a case is a file NAME.nii.gz, or a folder NAME as 'segment'
    writes it; cases are matched by their names. Values that do not exist, such as the distance to
    an empty mask, are shown as "-" and null in JSON.

    Example: livertumor evaluate results/scan01/mask.nii.gz references/scan01.nii.gz
    """
    from livertumor_cli.cli.evaluation_tables import print_case, print_cohort
    from livertumor_cli.evaluation import EVALUATION_FILES, write_evaluation
    from livertumor_cli.evaluation import evaluate as score
    from livertumor_cli.io.output_folder import require_writable
    from livertumor_cli.io.place import require_there

    if output is not None:
        require_writable(output, files=EVALUATION_FILES, overwrite=overwrite)
    require_there(prediction)
    with show_progress(quiet=quiet or prediction.is_file()) as progress:
        document = score(prediction, reference, only_common=common, progress=progress)
    if output is not None:
        write_evaluation(document, output, overwrite=overwrite)
    if as_json:
        write_json(document)
        return
    if "summary" in document:
        print_cohort(document)
    else:
        print_case(document)
    if output is not None:
        click.echo(str(output))
