"""Validation figures of a recipe on labeled cases, by the whole program on the scans' own grids.

    python benchmarks/validation.py --data ../shared/ct
    python benchmarks/validation.py --data ../shared/ct --scales 0.5,1.0,1.5 --precision f32

Prints one row per case of a split of `cases.json` and the means, scored as `livertumor evaluate`
does: Dice of liver (with tumors and vessels), tumor and vessels, found share of every reference
tumor over 20 mm, and seconds. `recipes_table.py` compares recipes. Of a recipe that tells Couinaud
segments also the Dice of each against `couinaud.nii.gz`, where that says which segment it is.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
from segments import SEGMENT_FILE, print_segment_means, segment_dice, segment_words

from livertumor_cli.case_files import CaseResult
from livertumor_cli.engine.engine import Device, EngineKind
from livertumor_cli.evaluation import compare_label_maps
from livertumor_cli.io.label_folders import label_files_of, read_labels
from livertumor_cli.measure.cohort import summarize
from livertumor_cli.measure.comparison import CaseAgreement
from livertumor_cli.pipeline import segment_case
from livertumor_cli.recipes.store import DEFAULT_RECIPE
from livertumor_cli.segment_setup import Networks, SegmentOptions, open_networks
from livertumor_cli.volume import LabelMap

LARGE_MM = 20.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--recipe", default=DEFAULT_RECIPE)
    parser.add_argument("--split", default="validation")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--scales", default=None)
    options = parser.parse_args()
    scales = tuple(float(s) for s in options.scales.split(",")) if options.scales else None
    settings = SegmentOptions(
        recipe=options.recipe,
        device=Device.CPU,
        engine=EngineKind(options.engine),
        precision=options.precision,
        scales=scales,
    )
    networks = open_networks(settings)
    folders = [options.data / name for name in case_names(options.data, split=options.split)]
    cases, segments = [], []
    for folder in folders:
        agreement, dice = score_case(folder, settings=settings, networks=networks)
        cases.append(agreement)
        segments += [dice] if dice else []
    print_means(cases)
    print_segment_means(segments)


def case_names(data: Path, *, split: str) -> list[str]:
    """Cases of a split, as `cases.json` lists them."""
    cases = json.loads((data / "cases.json").read_text(encoding="utf-8"))
    return [entry["case"] for entry in cases if entry["split"] == split]


def reference_labels(folder: Path) -> LabelMap:
    """Labels of a case, vessels where they are labeled."""
    files = label_files_of(folder)
    if files is None:
        raise SystemExit(f"{folder} has no labels.nii.gz")
    return read_labels(files)


def score_case(
    folder: Path, *, settings: SegmentOptions, networks: Networks
) -> tuple[CaseAgreement, list[float]]:
    """Segment one case and print its row; the list is `score_segments`."""
    started = time.perf_counter()
    result = segment_case(
        folder / "ct.nii.gz", options=settings, progress=lambda *_: None, networks=networks
    )
    seconds = time.perf_counter() - started
    agreement = compare_label_maps(result.mask, reference_labels(folder))
    dice = {part.name: part.overlap.dice for part in agreement.structures}
    large = [
        f"{lesion.longest_axial_diameter_mm:.0f} mm {100 * lesion.found_fraction:.0f} %"
        for lesion in agreement.lesions
        if lesion.longest_axial_diameter_mm > LARGE_MM
    ]
    print(
        f"{folder.name}: {', '.join(f'{name} {value:.4f}' for name, value in dice.items())}, "
        f"{len(agreement.predicted_lesions)} lesions, {seconds:.1f} s; "
        f"found of tumors over {LARGE_MM:.0f} mm: {', '.join(large) or 'none there'}",
        flush=True,
    )
    segments = score_segments(result, folder)
    if segments:
        print(f"{folder.name}: segments {segment_words(segments)}", flush=True)
    return agreement, segments


def score_segments(result: CaseResult, folder: Path) -> list[float]:
    """Dice of the eight segments; empty where recipe or reference has none."""
    if result.segments is None or not (folder / SEGMENT_FILE).is_file():
        return []
    return segment_dice(np.asarray(result.segments.labels, dtype=np.uint8), folder)


def print_means(cases: list[CaseAgreement]) -> None:
    cohort = summarize(cases)
    for part in cohort.structures:
        least = min(
            one.overlap.dice for case in cases for one in case.structures if one.name == part.name
        )
        print(
            f"mean {part.name} Dice {part.means['dice'].value:.4f} over {part.cases} cases, "
            f"least {least:.4f}, of all voxels {part.dice_global:.4f}"
        )
    for size in cohort.lesions_by_size:
        print(
            f"lesions from {size.from_mm:g} to below {size.below_mm:g} mm: "
            f"{size.found} of {size.count} found, {size.right} of {size.predicted} right"
        )


if __name__ == "__main__":
    main()
