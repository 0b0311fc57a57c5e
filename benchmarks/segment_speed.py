"""Seconds per stage, peak memory and GFLOP/s of `livertumor segment`, file to file.

    python benchmarks/segment_speed.py                         # 512 x 512 x 300 phantom
    python benchmarks/segment_speed.py --slices 150 --precision f32
    python benchmarks/segment_speed.py --runs 5                # and the medians

The scan is a phantom with 0.8 mm pixels and 1 mm slices, written as int16 .nii.gz. The command runs
in its own process, so that memory and start-up count as they do for a user.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from statistics import median

from network_cost import print_networks
from option_types import positive
from speed_runs import outside_share, segment, write_scan

from livertumor_cli.engine.hardware import cpu_name, physical_cores
from livertumor_cli.recipes.store import DEFAULT_RECIPE


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--slices", type=positive, default=300)
    parser.add_argument("--recipe", default=DEFAULT_RECIPE)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--scales", default=None)
    parser.add_argument("--runs", type=positive, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scan = Path(folder) / "scan.nii.gz"
        write_scan(scan, slices=options.slices)
        results = []
        for run in range(options.runs):
            more = ["--recipe", options.recipe, "--precision", options.precision]
            if options.scales:
                more += ["--scales", options.scales]
            report, wall_s = segment(scan, Path(folder) / f"out{run}", *more)
            print_run(report, wall_s=wall_s)
            results.append((report, wall_s))
    print_medians(results)
    print_networks(options.recipe, precision=options.precision)


def print_run(report: dict, *, wall_s: float) -> None:
    shape = report["input"]["shape_zyx"]
    print(f"scan {shape[2]} x {shape[1]} x {shape[0]}, {cpu_name()}, {physical_cores()} cores")
    print(f"{report['engine']}, {report['precision']}, scales {report['scales']}")
    for stage, seconds in report["timings_s"].items():
        print(f"  {stage:<18}{seconds:8.2f} s")
    outside = outside_share(report["timings_s"], wall_s=wall_s)
    print(f"  {'whole process':<18}{wall_s:8.2f} s, {outside:.1%} outside the network stages")
    print(f"  peak memory {report['peak_memory_mb']:.0f} MB")


def print_medians(results: list[tuple[dict, float]]) -> None:
    wall_s = median(wall_s for _, wall_s in results)
    outside = [outside_share(report["timings_s"], wall_s=wall_s) for report, wall_s in results]
    memory_mb = [report["peak_memory_mb"] for report, _ in results]
    print(
        f"medians of {len(results)}: {wall_s:.1f} s, {median(outside):.1%} outside the network "
        f"stages ({min(outside):.1%} to {max(outside):.1%}), peak memory {median(memory_mb):.0f} MB"
        f" ({min(memory_mb):.0f} to {max(memory_mb):.0f})"
    )


if __name__ == "__main__":
    main()
