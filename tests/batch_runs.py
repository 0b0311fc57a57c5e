"""Batches with the toy recipe: what their tests share."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from segment_runs import GEOMETRY
from toy_recipe import Ball, Patient, toy_options

from livertumor_cli.batch.batch import open_batch
from livertumor_cli.batch.discovery import find_cases
from livertumor_cli.batch.events import CaseEnd, CaseStep, Outcome
from livertumor_cli.batch.look import Looker
from livertumor_cli.batch.plan import BatchPlan, Selection
from livertumor_cli.batch.settings import BatchSettings
from livertumor_cli.io.formats import write_volume

Event = CaseStep | CaseEnd


def write_scan(path: Path, *, tumor_mm: float = 13.0, **parts: Any) -> Path:
    """A patient that the toy recipe segments; another radius, another scan."""
    path.parent.mkdir(parents=True, exist_ok=True)
    patient = Patient(**({"tumor": Ball((-18.0, 9.0, 11.0), tumor_mm)} | parts))
    write_volume(path, patient.scan(GEOMETRY))
    return path


def write_scans(folder: Path, count: int) -> list[str]:
    """Different patients in folders of their own; returns their sources."""
    names = [f"patient{number}/scan.nii.gz" for number in range(count)]
    for number, name in enumerate(names):
        write_scan(folder / name, tumor_mm=9.0 + number)
    return names


class Recorder:
    """Keeps every event; `then` is called with each."""

    def __init__(self, then: Callable[[Event], None] = lambda _event: None) -> None:
        self.events: list[Event] = []
        self._then = then

    def __call__(self, event: Event) -> None:
        self.events.append(event)
        self._then(event)

    @property
    def ends(self) -> dict[str, Outcome]:
        """How each case ended last."""
        return {one.source: one.outcome for one in self.events if isinstance(one, CaseEnd)}

    @property
    def failures(self) -> dict[str, str]:
        """The reason of each case that failed."""
        return {
            one.source: one.failure.reason
            for one in self.events
            if isinstance(one, CaseEnd) and one.failure and one.outcome is Outcome.FAILED
        }


def run_batch(
    folder: Path,
    out: Path,
    toy: Path,
    *,
    selection: Selection | None = None,
    observe: Recorder | None = None,
    dask: str | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    **settings: Any,
) -> tuple[Recorder, BatchPlan]:
    """Search, run and sum up; returns the events and the plan afterwards."""
    observe = observe or Recorder()
    names = ("scales", "dicom", "resample_irregular")
    options = {name: settings.pop(name) for name in names if name in settings}
    how = BatchSettings(segment=toy_options(toy, **options), **settings)
    found = find_cases(folder, leave_out=out, looker=Looker())
    with open_batch(out, how) as batch:
        batch.dask = dask
        plan = batch.plan(found.cases, selection or Selection())
        try:
            batch.run(plan, observe=observe, should_stop=should_stop)
            batch.forget_replaced(found.cases)
        finally:
            batch.sum_up()
        return observe, batch.plan(found.cases, Selection())


def rows_of(path: Path) -> list[dict[str, str]]:
    """Of a table in the folder of results."""
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def folder_of(out: Path, source: str) -> Path:
    """The results of the case whose path ends so."""
    [row] = [row for row in rows_of(out / "sources.csv") if Path(row["source"]).match(source)]
    return out / row["case"]


def report_of(folder: Path) -> dict[str, Any]:
    """The content of `report.json`."""
    report: dict[str, Any] = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    return report
