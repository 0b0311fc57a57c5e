"""Which of the cases found are to be done, which are done, and which failed before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import Path

from livertumor_cli.batch.case import BatchCase, case_name, is_unread
from livertumor_cli.batch.failure import CRASHED, IN_THE_WAY, Failure
from livertumor_cli.batch.journal import Entry, Journal, Status
from livertumor_cli.case_files import REPORT
from livertumor_cli.errors import ConfigError

MOST_CRASHES = 3
"""A case on which the program ended so often is given up; from the second time on it runs alone."""


class Task(StrEnum):
    """What is to be done with a case."""

    RUN = "run"
    ALONE = "run alone"
    DONE = "done"
    FAILED = "failed before"
    OUTDATED = "made with other settings"
    LATER = "later"


@dataclass(frozen=True, slots=True)
class PlannedCase:
    """A case and what is to be done with it.

    Attributes:
        case: The case.
        task: What to do.
        input_id: Hash of its content, where files with its stamp were read before.
        failure: If it failed before.
    """

    case: BatchCase
    task: Task
    input_id: str | None = None
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class Selection:
    """What the user wants of the cases found.

    Attributes:
        only: Patterns of which one must fit the source; all cases if empty.
        limit: How many cases are run at most.
        retry_failed: Whether cases that failed before are run again.
    """

    only: tuple[str, ...] = ()
    limit: int | None = None
    retry_failed: bool = False


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """What a run will do.

    Attributes:
        cases: Those selected, in the order of their sources.
    """

    cases: tuple[PlannedCase, ...]

    def of(self, *tasks: Task) -> list[PlannedCase]:
        """The cases of some tasks."""
        return [planned for planned in self.cases if planned.task in tasks]

    @property
    def to_run(self) -> list[PlannedCase]:
        """The cases that will be run."""
        return self.of(Task.RUN, Task.ALONE)


def make_plan(
    cases: Sequence[BatchCase],
    *,
    journal: Journal,
    settings: str,
    out: Path,
    selection: Selection,
    overwrite: bool = False,
) -> BatchPlan:
    """Compare what was found with what the journal knows.

    Cases whose files are not known by name, size and time count as to be run; if their content
    turns out to be known, they are passed over then.

    Args:
        cases: Found now.
        journal: Of the folder of results.
        settings: Id of the settings.
        out: The folder of results.
        selection: What the user wants.
        overwrite: Whether results of other settings are replaced.

    Raises:
        ConfigError: If no case fits the patterns, which are then probably misspelled.
    """
    known = _Known(journal, settings, out, overwrite)
    planned = []
    left = len(cases) if selection.limit is None else selection.limit
    for case in cases:
        if selection.only and not any(_fits(case.source, text) for text in selection.only):
            continue
        one = known.planned(case, retry_failed=selection.retry_failed)
        if one.task in (Task.RUN, Task.ALONE):
            one = one if left > 0 else replace(one, task=Task.LATER)
            left -= 1
        planned.append(one)
    if selection.only and not planned:
        patterns = ", ".join(repr(text) for text in selection.only)
        raise ConfigError(
            f"None of {len(cases)} cases fits {patterns}.",
            hint="--dry-run without --only lists them; capital letters count.",
        )
    return BatchPlan(tuple(planned))


def _fits(source: str, pattern: str) -> bool:
    """Whether a pattern fits a source or one of the folders that it lies in."""
    parts = source.split("/")
    wholes = ("/".join(parts[:count]) for count in range(1, len(parts) + 1))
    return any(fnmatchcase(whole, pattern.rstrip("/")) for whole in wholes)


@dataclass(frozen=True, slots=True)
class _Known:
    """What was done before, under which the tasks of cases are found."""

    journal: Journal
    settings: str
    out: Path
    overwrite: bool

    def planned(self, case: BatchCase, *, retry_failed: bool) -> PlannedCase:
        input_id = self.journal.input_of(case.stamp)
        if input_id is None:
            return PlannedCase(case, Task.RUN)
        entry = self.journal.entry(input_id, self.settings)
        is_there = has_result(self.journal, input_id, self.settings, out=self.out)
        task = task_of(entry, has_result=is_there)
        if task is Task.FAILED and _was_done_since(self.journal, input_id, out=self.out):
            task = Task.DONE
        failure = None
        if task is Task.FAILED:
            failure = entry.failure or CRASHED
            if retry_failed or (self.overwrite and failure == IN_THE_WAY):
                task = Task.ALONE if failure == CRASHED else Task.RUN
        is_kept = not self.overwrite and task in (Task.RUN, Task.ALONE)
        if is_kept and is_outdated(self.journal, input_id, self.settings, out=self.out):
            task = Task.OUTDATED
        if is_unread(input_id) and task in (Task.RUN, Task.ALONE):
            # Its content is asked for again, as it gives the results their name.
            return PlannedCase(case, task, failure=failure)
        return PlannedCase(case, task, input_id, failure)


def task_of(entry: Entry, *, has_result: bool) -> Task:
    """What is to be done with a case, as its journal says.

    Args:
        entry: Of the case under the settings of the run.
        has_result: Whether its result under these settings is there.
    """
    if entry.status is Status.DONE and has_result:
        return Task.DONE
    if entry.status is Status.FAILED or entry.crashes >= MOST_CRASHES:
        return Task.FAILED
    return Task.ALONE if entry.crashes else Task.RUN


def has_result(journal: Journal, input_id: str, settings: str, *, out: Path) -> bool:
    """Whether the folder of results holds one of an input that was made with these settings.

    One that was may have been replaced since, with others.
    """
    return journal.result_settings(input_id) == settings and _is_there(out, input_id)


def is_outdated(journal: Journal, input_id: str, settings: str, *, out: Path) -> bool:
    """Whether there is a result that was made with other settings."""
    made_with = journal.result_settings(input_id)
    return made_with not in (None, settings) and _is_there(out, input_id)


def _was_done_since(journal: Journal, input_id: str, *, out: Path) -> bool:
    """Whether a case that failed was done after that, with settings that suit it better."""
    return journal.last_end(input_id).status is Status.DONE and _is_there(out, input_id)


def _is_there(out: Path, input_id: str) -> bool:
    return (out / case_name(input_id) / REPORT).is_file()
