"""Where `livertumor segment` spends time and memory, and how both grow with the scan.

    python benchmarks/stages.py                       # 512 x 512; half an hour on two cores
    python benchmarks/stages.py --quick               # 128 x 128, up to 80 slices
    python benchmarks/stages.py --sweeps slices --threads 2 --json stages.json

Each run is a process of its own and differs from the first in one thing: slices, size of the
patient, or scales. Memory is what the process held at most during a step (resident, sampled every
5 ms), so it includes what earlier steps left; that of the whole process is the report's, from the
system's own record. At the end: GFLOP/s of each network against the machine's own matrix product in
the same engine and precision, and the start-up time of the command.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import psutil
from option_types import new_file, positive

from livertumor_cli.engine.hardware import cpu_name, physical_cores
from livertumor_cli.recipes.store import DEFAULT_RECIPE
from livertumor_cli.stopwatch import StopWatch

SAMPLE_S = 0.005
HELP_RUNS = 10


@dataclass(frozen=True)
class Trial:
    """One scan and how it is segmented.

    Attributes:
        slices: Of the scan.
        patient: Size of the patient in it, 1 is that of the phantom.
        scales: Of the lesion stage.
    """

    slices: int
    patient: float = 1.0
    scales: str = "1.0"


def main() -> None:
    options = parse()
    if options.measure:
        measure_process(options.measure)
        return
    # Not in the process that is measured: what only the benchmark needs would count as its start.
    from network_cost import print_networks
    from speed_runs import write_scan

    pixels, slice_mm, counts = (
        (128, 4.0, (40, 60, 80)) if options.quick else (512, 1.0, tuple(options.slices))
    )
    print(f"{cpu_name()}, {physical_cores()} cores, {options.threads} threads, {pixels} pixels")
    results = []
    with tempfile.TemporaryDirectory(dir=options.work) as name:
        for trial in trials(options.sweeps, counts):
            scan = Path(name) / f"scan-{trial.slices}-{trial.patient}.nii.gz"
            if not scan.exists():
                write_scan(
                    scan,
                    slices=trial.slices,
                    pixels=pixels,
                    slice_mm=slice_mm,
                    patient=trial.patient,
                )
            result = {**asdict(trial), **run(trial, scan, options=options)}
            print_result(result)
            results.append(result)
            if options.json:
                options.json.write_text(json.dumps(results, indent=1), encoding="utf-8")
    if not options.quick:
        print_networks(options.recipe, precision=options.precision, threads=options.threads)
    print(f"livertumor --help: {help_seconds():.3f} s (best of {HELP_RUNS})")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    sweeps = ("slices", "patient", "scales")
    parser.add_argument("--sweeps", nargs="+", choices=sweeps, default=sweeps)
    parser.add_argument(
        "--slices",
        nargs=3,
        type=positive,
        default=(150, 300, 600),
        metavar=("FEW", "MIDDLE", "MANY"),
    )
    parser.add_argument("--recipe", default=DEFAULT_RECIPE)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--threads", type=positive, default=physical_cores())
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--quick", action="store_true", help="small scans, no network rates")
    parser.add_argument("--json", type=new_file, help="write all runs here")
    parser.add_argument("--work", type=Path, help="folder for scans and results")
    parser.add_argument("--measure", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    return parser.parse_args()


def trials(sweeps: list[str], counts: tuple[int, int, int]) -> list[Trial]:
    """The middle scan, then each sweep's departures from it."""
    middle = Trial(counts[1])
    found = [middle]
    if "slices" in sweeps:
        found += [replace(middle, slices=count) for count in (counts[0], counts[2])]
    if "patient" in sweeps:
        found += [replace(middle, patient=size) for size in (0.8, 1.2)]
    if "scales" in sweeps:
        found += [replace(middle, scales=scales) for scales in ("0.5,1.0", "0.5,1.0,1.5")]
    return found


def run(trial: Trial, scan: Path, *, options: argparse.Namespace) -> dict:
    """Segment in a process of its own; seconds, memory and liver volume."""
    with tempfile.TemporaryDirectory(dir=scan.parent) as folder:
        out = Path(folder) / "out"
        words = [str(scan), "-o", str(out), "--quiet", "--scales", trial.scales]
        words += ["--recipe", options.recipe, "--precision", options.precision]
        words += ["--threads", str(options.threads), "--device", options.device]
        command = [sys.executable, __file__, "--measure", "segment", *words]
        started = time.perf_counter()
        done = subprocess.run(
            command, capture_output=True, text=True, encoding="utf-8", check=False
        )
        wall_s = time.perf_counter() - started
        if done.returncode:
            raise SystemExit(f"livertumor segment failed: {done.stderr}")
        report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    measured = json.loads(done.stdout.splitlines()[-1])
    seconds = report["timings_s"]
    return {
        "wall_s": wall_s,
        "liver_ml": report["liver"]["volume_ml"],
        "seconds": {"start": wall_s - sum(seconds.values()), **seconds},
        "peak_mb": {step: value / 1e6 for step, value in measured.items()},
        "whole_peak_mb": report["peak_memory_mb"],
        "precision": report["precision"],
    }


class MemorySampler(threading.Thread):
    """The most memory that this process held since it was last asked."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._process = psutil.Process()
        self._peak = 0

    def run(self) -> None:
        while True:
            self._peak = max(self._peak, self._process.memory_info().rss)
            time.sleep(SAMPLE_S)

    def take(self) -> int:
        peak = max(self._peak, self._process.memory_info().rss)
        self._peak = 0
        return peak


def measure_process(words: list[str]) -> None:
    """Run one command line here; the last line on stdout is the bytes held in each step."""
    from livertumor_cli.cli.app import run as run_command

    sampler, peaks = MemorySampler(), {}
    lap = StopWatch.lap

    def lap_with_memory(watch: StopWatch, step: str) -> None:
        lap(watch, step)
        peaks[step] = max(peaks.get(step, 0), sampler.take())

    StopWatch.lap = lap_with_memory  # type: ignore[method-assign]
    sampler.start()
    code = run_command(words)
    print(json.dumps(peaks))
    raise SystemExit(code)


def print_result(result: dict) -> None:
    from speed_runs import outside_share

    print(
        f"\n{result['slices']} slices, patient x {result['patient']}, liver "
        f"{result['liver_ml']:.0f} ml, scales {result['scales']}, {result['precision']}"
    )
    outside = outside_share(result["seconds"], wall_s=result["wall_s"])
    for step, seconds in result["seconds"].items():
        memory = result["peak_mb"].get(step)
        held = "" if memory is None else f"{memory:9.0f} MB"
        print(f"  {step:<18}{seconds:8.2f} s {100 * seconds / result['wall_s']:5.0f} %{held}")
    print(
        f"  {'whole process':<18}{result['wall_s']:8.2f} s, "
        f"{outside:.0%} of it outside the network stages, {result['whole_peak_mb']:.0f} MB"
    )


def help_seconds() -> float:
    """Shortest time of `livertumor --help`."""
    times = []
    for _ in range(HELP_RUNS):
        started = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "livertumor_cli", "--help"],
            stdout=subprocess.DEVNULL,
            check=True,
        )
        times.append(time.perf_counter() - started)
    return min(times)


if __name__ == "__main__":
    main()
