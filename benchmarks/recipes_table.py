"""One Markdown table: every recipe on the validation cases, and the papers' figures beside it.

    python benchmarks/recipes_table.py --data ../shared/ct --work /tmp/recipes
    python benchmarks/recipes_table.py --data ../shared/ct --work /tmp/recipes --recipes uca-net
    python benchmarks/recipes_table.py ... --cases lits-029 --threads 1      # a trial

Every case is segmented by the command in a process of its own, so that seconds and memory are
those of a user, once with the scales {1.0} and once with {0.5, 1.0, 1.5}. Results stay in the work
folder: what is there with the same weights is not run again, so the command may be interrupted.
Masks are scored as `livertumor evaluate` does. The table goes to stdout or to the file after
`--output`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from validation import case_names, reference_labels

from livertumor_cli.evaluation import compare_label_maps
from livertumor_cli.io.atomic import write_text
from livertumor_cli.io.label_maps import read_label_map
from livertumor_cli.measure.cohort import CohortAgreement, summarize
from livertumor_cli.recipes.recipe import Recipe, StageRole
from livertumor_cli.recipes.store import find_recipe, recipe_folders, weights_bytes

SCALES = ("1.0", "0.5,1.0,1.5")
SIZE_OF_INTEREST_MM = 10.0
AUTHORS = Path(__file__).with_name("authors_figures.toml")
STRUCTURES = ("liver", "tumor", "vessel")

COLUMNS = (
    *("Recipe", "Scales", "Liver Dice", "Tumor Dice", "where there is one", "Tumor global"),
    "Vessel Dice",
    *("Liver HD95 mm", "Tumor ASSD mm", "Recall", "Recall over 10 mm", "Precision"),
    *("Burden RMSE %", "Size MB", "Seconds", "Memory MB"),
)


@dataclass(frozen=True)
class Run:
    """A recipe at some scales on all cases."""

    recipe: Recipe
    scales: str
    cohort: CohortAgreement
    tumor_dice: float
    """Mean over the cases that have a tumor."""
    seconds: float
    memory_mb: float


def main() -> None:
    options = parse()
    cases = options.cases or case_names(options.data, split="validation")
    names = options.recipes or list(recipe_folders())
    runs = [
        run_recipe(find_recipe(name), scales, cases=cases, options=options)
        for name in names
        for scales in SCALES
    ]
    text = table(runs, cases=cases)
    if options.output:
        write_text(options.output, text)
    else:
        print(text, end="")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True, help="folder for the results")
    parser.add_argument("--recipes", nargs="+", help="default: all that are installed")
    parser.add_argument("--cases", nargs="+", help="default: the validation split")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--threads", default=None)
    parser.add_argument("--output", type=Path, help="Markdown file")
    return parser.parse_args()


def run_recipe(
    recipe: Recipe, scales: str, *, cases: list[str], options: argparse.Namespace
) -> Run:
    """Segment what is not there yet, and score all cases."""
    agreements, reports = [], []
    for case in cases:
        target = options.work / recipe.name / scales.replace(",", "_") / case
        report = finished_report(target, recipe)
        if report is None:
            print(f"{recipe.name}, scales {scales}, {case}", file=sys.stderr, flush=True)
            report = segment(options.data / case / "ct.nii.gz", target, recipe, scales, options)
        reports.append(report)
        mask = read_label_map(target / "mask.nii.gz")
        agreements.append(compare_label_maps(mask, reference_labels(options.data / case)))
    return Run(
        recipe,
        scales,
        summarize(agreements),
        tumor_dice=float(
            np.mean(
                [
                    part.overlap.dice
                    for agreement in agreements
                    for part in agreement.structures
                    if part.name == "tumor" and agreement.lesions
                ]
            )
        ),
        seconds=float(np.mean([sum(report["timings_s"].values()) for report in reports])),
        memory_mb=max(report["peak_memory_mb"] for report in reports),
    )


def finished_report(target: Path, recipe: Recipe) -> dict[str, Any] | None:
    """The report of an earlier run with the same weights; None where there is none."""
    path = target / "report.json"
    if not path.is_file():
        return None
    report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    weights = {stage.file: stage.sha256 for stage in recipe.stages}
    return report if report["recipe"]["files"] == weights else None


def segment(
    scan: Path, target: Path, recipe: Recipe, scales: str, options: argparse.Namespace
) -> dict[str, Any]:
    command = [sys.executable, "-m", "livertumor_cli", "segment", str(scan), "-o", str(target)]
    command += ["--recipe", str(recipe.folder), "--scales", scales, "--overwrite", "--quiet"]
    command += ["--precision", options.precision]
    if options.threads:
        command += ["--threads", options.threads]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    report: dict[str, Any] = json.loads((target / "report.json").read_text(encoding="utf-8"))
    return report


def table(runs: list[Run], *, cases: list[str]) -> str:
    """The Markdown text."""
    lines = [*markdown(COLUMNS, map(cells, runs)), "", *scale_lines(runs), "", *authors_lines(runs)]
    lines += [
        "",
        f"Means over {', '.join(cases)}, scored as `livertumor evaluate` does; vessels over the "
        "cases that label them; a case without tumor has a tumor Dice of 1 where none was "
        "predicted, else 0. Recall and precision: lesions matched one to one "
        "with an IoU above 0.5, all cases together. Seconds: mean per case, from file to file; "
        "memory: the most of any case.",
    ]
    return "\n".join(lines) + "\n"


def cells(run: Run) -> list[str]:
    told = told_by(run.recipe)
    parts = {part.name: part for part in run.cohort.structures if part.name in told}

    def mean(structure: str, score: str, digits: int) -> str:
        return number(parts[structure].means[score].value, digits) if structure in parts else "-"

    return [
        run.recipe.name,
        run.scales,
        mean("liver", "dice", 3),
        mean("tumor", "dice", 3),
        number(run.tumor_dice, 3),
        number(parts["tumor"].dice_global, 3),
        mean("vessel", "dice", 3),
        mean("liver", "hd95_mm", 1),
        mean("tumor", "assd_mm", 2),
        number(run.cohort.detection_plain.recall, 2),
        number(recall_from(run.cohort, SIZE_OF_INTEREST_MM), 2),
        number(run.cohort.detection_plain.precision, 2),
        number(run.cohort.burden.rmse_percent, 2),
        number(weights_bytes(run.recipe) / 1e6, 1),
        number(run.seconds, 0),
        number(run.memory_mb, 0),
    ]


def recall_from(cohort: CohortAgreement, size_mm: float) -> float:
    """Recall of the reference lesions from a size on."""
    sizes = [one for one in cohort.lesions_by_size if one.from_mm >= size_mm]
    count = sum(one.count for one in sizes)
    return sum(one.found for one in sizes) / count if count else float("nan")


def scale_lines(runs: list[Run]) -> list[str]:
    """What several scales change, per recipe."""
    by_name: dict[str, list[Run]] = {}
    for run in runs:
        by_name.setdefault(run.recipe.name, []).append(run)
    rows = []
    for name, (one, several) in by_name.items():
        row = [name]
        for structure in STRUCTURES:
            pair = [dice_of(run, structure) for run in (one, several)]
            row.append(number(pair[1] - pair[0], 3, sign="+"))
        rows.append([*row, number(several.seconds / one.seconds, 1)])
    titles = ("Scales {0.5, 1.0, 1.5} against {1.0}", *STRUCTURES, "times as long")
    return markdown(titles, rows)


def authors_lines(runs: list[Run]) -> list[str]:
    """Figures of the papers beside ours at the recipe's own scales."""
    authors = tomllib.loads(AUTHORS.read_text(encoding="utf-8"))
    rows = []
    for name in dict.fromkeys(run.recipe.name for run in runs):
        if name not in authors:
            continue
        paper = authors[name]
        ours = own_run([run for run in runs if run.recipe.name == name])
        row = [name]
        for structure in STRUCTURES:
            figures = paper.get(structure), dice_of(ours, structure)
            row.append(" / ".join(number(figure, 3) for figure in figures))
        rows.append([*row, paper["on"], paper["source"]])
    if not rows:
        return ["No paper is known for these recipes."]
    titles = ("Dice of the authors / ours", *STRUCTURES, "authors' data", "source")
    return markdown(titles, rows)


def own_run(runs: list[Run]) -> Run:
    """The run at the scales that the recipe states, or the first."""
    own = runs[0].recipe.stage(StageRole.LESION).scales
    return next((run for run in runs if tuple(map(float, run.scales.split(","))) == own), runs[0])


def dice_of(run: Run, structure: str) -> float:
    """Mean Dice; NaN where the recipe does not tell the structure or no case labels it."""
    if structure not in told_by(run.recipe):
        return float("nan")
    means = (part.means["dice"].value for part in run.cohort.structures if part.name == structure)
    return next(means, float("nan"))


def told_by(recipe: Recipe) -> tuple[str, ...]:
    """What the recipe tells apart; the liver always, at least by its first stage."""
    return ("liver", *recipe.stage(StageRole.LESION).structures)


def number(value: float | None, digits: int, *, sign: str = "") -> str:
    return "-" if value is None or np.isnan(value) else f"{value:{sign}.{digits}f}"


def markdown(titles: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    heads = list(titles)
    lines = [heads, ["---"] * len(heads), *(list(row) for row in rows)]
    return [f"| {' | '.join(line)} |" for line in lines]


if __name__ == "__main__":
    main()
