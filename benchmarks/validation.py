"""Validation figures of a recipe on labeled cases, by the whole program on the scans' own grids.

    python benchmarks/validation.py --data ../shared/ct
    python benchmarks/validation.py --data ../shared/ct --scales 0.5,1.0,1.5 --precision f32

Prints one row per case of the validation split (`cases.json`) and the means: Dice of liver (with
tumors and vessels), tumor and vessels (of vessels also over the voxels within the labels' reach),
found share of every reference tumor over 20 mm, and seconds.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np

from livertumor_cli.anatomy import Label
from livertumor_cli.engine.engine import Device, EngineKind
from livertumor_cli.io.label_maps import read_label_map
from livertumor_cli.measure.agreement import overlap
from livertumor_cli.measure.components import number_lesions
from livertumor_cli.measure.diameters import axial_diameters
from livertumor_cli.pipeline import SegmentOptions, open_networks, segment_case


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--recipe", default="uca-net")
    parser.add_argument("--split", default="validation")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--scales", default=None)
    options = parser.parse_args()
    cases = json.loads((options.data / "cases.json").read_text(encoding="utf-8"))
    names = [entry["case"] for entry in cases if entry["split"] == options.split]
    scales = tuple(float(s) for s in options.scales.split(",")) if options.scales else None
    settings = SegmentOptions(
        recipe=options.recipe,
        device=Device.CPU,
        engine=EngineKind(options.engine),
        precision=options.precision,
        scales=scales,
    )
    networks = open_networks(settings)
    rows = [score_case(options.data / name, settings=settings, networks=networks) for name in names]
    print_means(rows)


def score_case(folder: Path, *, settings: SegmentOptions, networks) -> dict[str, float]:
    """Segment one case and print its row."""
    started = time.perf_counter()
    result = segment_case(
        folder / "ct.nii.gz", options=settings, progress=lambda *_: None, networks=networks
    )
    seconds = time.perf_counter() - started
    found = result.mask.labels
    reference = read_label_map(folder / "labels.nii.gz")
    row = {
        "liver": overlap(found > 0, reference.labels > 0).dice,
        "tumor": overlap(found == Label.TUMOR, reference.labels == Label.TUMOR).dice,
        "vessel": float("nan"),
        "seconds": seconds,
    }
    vessel_file = folder / "vessels.nii.gz"
    if vessel_file.is_file():
        vessels = (read_label_map(vessel_file).labels > 0) & (reference.labels == Label.LIVER)
        row["vessel"] = overlap(found == Label.VESSEL, vessels).dice
    if not (reference.labels == Label.TUMOR).any():
        row["tumor"] = float("nan")
    large = large_tumors(reference, found)
    print(
        f"{folder.name}: liver {row['liver']:.4f}, tumor {row['tumor']:.4f}, "
        f"vessel {row['vessel']:.4f}, {len(result.findings.lesions)} lesions, {seconds:.1f} s; "
        f"found of tumors over 20 mm: {', '.join(large) or 'none there'}",
        flush=True,
    )
    return row


def large_tumors(reference, found) -> list[str]:
    """'35 mm 92 %' for every reference tumor whose longest axial diameter is over 20 mm."""
    numbered = number_lesions(reference.labels == Label.TUMOR)
    texts = []
    for number in range(1, int(numbered.max()) + 1):
        mask = numbered == number
        diameter_mm = axial_diameters(mask, geometry=reference.geometry).longest.length_mm
        if diameter_mm > 20:
            share = float((found[mask] == Label.TUMOR).mean())
            texts.append(f"{diameter_mm:.0f} mm {100 * share:.0f} %")
    return texts


def print_means(rows: list[dict[str, float]]) -> None:
    for name in ("liver", "tumor", "vessel"):
        values = np.array([row[name] for row in rows])
        known = values[~np.isnan(values)]
        print(
            f"mean {name} Dice {known.mean():.4f} over {known.size} cases, least {known.min():.4f}"
        )
    print(f"mean {np.mean([row['seconds'] for row in rows]):.1f} s per case")


if __name__ == "__main__":
    main()
