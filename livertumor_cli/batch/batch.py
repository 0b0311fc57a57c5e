"""A batch: a folder of results with its journal, in which cases are planned, run and summed up."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from livertumor_cli.batch.book import RunContext
from livertumor_cli.batch.case import BatchCase
from livertumor_cli.batch.events import Observer
from livertumor_cli.batch.failure import CRASHED
from livertumor_cli.batch.journal import JOURNAL, Journal, Status
from livertumor_cli.batch.local import LocalRun
from livertumor_cli.batch.out_folder import taken
from livertumor_cli.batch.places import replaced
from livertumor_cli.batch.plan import BatchPlan, Selection, Task, make_plan
from livertumor_cli.batch.settings import BatchSettings, settings_id
from livertumor_cli.batch.summary import write_summary
from livertumor_cli.errors import OutputError
from livertumor_cli.segment_setup import Networks, open_networks


@dataclass(slots=True)
class Batch:
    """An opened folder of results; see `open_batch`.

    Attributes:
        out: The folder.
        settings: How every case is segmented and written.
        journal: What happened so far.
        meaning: The settings as plain values.
        networks: Opened once, with the first case that needs them unless they are given.
        dask: Where cases are done: address of a Dask scheduler or local:N; here where None.
    """

    out: Path
    settings: BatchSettings
    journal: Journal
    meaning: dict[str, Any]
    networks: Networks | None = None
    dask: str | None = None

    @property
    def settings_id(self) -> str:
        """Of the settings, in the journal."""
        return settings_id(self.meaning)

    def plan(self, cases: Sequence[BatchCase], selection: Selection) -> BatchPlan:
        """What `run` would do.

        Raises:
            ConfigError: If no case fits the selection's patterns.
        """
        return make_plan(
            cases,
            journal=self.journal,
            settings=self.settings_id,
            out=self.out,
            selection=selection,
            overwrite=self.settings.overwrite,
        )

    def run(self, plan: BatchPlan, *, observe: Observer, should_stop: Callable[[], bool]) -> None:
        """Run the cases of a plan; the networks are opened once, if there is anything to do.

        Args:
            plan: From `plan`.
            observe: Told what goes on, from several threads.
            should_stop: Asked before each case.

        Raises:
            OutputError: If results of other settings are in the way, or nothing can be written.
            ModelError: If the recipe cannot be used.
            BackendError: If the device or engine cannot be had.
            ClusterError: If Dask was asked for and has no worker that can take cases.
        """
        refuse_outdated(plan, self.out)
        self.journal.uses(self.settings_id, self.meaning)
        self._note_crashes(plan)
        if not plan.to_run:
            return
        context = RunContext(
            out=self.out,
            settings=self.settings,
            settings_id=self.settings_id,
            journal=self.journal,
            observe=observe,
            should_stop=should_stop,
        )
        if self.dask is not None:
            # Of an extra, which may not be installed.
            from livertumor_cli.batch.dask import run_on_dask

            run_on_dask(context, plan.to_run, place=self.dask, meaning=self.meaning)
            return
        if self.networks is None:
            self.networks = open_networks(self.settings.segment)
        LocalRun(context, self.networks).run(plan.to_run)

    def forget_replaced(self, found: Sequence[BatchCase]) -> None:
        """Leave out of the tables the places whose files belong to other cases by now.

        Args:
            found: Every case that there is.

        Raises:
            OutputError: If the journal cannot be written.
        """
        for origin in replaced(self.journal.origins(), found):
            self.journal.forget(origin)

    def sum_up(self) -> dict[str, Any]:
        """Write the tables and the page over all cases; returns the content of `summary.json`."""
        return write_summary(self.out, self.journal, settings=self.meaning)

    def _note_crashes(self, plan: BatchPlan) -> None:
        for planned in plan.of(Task.FAILED):
            if planned.input_id and planned.failure == CRASHED:
                entry = self.journal.entry(planned.input_id, self.settings_id)
                if entry.status is Status.OPEN:
                    self.journal.failed(planned.input_id, self.settings_id, CRASHED)


@contextmanager
def open_batch(out: Path, settings: BatchSettings) -> Iterator[Batch]:
    """Take a folder of results, and read what its journal knows.

    Args:
        out: The folder; made if it is not there.
        settings: How every case is segmented and written.

    Raises:
        OutputError: If another batch has the folder, or it holds something else.
        ModelNotFoundError: If there is no such recipe.
    """
    meaning = settings.meaning()
    with taken(out):
        yield Batch(out, settings, Journal(out / JOURNAL), meaning)


def preview(
    out: Path, settings: BatchSettings, *, cases: Sequence[BatchCase], selection: Selection
) -> BatchPlan:
    """What a batch would do, without touching the folder of results.

    Raises:
        ModelNotFoundError: If there is no such recipe.
        ConfigError: If no case fits the selection's patterns.
    """
    return Batch(out, settings, Journal(out / JOURNAL), settings.meaning()).plan(cases, selection)


def refuse_outdated(plan: BatchPlan, out: Path) -> None:
    """Refuse to replace results that were made with other settings.

    Raises:
        OutputError: If there are such.
    """
    count = len(plan.of(Task.OUTDATED))
    if count:
        results = "1 result" if count == 1 else f"{count} results"
        raise OutputError(
            f"{out} holds {results} of these cases, made with another recipe, options or version.",
            hint="Give another folder, or make them anew with --overwrite.",
        )
