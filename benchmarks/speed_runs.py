"""What the speed benchmarks share: the scan they time, and the command in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from livertumor_cli.geometry import Geometry
from livertumor_cli.io.formats import write_volume
from livertumor_cli.phantom import PhantomSpec, make_phantom
from livertumor_cli.volume import Volume

SEED = 3
"""Of the anatomy, where a benchmark does not ask for another."""

FIELD_MM = 409.6
"""Width and height of every scan here: 512 pixels of 0.8 mm."""


def write_scan(
    path: Path,
    *,
    slices: int,
    pixels: int = 512,
    slice_mm: float = 1.0,
    patient: float = 1.0,
    noise_hu: float = 12.0,
    seed: int = SEED,
) -> None:
    """Write a phantom, int16; every second slice is drawn and repeated, to save minutes.

    Args:
        path: The file; its suffix is its format.
        slices: Along z.
        pixels: Along y and x.
        slice_mm: Distance of the slices.
        patient: Size of the patient; 1.2 is a fifth longer along every axis.
        noise_hu: Standard deviation of the noise.
        seed: Of the anatomy.
    """
    pixel_mm = FIELD_MM / pixels
    drawn = make_phantom(
        PhantomSpec(
            seed=seed,
            shape=(-(-slices // 2), pixels, pixels),
            # A smaller step over the same drawing is a larger patient.
            spacing_mm=(2 * slice_mm / patient, pixel_mm / patient, pixel_mm / patient),
            noise_hu=noise_hu,
        )
    ).volume
    hu = np.repeat(drawn.hu, 2, axis=0)[:slices]
    geometry = Geometry.from_spacing(
        (slices, pixels, pixels),
        spacing_mm=(slice_mm, pixel_mm, pixel_mm),
        origin_mm=tuple(patient * drawn.geometry.origin_mm),
    )
    write_volume(path, Volume(np.ascontiguousarray(hu), geometry))


def segment(scan: Path, out: Path, *more: str) -> tuple[dict, float]:
    """Run `livertumor segment`; its report and the wall time of the whole process."""
    command = [sys.executable, "-m", "livertumor_cli", "segment", str(scan), "-o", str(out)]
    started = time.perf_counter()
    done = subprocess.run(
        [*command, "--json", *more], capture_output=True, text=True, encoding="utf-8", check=False
    )
    wall_s = time.perf_counter() - started
    if done.returncode:
        raise SystemExit(f"livertumor segment failed: {done.stderr}")
    return json.loads(done.stdout), wall_s


def outside_share(seconds: dict[str, float], *, wall_s: float) -> float:
    """Share of a run's wall time that passes outside the stages whose work is the networks'."""
    stages = ("find_liver", "segment_lesions", "find_segments")
    return 1 - sum(seconds.get(stage, 0.0) for stage in stages) / wall_s
