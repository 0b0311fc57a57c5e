"""Seconds and peak memory to measure a liver with many lesions in a scan of 512 x 512 x 300.

    python benchmarks/measure_speed.py                  # 200 lesions
    python benchmarks/measure_speed.py --lesions 20

The liver is an ellipsoid of 2 liters with a tree of straight vessels; lesions of 4 to 60 mm lie at
random in it and do not touch. Only labels and HU are drawn: no network runs.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from livertumor_cli.anatomy import Label
from livertumor_cli.geometry import Geometry
from livertumor_cli.measure.case import measure_case
from livertumor_cli.measure.components import number_lesions
from livertumor_cli.process_memory import peak_memory_mb

SHAPE = (300, 512, 512)
SPACING_MM = (1.0, 0.8, 0.8)
LIVER_CENTER_MM, LIVER_RADII_MM = (150.0, 200.0, 170.0), (75.0, 70.0, 95.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lesions", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    labels = draw_labels(options.lesions, np.random.default_rng(options.seed))
    hu = np.array([-50, 110, 60, 170], np.int16)[labels]
    geometry = Geometry.from_spacing(SHAPE, spacing_mm=SPACING_MM)
    before_mb = peak_memory_mb()
    start = time.perf_counter()
    lesions = number_lesions(labels == Label.TUMOR)
    numbered = time.perf_counter()
    findings = measure_case(hu, labels, lesions, geometry=geometry)
    end = time.perf_counter()
    print(f"lesions                 {len(findings.lesions)}")
    print(f"number                  {numbered - start:.2f} s")
    print(f"measure                 {end - numbered:.2f} s")
    print(f"peak memory             {peak_memory_mb():.0f} MB ({before_mb:.0f} MB before)")


def draw_labels(lesions: int, random: np.random.Generator) -> np.ndarray:
    """Liver, vessels and lesions, the later over the earlier."""
    labels = np.zeros(SHAPE, np.uint8)
    draw(labels, LIVER_CENTER_MM, LIVER_RADII_MM, Label.LIVER)
    for _ in range(12):
        start, stop = (point_in_liver(random, 0.9) for _ in range(2))
        for share in np.linspace(0, 1, 150):
            place = tuple(start + share * (stop - start))
            draw(labels, place, (2.5, 2.5, 2.5), Label.VESSEL, only_in=Label.LIVER)
    # Few large and many small ones, as in patients.
    for diameter_mm in np.sort(4 + 56 * random.random(lesions) ** 8)[::-1]:
        radii = tuple(0.5 * diameter_mm * random.uniform(0.7, 1.0, 3))
        while True:
            place = tuple(point_in_liver(random, 0.95))
            wider = tuple(radius + 2 for radius in radii)
            if Label.TUMOR not in labels[ellipsoid(place, wider)[0]]:
                break
        draw(labels, place, radii, Label.TUMOR, only_in=Label.LIVER)
    return labels


def point_in_liver(random: np.random.Generator, most: float) -> np.ndarray:
    direction = random.normal(size=3)
    length = most * random.random() ** (1 / 3) / np.linalg.norm(direction)
    return np.array(LIVER_CENTER_MM) + direction * length * np.array(LIVER_RADII_MM)


def draw(
    labels: np.ndarray,
    center_mm: tuple[float, ...],
    radii_mm: tuple[float, ...],
    label: Label,
    *,
    only_in: Label | None = None,
) -> None:
    box, inside = ellipsoid(center_mm, radii_mm)
    part = labels[box]
    part[inside if only_in is None else inside & (part == only_in)] = label


def ellipsoid(
    center_mm: tuple[float, ...], radii_mm: tuple[float, ...]
) -> tuple[tuple[slice, ...], np.ndarray]:
    """The box of an ellipsoid and its voxels in it."""
    box, axes = [], []
    for center, radius, step, size in zip(center_mm, radii_mm, SPACING_MM, SHAPE, strict=True):
        low = max(0, int((center - radius) / step))
        high = min(size, int((center + radius) / step) + 2)
        box.append(slice(low, high))
        axes.append(((np.arange(low, high) * step - center) / radius) ** 2)
    return tuple(box), axes[0][:, None, None] + axes[1][:, None] + axes[2] <= 1


if __name__ == "__main__":
    main()
