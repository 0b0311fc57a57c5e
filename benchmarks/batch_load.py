"""Many small scans, one in twenty of them bad, here and on Dask: is every one judged rightly?

    python benchmarks/batch_load.py                     # 500 scans, here and on local:2
    python benchmarks/batch_load.py --cases 30 --places here
    python benchmarks/batch_load.py --places tcp://host:8786 --work /shared/load

The networks are the thresholds of the tests (extra `test`), so that it is the batch that works and
not they. Printed are cases per hour and how the memory of client and workers grows with each case,
from the first quarter of the cases on. Exit code 1 if a good scan was not done, a bad one has
another reason than its own, results of two places differ, or memory grows.
"""

from __future__ import annotations

import argparse
import csv
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import nibabel
import numpy as np
import psutil

from livertumor_cli.batch.batch import open_batch
from livertumor_cli.batch.discovery import find_cases
from livertumor_cli.batch.events import CaseEnd, CaseStep
from livertumor_cli.batch.look import Looker
from livertumor_cli.batch.plan import Selection
from livertumor_cli.batch.settings import BatchSettings
from livertumor_cli.io.dicom_ct import write_ct_series
from livertumor_cli.io.formats import write_volume
from livertumor_cli.volume import Volume

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from toy_recipe import Ball, Patient, centered_grid, toy_options, write_toy_recipe

