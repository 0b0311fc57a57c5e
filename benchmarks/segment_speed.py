"""Seconds per stage, peak memory and GFLOP/s of `livertumor segment`, file to file.

    python benchmarks/segment_speed.py                         # 512 x 512 x 300 phantom
    python benchmarks/segment_speed.py --slices 150 --precision f32

The scan is a phantom with 0.8 mm pixels and 1 mm slices, written as int16 .nii.gz. The command runs
in its own process, so that memory and start-up count as they do for a user.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from network_cost import matrix_product_gflops, network_gflop

from livertumor_cli.engine.engine import Precision
from livertumor_cli.engine.hardware import cpu_name, physical_cores
from livertumor_cli.geometry import Geometry
from livertumor_cli.io.formats import write_volume
from livertumor_cli.phantom import PhantomSpec, make_phantom
from livertumor_cli.recipes.store import find_recipe
from livertumor_cli.volume import Volume


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--slices", type=int, default=300)
    parser.add_argument("--recipe", default="uca-net")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--scales", default=None)
    parser.add_argument("--runs", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scan = Path(folder) / "scan.nii.gz"
        write_scan(scan, slices=options.slices)
        for run in range(options.runs):
            report, wall_s = segment(scan, Path(folder) / f"out{run}", options)
            print_run(report, wall_s=wall_s)
    print_networks(options.recipe, report)


def write_scan(path: Path, *, slices: int) -> None:
    """A phantom of 512 x 512 pixels; drawn at a quarter of the slices and repeated along z."""
    drawn = make_phantom(
        PhantomSpec(seed=3, shape=(-(-slices // 2), 512, 512), spacing_mm=(2.0, 0.8, 0.8))
    ).volume
    hu = np.repeat(drawn.hu, 2, axis=0)[:slices]
    geometry = Geometry.from_spacing(
        (slices, 512, 512), spacing_mm=(1.0, 0.8, 0.8), origin_mm=tuple(drawn.geometry.origin_mm)
    )
    write_volume(path, Volume(np.ascontiguousarray(hu), geometry))


def segment(scan: Path, out: Path, options: argparse.Namespace) -> tuple[dict, float]:
    """Run the command; its report and the wall time of the whole process."""
    command = [sys.executable, "-m", "livertumor_cli", "segment", str(scan), "-o", str(out)]
    command += ["--json", "--recipe", options.recipe, "--precision", options.precision]
    if options.scales:
        command += ["--scales", options.scales]
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=True)
    return json.loads(done.stdout), time.perf_counter() - started


def print_run(report: dict, *, wall_s: float) -> None:
    shape = report["input"]["shape_zyx"]
    print(f"scan {shape[2]} x {shape[1]} x {shape[0]}, {cpu_name()}, {physical_cores()} cores")
    print(f"{report['engine']}, {report['precision']}, scales {report['scales']}")
    for stage, seconds in report["timings_s"].items():
        print(f"  {stage:<18}{seconds:8.2f} s")
    print(f"  {'whole process':<18}{wall_s:8.2f} s")
    print(f"  peak memory {report['peak_memory_mb']:.0f} MB")


def print_networks(name: str, report: dict) -> None:
    """Rate inside each stage against the machine's own matrix product."""
    recipe = find_recipe(name)
    words = [word.strip() for word in report["precision"].split(",")]
    for index, stage in enumerate(recipe.stages):
        precision = Precision(words[min(index, len(words) - 1)])
        gflop = network_gflop(recipe.stage_path(stage))
        seconds = window_seconds(recipe.stage_path(stage), stage.patch, precision)
        rate = matrix_product_gflops(precision)
        print(
            f"{stage.name}: {gflop:.0f} GFLOP per window of {stage.patch}, {seconds:.2f} s, "
            f"{gflop / seconds:.0f} GFLOP/s; matrix product {rate:.0f} GFLOP/s "
            f"({100 * gflop / seconds / rate:.0f} %) in {precision}"
        )


def window_seconds(path: Path, patch: tuple[int, int, int], precision: Precision) -> float:
    """Best time of one window of several."""
    from livertumor_cli.engine.engine import EngineRequest
    from livertumor_cli.engine.open_engine import open_engine

    engine = open_engine(EngineRequest(file=path, precision=precision))
    batch = np.random.default_rng(0).random((1, 1, *patch), dtype=np.float32)
    times = []
    for _ in range(5):
        started = time.perf_counter()
        engine.run(batch)
        times.append(time.perf_counter() - started)
    return min(times)


if __name__ == "__main__":
    main()
