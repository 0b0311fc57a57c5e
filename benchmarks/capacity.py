"""What a backlog needs, from the cases of a batch that was run: workers, network, disk, memory.

    livertumor batch sample/ -o results/ --dask local:1
    python benchmarks/capacity.py results/ --cases 2000 --hours 12

Prints the table "Capacity from measured cases" of docs/scale.md as Markdown. Every figure in it is
measured or follows from measured ones; the machine must have had nothing else to do.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

STEPS = {
    "read": ("read",),
    "networks": ("find_liver", "segment_lesions", "find_segments"),
    "measure": ("back_to_scan", "measure"),
    "write": ("write",),
}
READS = 2
"""A worker reads the files to hash them, and again to segment."""


@dataclass(frozen=True)
class Case:
    """What one finished case took."""

    report: dict[str, Any]
    read_mb: float
    written_mb: float

    @property
    def timings_s(self) -> dict[str, float]:
        timings: dict[str, float] = self.report["timings_s"]
        return timings

    @property
    def seconds(self) -> float:
        """All steps one after the other, as on a worker; networks are opened once for all."""
        return sum(value for name, value in self.timings_s.items() if name != "open_networks")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path, help="folder of a batch")
    parser.add_argument("--cases", type=int, default=1000, help="size of the backlog")
    parser.add_argument("--hours", type=float, default=12.0, help="time for it")
    options = parser.parse_args()
    cases = read_cases(options.results)
    if not cases:
        parser.error(f"{options.results} holds no finished case whose scan is still there")
    for line in table(cases, backlog=options.cases, hours=options.hours):
        print(line)


def read_cases(out: Path) -> list[Case]:
    """The finished cases whose files can still be seen."""
    cases = []
    with (out / "sources.csv").open(encoding="utf-8", newline="") as stream:
        rows = {row["case"]: row for row in csv.DictReader(stream) if row["status"] == "done"}
    # Studies may share a folder.
    sharing = Counter(row["source"] for row in rows.values())
    for name, row in rows.items():
        source = Path(row["source"])
        if source.exists():
            report = json.loads((out / name / "report.json").read_text(encoding="utf-8"))
            read_mb = size_mb(source) / sharing[row["source"]]
            cases.append(Case(report, read_mb, size_mb(out / name)))
    return cases


def size_mb(path: Path) -> float:
    """Of a file, or of all files in a folder, in MB (10^6 bytes)."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file()) / 1e6


def table(cases: list[Case], *, backlog: int, hours: float) -> list[str]:
    """The lines of the table."""
    case_s = mean(case.seconds for case in cases)
    read_mb, written_mb = mean(c.read_mb for c in cases), mean(c.written_mb for c in cases)
    per_hour = 3600 / case_s
    workers = math.ceil(backlog / (hours * per_hour))
    slices = [case.report["input"]["shape_zyx"][0] for case in cases]
    rows = {
        "measured cases": f"{len(cases)}, {min(slices)} to {max(slices)} slices",
        "device, engine, precision, scales": the_usual(cases),
        "seconds per case": f"{case_s:.1f}",
        **{f"- {name}": f"{step_s(cases, names):.1f}" for name, names in STEPS.items()},
        "cases per hour per worker": f"{per_hour:.0f}",
        "memory per worker, MB": f"{max(case.report['peak_memory_mb'] for case in cases):.0f}",
        "scan, result per case, MB": f"{read_mb:.1f}, {written_mb:.1f}",
        f"workers for {backlog} cases in {hours:g} h": f"{workers}",
        "network in, MB/s, all workers": f"{workers * READS * read_mb / case_s:.1f}",
        "network out, MB/s, all workers": f"{workers * written_mb / case_s:.1f}",
        "disk for the results, GB": f"{backlog * written_mb / 1000:.1f}",
    }
    return ["| figure | value |", "|---|---|", *(f"| {a} | {b} |" for a, b in rows.items())]


def the_usual(cases: list[Case]) -> str:
    """How most cases ran."""
    names = ("device", "engine", "precision", "scales")
    counts = Counter("; ".join(str(case.report[name]) for name in names) for case in cases)
    return counts.most_common(1)[0][0]


def step_s(cases: list[Case], names: tuple[str, ...]) -> float:
    return mean(sum(case.timings_s.get(name, 0.0) for name in names) for case in cases)


if __name__ == "__main__":
    main()