GEOMETRY = centered_grid((36, 48, 48), spacing_mm=(3.5, 2.5, 2.5))
ENOUGH_CASES = 200
"""With fewer, the memory that a process takes once looks like growth."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=500)
    parser.add_argument("--bad", type=float, default=0.05, help="share of bad ones")
    parser.add_argument("--places", default="here,local:2", help="here, local:N or an address")
    parser.add_argument("--work", type=Path, default=None, help="folder that workers see too")
    parser.add_argument("--most-mb-per-case", type=float, default=0.2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.work) as folder:
        work = Path(folder)
        write_toy_recipe(work / "toy")
        expected = write_cases(work / "in", options.cases, bad=options.bad)
        counts = Counter(reason or "good" for reason in expected.values())
        print(f"{len(expected)} cases: {', '.join(f'{n} {r}' for r, n in sorted(counts.items()))}")
        places = options.places.split(",")
        faults = []
        for number, place in enumerate(places):
            faults += run(work, number, place, expected, options)
        for number in range(1, len(places)):
            faults += differences(work / "out0", work / f"out{number}")
    for fault in faults:
        print(f"FAULT: {fault}")
    sys.exit(bool(faults))


# Cases


def write_cases(folder: Path, count: int, *, bad: float) -> dict[str, str]:
    """Scans, the bad ones spread among them; returns the reason expected of each, by its path."""
    bad_count = round(count * bad)
    at = {int((number + 0.5) * count / bad_count): number for number in range(bad_count)}
    expected = {}
    for number in range(count):
        place = folder / f"patient{number:04d}"
        place.mkdir(parents=True)
        if number in at:
            reason, write = BAD[at[number] % len(BAD)]
            path = write(place, patient(number))
        else:
            reason, path = "", GOOD[number % len(GOOD)](place, patient(number))
        expected[str(path)] = reason
    return expected


def patient(seed: int, **parts: Ball | None) -> Volume:
    """Another tumor and other noise for each seed."""
    random = np.random.default_rng(seed)
    middle = random.uniform((-22, 4, 4), (-12, 12, 14))
    drawn = Patient(tumor=Ball(tuple(middle), random.uniform(6, 13)), vessel=None)
    if parts:
        drawn = Patient(**{"vessel": None, "tumor": None, **parts})
    scan = drawn.scan(GEOMETRY)
    return Volume(scan.hu + random.integers(-3, 4, scan.hu.shape, np.int16), scan.geometry)


def as_nifti(place: Path, scan: Volume) -> Path:
    write_volume(place / "scan.nii.gz", scan)
    return place / "scan.nii.gz"


def as_dicom(place: Path, scan: Volume) -> Path:
    write_ct_series(place / "series", scan, seed=place.name)
    return place / "series"


def as_zip(place: Path, scan: Volume) -> Path:
    as_nifti(place, scan)
    with zipfile.ZipFile(place / "scan.zip", "w") as archive:
        archive.write(place / "scan.nii.gz", "scan.nii.gz")
    (place / "scan.nii.gz").unlink()
    return place / "scan.zip"


GOOD = (as_nifti, as_nifti, as_dicom, as_nifti, as_zip)


def as_image(place: Path, values: np.ndarray, affine: np.ndarray) -> Path:
    nibabel.save(nibabel.Nifti1Image(values, affine), place / "scan.nii.gz")
    return place / "scan.nii.gz"


def as_bytes(place: Path, name: str, content: bytes) -> Path:
    (place / name).write_bytes(content)
    return place / name


def cut_off(place: Path, scan: Volume) -> Path:
    whole = as_nifti(place, scan).read_bytes()
    return as_bytes(place, "scan.nii.gz", whole[: len(whole) // 2])


def climbing_zip(place: Path, _scan: Volume) -> Path:
    with zipfile.ZipFile(place / "scan.zip", "w") as archive:
        archive.writestr("../scan.nii", b"anything")
    return place / "scan.zip"


def sheared(place: Path, scan: Volume) -> Path:
    affine = np.diag([2.5, 2.5, 3.5, 1.0])
    affine[0, 2] = 0.7
    return as_image(place, scan.hu.T, affine)


def four_dimensional(place: Path, scan: Volume) -> Path:
    return as_image(place, np.stack([scan.hu.T] * 2, axis=-1), np.diag([2.5, 2.5, 3.5, 1.0]))


def not_hu(place: Path, scan: Volume) -> Path:
    values = np.clip(scan.hu.T, 0, 255).astype(np.int16)
    return as_image(place, values, np.diag([2.5, 2.5, 3.5, 1.0]))


def not_finite(place: Path, scan: Volume) -> Path:
    values = scan.hu.T.astype(np.float32)
    values[3, 4, 5] = np.nan
    return as_image(place, values, np.diag([2.5, 2.5, 3.5, 1.0]))


def missing_slice(place: Path, scan: Volume) -> Path:
    folder = as_dicom(place, scan)
    files = sorted(folder.iterdir())
    files[len(files) // 2].unlink()
    return folder


def no_liver(place: Path, scan: Volume) -> Path:
    seed = int(scan.hu.sum()) % 2**31
    return as_nifti(place, patient(seed, liver=None))


BAD: tuple[tuple[str, Callable[[Path, Volume], Path]], ...] = (
    ("not_an_image", lambda place, _: as_bytes(place, "scan.mha", place.name.encode())),
    ("truncated", cut_off),
    ("unreadable", lambda place, _: as_bytes(place, "scan.zip", b"PK\3\4" + place.name.encode())),
    ("unsafe_archive", climbing_zip),
    ("sheared", sheared),
    ("four_dimensional", four_dimensional),
    ("not_hu", not_hu),
    ("non_finite", not_finite),
    ("missing_slices", missing_slice),
    ("no_liver", no_liver),
)


# Runs


@dataclass
class Meter:
    """Resident memory of this process and of its workers after each case."""

    client_mb: list[float] = field(default_factory=list)
    workers_mb: list[float] = field(default_factory=list)

    def __call__(self, event: CaseStep | CaseEnd) -> None:
        if not isinstance(event, CaseEnd):
            return
        me = psutil.Process()
        self.client_mb.append(me.memory_info().rss / 1e6)
        self.workers_mb.append(sum(resident_mb(child) for child in me.children(recursive=True)))


def resident_mb(process: psutil.Process) -> float:
    with suppress(psutil.Error):
        return float(process.memory_info().rss) / 1e6
    return 0.0


def slope(values: list[float]) -> float:
    """MB per case from the first quarter of the cases on."""
    later = values[len(values) // 4 :]
    return float(np.polyfit(np.arange(len(later)), later, 1)[0])


def run(
    work: Path, number: int, place: str, expected: dict[str, str], options: argparse.Namespace
) -> list[str]:
    """Run all cases in one place; returns what is wrong."""
    out, meter = work / f"out{number}", Meter()
    started = time.perf_counter()
    found = find_cases(work / "in", looker=Looker())
    with open_batch(out, BatchSettings(segment=toy_options(work / "toy"))) as batch:
        batch.dask = None if place == "here" else place
        plan = batch.plan(found.cases, Selection())
        batch.run(plan, observe=meter, should_stop=lambda: False)
        batch.sum_up()
    wall_s = time.perf_counter() - started
    print(f"{place}: {wall_s:.0f} s, {3600 * len(expected) / wall_s:.0f} cases per hour")
    faults = [f"{place}: {fault}" for fault in wrong(out, expected)]
    for name, values in (("client", meter.client_mb), ("workers", meter.workers_mb)):
        if not values or not max(values):
            continue
        grows = slope(values)
        print(f"  {name}: {values[-1]:.0f} MB at the end, {grows:+.3f} MB per case")
        if len(expected) >= ENOUGH_CASES and grows > options.most_mb_per_case:
            faults.append(f"{place}: memory of the {name} grows by {grows:.3f} MB per case")
    return faults


def wrong(out: Path, expected: dict[str, str]) -> list[str]:
    """Cases that ended otherwise than they should have."""
    failures = {row["source"]: row["reason"] for row in rows(out / "failures.csv")}
    done = {row["source"] for row in rows(out / "sources.csv") if row["status"] == "done"}
    faults = []
    for path, reason in expected.items():
        if not reason and path not in done:
            faults.append(f"{path} is good, and not done: {failures.get(path, 'no word of it')}")
        if reason and failures.get(path) != reason:
            faults.append(f"{path} is {reason}, and was called {failures.get(path, 'done')}")
    right = len(expected) - len(faults)
    print(f"  {right} of {len(expected)} judged rightly; {len(done)} done, {len(failures)} failed")
    if len(done) + len(failures) != len(expected):
        faults.append("cases are missing or there are others")
    return faults


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def differences(one: Path, other: Path) -> list[str]:
    """Files that two places wrote and that should be the same byte for byte."""
    names = [
        path.relative_to(one)
        for pattern in ("mask.nii.gz", "lesions.*", "figures/*.png")
        for path in one.glob(f"case-*/{pattern}")
    ]
    differ = [name for name in names if not is_same(one / name, other / name)]
    print(f"{len(names) - len(differ)} of {len(names)} files are the same in both places")
    return [f"{name} differs" for name in differ] + ["no file to compare"] * (not names)


def is_same(one: Path, other: Path) -> bool:
    return other.is_file() and one.read_bytes() == other.read_bytes()


if __name__ == "__main__":
    main()
