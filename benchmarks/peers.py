"""`livertumor segment` against nnU-Net v2's predictor and MONAI's sliding window, side by side.

    python -m pip install ".[bench]"            # in an environment of its own
    python benchmarks/peers.py --quick          # a trial on 40 slices of 128 x 128
    python benchmarks/peers.py --slices 300 --threads 2 --runs 3 --json peers.json

One scan in, one mask on the scan's own grid out, file to file. Every program runs in a process of
its own with the same threads, one after the other, in alternating order. All have the same network
with the same weights, the same grid, patch, overlap (half) and Gaussian weights, over the whole
scan. `livertumor-cascade` is what its users run: the shipped liver network first, then the same
network about the liver only. What else is done differs, and stands against livertumor: it also
measures, and writes report and pictures.

nnU-Net runs without mirroring and worker processes (`--disable_tta -npp 0 -nps 0`), with results on
the GPU where there is one, and with its fast linear resampling in torch instead of its default,
splines. MONAI runs the transforms of its own CT bundles. With `--precision bf16` MONAI runs in
torch's autocast; nnU-Net has no such setting on CPUs.

Printed are medians: seconds of the whole process, seconds without imports and loading, peak
resident memory, ratios to the first program, and Dice with its mask. A row below 0.99 for all
that is liver or tumor is marked: then the programs did not do the same, and its times say nothing.
Below the table each other program stands against the cascade, if the Dice of these two is above
0.99.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from itertools import product
from pathlib import Path
from statistics import median

import numpy as np
from option_types import new_file, positive
from peer_networks import CLASSES, COMPARED, HU_WINDOW, NETWORKS, NOISE_HU, OVERLAP, SEED, Setup
from peer_rows import CASCADE, Row, Size, print_rows
from peer_tools import PROGRAMS
from speed_runs import write_scan

from livertumor_cli.arrays import BoolArray
from livertumor_cli.engine.hardware import cpu_name, physical_cores
from livertumor_cli.inference.decide import largest_region
from livertumor_cli.io.label_maps import read_label_map

TOOLS = Path(__file__).with_name("peer_tools.py")
TEACHER = Path(__file__).with_name("peer_weights.py")
THREAD_VARIABLES = (
    *("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "nnUNet_def_n_proc"),
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
)


FULL = Size(512, 1.0, 32, (2.5, 2.0, 2.0), (32, 128, 128), 400)
QUICK = Size(128, 5.0, 8, (5.0, 5.0, 5.0), (16, 32, 32), 600)


def main() -> None:
    options = parse()
    size = QUICK if options.quick else FULL
    slices = [40] if options.quick else options.slices
    print(f"{cpu_name()}, {physical_cores()} cores, {options.threads} threads, {options.device}")
    with contextlib.ExitStack() as stack:
        work = options.work or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        rows: list[Row] = []
        for network, count in product(options.networks, slices):
            setup = Setup(network, size.width, size.spacing_mm, size.patch)
            home = work / f"{network}-{size.pixels}"
            steps = options.steps or size.steps
            weights = prepared(setup, home, steps=steps, threads=options.threads)
            slice_mm = options.slice_mm or size.slice_mm
            scan = work / f"scan-{size.pixels}-{count}-{slice_mm:g}mm.nii.gz"
            if not scan.exists():
                write_scan(
                    scan,
                    slices=count,
                    pixels=size.pixels,
                    slice_mm=slice_mm,
                    noise_hu=NOISE_HU,
                    seed=SEED,
                )
            found = compare(setup, scan, weights=weights, slices=count, options=options)
            print_rows(found, size=size)
            rows += found
            if options.json:
                text = json.dumps([asdict(row) for row in rows], indent=1)
                options.json.write_text(text, encoding="utf-8")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--slices", type=positive, nargs="+", default=[150, 300, 800])
    parser.add_argument("--slice-mm", type=float, help="distance of the slices")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=COMPARED)
    parser.add_argument("--programs", nargs="+", choices=PROGRAMS, default=list(PROGRAMS))
    parser.add_argument("--runs", type=positive, default=3)
    parser.add_argument("--threads", type=positive, default=physical_cores())
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--precision", choices=("f32", "bf16", "fp16"), default="f32")
    parser.add_argument("--batch", type=positive, default=1, help="windows at once of MONAI")
    parser.add_argument(
        "--steps", type=positive, help="of teaching; more where Dice stays below 0.99"
    )
    parser.add_argument("--quick", action="store_true", help="40 slices of 128 x 128, tiny nets")
    parser.add_argument("--json", type=new_file, help="write all rows here")
    parser.add_argument("--work", type=Path, help="keep scans, weights and masks here")
    return parser.parse_args()


def prepared(setup: Setup, home: Path, *, steps: int, threads: int) -> Path:
    """Weights and recipes; made in a process of its own, which keeps no memory and no threads."""
    home.mkdir(parents=True, exist_ok=True)
    values = json.dumps({"setup": asdict(setup), "folder": str(home), "steps": steps})
    subprocess.run([sys.executable, str(TEACHER), values], env=limited(threads), check=True)
    return home / "weights.pt"


def compare(
    setup: Setup, scan: Path, *, weights: Path, slices: int, options: argparse.Namespace
) -> list[Row]:
    """All programs on one scan, in alternating order."""
    runs: dict[str, list[dict]] = {program: [] for program in options.programs}
    for run in range(options.runs):
        order = options.programs if run % 2 == 0 else options.programs[::-1]
        for program in order:
            job = job_of(program, setup, scan, weights=weights, options=options)
            runs[program].append(timed_run(program, job, threads=options.threads))
    masks = {program: mask_path(scan, setup, program) for program in options.programs}
    own = read_labels(masks[options.programs[0]])
    cascade = read_labels(masks[CASCADE]) if CASCADE in masks else None
    rows = []
    for program, results in runs.items():
        labels = read_labels(masks[program])
        scores = dices(own, labels)
        middle = sorted(results, key=lambda result: result["wall_s"])[len(results) // 2]
        rows.append(
            Row(
                network=setup.network,
                slices=slices,
                program=program,
                wall_s=median(result["wall_s"] for result in results),
                work_s=median(result["work_s"] for result in results),
                peak_mb=median(result["peak_mb"] for result in results),
                dice=scores.pop("liver and tumor"),
                cascade_dice=None if cascade is None else dice(cascade > 0, labels > 0),
                dice_of_class=scores,
                steps_s=middle["steps_s"],
            )
        )
    return rows


def mask_path(scan: Path, setup: Setup, program: str) -> Path:
    stem = scan.name.removesuffix(".nii.gz")
    return scan.with_name(f"{stem}-{setup.network}-{program}.nii.gz")


def job_of(
    program: str, setup: Setup, scan: Path, *, weights: Path, options: argparse.Namespace
) -> dict:
    recipe = "cascade" if program == CASCADE else "plain"
    return {
        **asdict(setup),
        "weights": str(weights),
        "recipe": str(weights.with_name(recipe)),
        "scan": str(scan),
        "mask": str(mask_path(scan, setup, program)),
        "classes": CLASSES,
        "hu_window": HU_WINDOW,
        "overlap": OVERLAP,
        "threads": options.threads,
        "device": options.device,
        "precision": options.precision,
        "batch": options.batch,
    }


def timed_run(program: str, job: dict, *, threads: int) -> dict:
    """Run one program in a process of its own; its steps, peak memory and wall time."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "job.json"
        result = Path(folder) / "result.json"
        file.write_text(json.dumps({**job, "result": str(result)}), encoding="utf-8")
        command = [sys.executable, str(TOOLS), program, str(file)]
        started = time.perf_counter()
        done = subprocess.run(command, env=limited(threads), capture_output=True, check=False)
        wall_s = time.perf_counter() - started
        if done.returncode:
            raise SystemExit(f"{program} failed:\n{done.stderr.decode('utf-8', 'replace')}")
        values = json.loads(result.read_text(encoding="utf-8"))
    loading = ("import and load", "open_networks")
    work_s = sum(s for step, s in values["steps_s"].items() if step not in loading)
    return {**values, "wall_s": wall_s, "work_s": work_s}


def limited(threads: int) -> dict[str, str]:
    """The environment in which every library keeps to that many threads."""
    return {**os.environ, **dict.fromkeys(THREAD_VARIABLES, str(threads))}


def read_labels(path: Path) -> np.ndarray:
    """A mask's one liver with what lies in it: programs differ in whether they clean up."""
    labels = read_label_map(path).labels
    return np.where(largest_region(labels > 0), labels, 0)


def dices(one: np.ndarray, other: np.ndarray) -> dict[str, float]:
    """Dice of all that is not background, and of each class."""
    scores = {"liver and tumor": dice(one > 0, other > 0)}
    for value, name in enumerate(CLASSES[1:], start=1):
        scores[name] = dice(one == value, other == value)
    return scores


def dice(one: BoolArray, other: BoolArray) -> float:
    """1 for two empty masks."""
    total = int(one.sum()) + int(other.sum())
    return 2 * int((one & other).sum()) / total if total else 1.0


if __name__ == "__main__":
    main()
