"""Which thresholds of the lesion stage give the best Dice on the training cases.

    python benchmarks/thresholds.py --data ../shared/ct
    python benchmarks/thresholds.py --data ../shared/ct --recipe uca-net --cases lits-000 lits-003

The probabilities of the recipe's cascade are cut at several values, on the grid on which they
stand. A row of means per value is printed, over the cases that have the structure. Thresholds are
chosen by it and never on the validation cases: of tumors the lowest within 0.01 of the best.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path
from unittest.mock import patch

import numpy as np
from validation import case_names, reference_labels

from livertumor_cli.anatomy import Label
from livertumor_cli.arrays import BoolArray
from livertumor_cli.inference import cascade
from livertumor_cli.inference.decide import largest_region
from livertumor_cli.inference.prediction import Prediction
from livertumor_cli.inference.resample import resample_to, to_patient_axes
from livertumor_cli.measure.agreement import overlap
from livertumor_cli.pipeline import segment_case
from livertumor_cli.recipes.recipe import Stage
from livertumor_cli.recipes.store import DEFAULT_RECIPE
from livertumor_cli.segment_setup import Networks, SegmentOptions, open_networks
from livertumor_cli.volume import LabelMap

THRESHOLDS = (0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.7)
STRUCTURES = (Label.TUMOR, Label.VESSEL)


class PredictedError(Exception):
    """Carries a prediction out of the cascade before anything is decided."""

    def __init__(self, prediction: Prediction) -> None:
        super().__init__()
        self.prediction = prediction


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--recipe", default=DEFAULT_RECIPE)
    parser.add_argument("--cases", nargs="+", help="default: the training split")
    options = parser.parse_args()
    settings = SegmentOptions(recipe=options.recipe)
    networks = open_networks(settings)
    dice: dict[tuple[str, float], list[float]] = defaultdict(list)
    for name in options.cases or case_names(options.data, split="train"):
        folder = options.data / name
        if not (folder / "ct.nii.gz").is_file():
            print(f"{name}: no ct.nii.gz, left out")
            continue
        prediction = predict(folder / "ct.nii.gz", settings=settings, networks=networks)
        for key, value in score(prediction, reference_labels(folder)).items():
            dice[key].append(value)
        print(f"{name}: done", flush=True)
    for (structure, threshold), values in sorted(dice.items()):
        least = f"least {min(values):.4f}, {len(values)} cases"
        print(f"{structure:6} {threshold:.2f}  mean Dice {np.mean(values):.4f}, {least}")


def predict(scan: Path, *, settings: SegmentOptions, networks: Networks) -> Prediction:
    """What the lesion stage and its second opinion say, before any threshold."""

    def stop(prediction: Prediction, _stage: Stage) -> None:
        raise PredictedError(prediction)

    with patch.object(cascade, "_tidy_or_refuse", stop):
        try:
            segment_case(scan, options=settings, progress=lambda *_: None, networks=networks)
        except PredictedError as found:
            return found.prediction
    raise SystemExit(f"{scan}: the cascade made no prediction")


def score(prediction: Prediction, reference: LabelMap) -> dict[tuple[str, float], float]:
    """Dice by structure and threshold; of structures that the reference has."""
    labels, geometry = to_patient_axes(np.asarray(reference.labels, np.int16), reference.geometry)

    def on_grid(mask: BoolArray) -> BoolArray:
        share = resample_to(
            mask.astype(np.float32), geometry, target=prediction.geometry, outside_hu=0.0
        )
        return np.asarray(share >= 0.5)

    dice = {}
    liver = on_grid(labels > 0)
    for threshold in THRESHOLDS:
        found = largest_region(prediction.inside(threshold))
        dice["liver", threshold] = overlap(found, liver).dice
    inside = largest_region(prediction.inside(0.5))
    for label in STRUCTURES:
        name = label.name.lower()
        expected = on_grid(labels == label)
        if name not in prediction.structures or not expected.any():
            continue
        probability = prediction.probabilities[1 + prediction.structures.index(name)]
        for threshold in THRESHOLDS:
            dice[name, threshold] = overlap((probability >= threshold) & inside, expected).dice
    return {key: value for key, value in dice.items() if value is not None}


if __name__ == "__main__":
    main()
