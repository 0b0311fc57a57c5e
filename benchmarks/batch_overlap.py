"""How much of a batch's wall time the networks have work: reading and writing should cost none.

    python benchmarks/batch_overlap.py                        # 20 phantoms of 512 x 512 x 150
    python benchmarks/batch_overlap.py --cases 4 --slices 60 --size 256

Two shares are printed. "Networks" is the time of the two network stages, preparation of their grids
included; "engine" the part of it spent waiting for the engine itself, a lower bound of its work.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from livertumor_cli.arrays import FloatArray
from livertumor_cli.batch.batch import open_batch
from livertumor_cli.batch.discovery import find_cases
from livertumor_cli.batch.look import Looker
from livertumor_cli.batch.plan import Selection
from livertumor_cli.batch.settings import BatchSettings
from livertumor_cli.engine.engine import Device, Engine
from livertumor_cli.engine.hardware import cpu_name, physical_cores
from livertumor_cli.geometry import Geometry
from livertumor_cli.io.dicom_ct import write_ct_series
from livertumor_cli.phantom import PhantomSpec, make_phantom
from livertumor_cli.segment_setup import SegmentOptions, open_networks
from livertumor_cli.volume import Volume

STEPS = {
    "read": ("read",),
    "networks": ("find_liver", "segment_lesions", "find_segments"),
    "measure, write": ("back_to_scan", "measure", "write"),
}


class TimedEngine:
    """An engine that counts the seconds for which its caller waits."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.seconds = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def run(self, batch: FloatArray) -> FloatArray:
        started = time.perf_counter()
        try:
            return self._engine.run(batch)
        finally:
            self.seconds += time.perf_counter() - started

    def run_many(self, batches: Iterable[FloatArray]) -> Iterator[FloatArray]:
        results = iter(self._engine.run_many(self._aside(batches)))
        while True:
            started = time.perf_counter()
            try:
                result = next(results)
            except StopIteration:
                return
            finally:
                self.seconds += time.perf_counter() - started
            yield result

    def _aside(self, batches: Iterable[FloatArray]) -> Iterator[FloatArray]:
        """The batches; the time their maker takes is not the engine's."""
        source = iter(batches)
        while True:
            started = time.perf_counter()
            try:
                batch = next(source)
            except StopIteration:
                return
            finally:
                self.seconds -= time.perf_counter() - started
            yield batch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=20)
    parser.add_argument("--slices", type=int, default=150)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--recipe", default=SegmentOptions().recipe)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=None)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        for number in range(options.cases):
            write_study(place / "in" / f"patient{number:02d}", number, options)
        wall_s, engine_s = run(place, options)
        report(place / "out", wall_s=wall_s, engine_s=engine_s)


def write_study(folder: Path, seed: int, options: argparse.Namespace) -> None:
    """A DICOM study of a phantom; drawn at half the slices and repeated along z."""
    size, slices = options.size, options.slices
    pixel_mm = 0.8 * 512 / size
    step_mm = 300.0 / slices
    spec = PhantomSpec(
        seed=seed,
        shape=(-(-slices // 2), size, size),
        spacing_mm=(2 * step_mm, pixel_mm, pixel_mm),
    )
    drawn = make_phantom(spec).volume
    hu = np.ascontiguousarray(np.repeat(drawn.hu, 2, axis=0)[:slices])
    geometry = Geometry.from_spacing(
        (slices, size, size),
        spacing_mm=(step_mm, pixel_mm, pixel_mm),
        origin_mm=tuple(drawn.geometry.origin_mm),
    )
    write_ct_series(folder, Volume(hu, geometry), seed=f"overlap {seed}")


def run(place: Path, options: argparse.Namespace) -> tuple[float, float]:
    """Wall seconds of the batch with its networks open, and seconds spent waiting for engines."""
    segment = SegmentOptions(
        recipe=options.recipe, device=Device(options.device), threads=options.threads
    )
    networks = open_networks(segment)
    engines = {role: TimedEngine(engine) for role, engine in networks.engines.items()}
    found = find_cases(place / "in", looker=Looker())
    with open_batch(place / "out", BatchSettings(segment=segment)) as batch:
        batch.networks = replace(networks, engines=engines)
        started = time.perf_counter()
        plan = batch.plan(found.cases, Selection())
        batch.run(plan, observe=lambda _event: None, should_stop=lambda: False)
        wall_s = time.perf_counter() - started
        batch.sum_up()
    return wall_s, sum(engine.seconds for engine in engines.values())


def report(out: Path, *, wall_s: float, engine_s: float) -> None:
    reports = [json.loads(path.read_text("utf-8")) for path in out.glob("case-*/report.json")]
    seconds = {
        name: sum(one["timings_s"].get(step, 0.0) for one in reports for step in steps)
        for name, steps in STEPS.items()
    }
    first = reports[0]
    shape = first["input"]["shape_zyx"]
    print(f"{len(reports)} scans of {shape[2]} x {shape[1]} x {shape[0]}")
    print(f"{cpu_name()}, {physical_cores()} cores; {first['engine']}, {first['precision']}")
    for name, sum_s in seconds.items():
        print(f"  {name:<16}{sum_s:8.1f} s{100 * sum_s / wall_s:7.1f} % of the wall time")
    print(f"  {'engine':<16}{engine_s:8.1f} s{100 * engine_s / wall_s:7.1f} % of the wall time")
    print(f"  {'wall':<16}{wall_s:8.1f} s; one after the other {sum(seconds.values()):.1f} s")
    print(f"  {3600 * len(reports) / wall_s:.0f} cases per hour")


if __name__ == "__main__":
    main()
