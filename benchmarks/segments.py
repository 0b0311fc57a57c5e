"""Validation Dice of Couinaud segments, told in the reference liver: the stage by itself.

    python benchmarks/segments.py --data ../shared/ct

Prints one row per case and the means. `validation.py` prints the same of the whole program, where
the liver is the program's own.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from livertumor_cli.anatomy import SEGMENT_NUMERALS
from livertumor_cli.arrays import LabelArray
from livertumor_cli.engine.engine import Device
from livertumor_cli.inference.decide import largest_region
from livertumor_cli.inference.liver_box import KnownLiver
from livertumor_cli.inference.resample import to_patient_axes
from livertumor_cli.inference.segments import predict_segments, segments_on_scan
from livertumor_cli.io.formats import read_volume
from livertumor_cli.io.label_maps import read_label_map
from livertumor_cli.measure.agreement import overlap
from livertumor_cli.recipes.recipe import StageRole
from livertumor_cli.recipes.store import DEFAULT_RECIPE
from livertumor_cli.segment_setup import Networks, SegmentOptions, open_networks

SEGMENT_FILE = "couinaud.nii.gz"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--recipe", default=DEFAULT_RECIPE)
    parser.add_argument("--split", default="validation")
    options = parser.parse_args()
    networks = open_networks(SegmentOptions(recipe=options.recipe, device=Device.CPU))
    entries = json.loads((options.data / "cases.json").read_text(encoding="utf-8"))
    folders = [options.data / one["case"] for one in entries if one["split"] == options.split]
    cases = []
    for folder in folders:
        if (folder / SEGMENT_FILE).is_file():
            started = time.perf_counter()
            cases.append(segment_dice(segments_in_reference(folder, networks), folder))
            seconds = time.perf_counter() - started
            print(f"{folder.name}: {segment_words(cases[-1])}, {seconds:.1f} s", flush=True)
    print_segment_means(cases)


def segments_in_reference(folder: Path, networks: Networks) -> LabelArray:
    """The segments of a case, told in its reference liver."""
    volume = read_volume(folder / "ct.nii.gz")
    labels = np.asarray(read_label_map(folder / "labels.nii.gz").labels, dtype=np.uint8)
    hu, geometry = to_patient_axes(volume.hu, volume.geometry)
    mask, _ = to_patient_axes(labels > 0, volume.geometry)
    found = predict_segments(
        (hu, geometry),
        KnownLiver(largest_region(mask), geometry),
        stage=networks.recipe.stage(StageRole.SEGMENTS),
        engine=networks.engines[StageRole.SEGMENTS],
        on_step=lambda done, total: None,
    )
    return segments_on_scan(found, labels, scan=volume.geometry)


def segment_dice(found: LabelArray, folder: Path) -> list[float]:
    """Dice of the eight segments.

    The reference leaves parts of some livers without a segment: they are left out.
    """
    reference = np.asarray(read_label_map(folder / SEGMENT_FILE).labels, dtype=np.uint8)
    liver = np.asarray(read_label_map(folder / "labels.nii.gz").labels, dtype=np.uint8) > 0
    judged = np.where(liver & (reference == 0), np.uint8(0), found)
    return [overlap(judged == value, reference == value).dice for value in range(1, 9)]


def segment_words(dice: Sequence[float]) -> str:
    pairs = zip(SEGMENT_NUMERALS, dice, strict=True)
    return ", ".join(f"{name} {value:.3f}" for name, value in pairs)


def print_segment_means(cases: list[list[float]]) -> None:
    if not cases:
        return
    means = np.mean(cases, axis=0)
    print(f"mean segment Dice over {len(cases)} cases: {segment_words(means.tolist())}")
    print(f"mean of all segments {means.mean():.4f}, least of a case {np.min(cases):.3f}")


if __name__ == "__main__":
    main()
