"""What a run writes down and tells of its cases, wherever they are done."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from livertumor_cli.batch.case import case_name, unread_id
from livertumor_cli.batch.events import CaseEnd, Observer, Outcome
from livertumor_cli.batch.failure import CRASHED, IN_THE_WAY, Failure, is_about_memory
from livertumor_cli.batch.journal import Journal
from livertumor_cli.batch.places import origin_of
from livertumor_cli.batch.plan import (
    MOST_CRASHES,
    PlannedCase,
    Task,
    has_result,
    is_outdated,
    task_of,
)
from livertumor_cli.batch.settings import BatchSettings
from livertumor_cli.errors import OutputError


@dataclass(frozen=True, slots=True)
class RunContext:
    """What all cases of a run share.

    Attributes:
        out: Folder of results.
        settings: How cases are segmented and written.
        settings_id: Of the settings, in the journal.
        journal: Of the folder of results.
        observe: Told what goes on, from several threads.
        should_stop: Asked before each case.
    """

    out: Path
    settings: BatchSettings
    settings_id: str
    journal: Journal
    observe: Observer
    should_stop: Callable[[], bool]


@dataclass(slots=True)
class CaseBook:
    """Notes beginning and end of every case of one run in the journal, and tells the observer.

    Attributes:
        context: What all cases share.
        again: Cases that ran out of memory beside others, to be tried alone.
    """

    context: RunContext
    again: list[PlannedCase] = field(default_factory=list)
    _taken: set[str] = field(default_factory=set)
    _at_work: set[str] = field(default_factory=set)

    def begin(self, planned: PlannedCase, input_id: str, *, since: float) -> bool:
        """Note that work on a case begins; False if it turns out to need none.

        Args:
            planned: The case.
            input_id: Hash of its content.
            since: `time.monotonic` when it was taken up.
        """
        context = self.context
        context.journal.saw(planned.case.stamp, input_id, origin_of(planned.case))
        if self._is_known(planned, input_id):
            seconds = time.monotonic() - since
            name = case_name(input_id)
            context.observe(CaseEnd(planned.case.source, name, Outcome.KNOWN, seconds))
            return False
        self._taken.add(input_id)
        self._at_work.add(input_id)
        context.journal.started(input_id, context.settings_id)
        if self._is_outdated(input_id):
            self.fail(planned, input_id, IN_THE_WAY, since=since)
            return False
        return True

    def begin_again(self, planned: PlannedCase, input_id: str, *, since: float) -> bool:
        """Note that the process that worked on a case died; False if the case is given up."""
        context = self.context
        entry = context.journal.entry(input_id, context.settings_id)
        if entry.crashes >= MOST_CRASHES:
            self.fail(planned, input_id, CRASHED, since=since)
            return False
        context.journal.started(input_id, context.settings_id)
        return True

    def take_back(self, planned: PlannedCase) -> None:
        """Let a case that was postponed begin once more."""
        self._taken.discard(planned.input_id or "")

    def unread(self, planned: PlannedCase, failure: Failure, *, since: float) -> None:
        """Note that a case's content could not be read: it is known by its place only."""
        case = planned.case
        input_id = unread_id(case)
        self.context.journal.saw(case.stamp, input_id, origin_of(case))
        self.fail(planned, input_id, failure, since=since)

    def fail(self, planned: PlannedCase, input_id: str, failure: Failure, *, since: float) -> None:
        """Note why a case has no result; one that ran out of memory beside others is postponed."""
        context, source = self.context, planned.case.source
        seconds = time.monotonic() - since
        self._at_work.discard(input_id)
        if is_about_memory(failure) and planned.task is not Task.ALONE:
            self.again.append(PlannedCase(planned.case, Task.ALONE, input_id))
            context.journal.stopped(input_id, context.settings_id)
            outcome = Outcome.POSTPONED
        else:
            context.journal.failed(input_id, context.settings_id, failure)
            outcome = Outcome.FAILED
        name = case_name(input_id)
        context.observe(CaseEnd(source, name, outcome, seconds, failure=failure))

    def done(self, planned: PlannedCase, input_id: str, *, lesions: int, since: float) -> None:
        """Note that a case's result is in its place."""
        context = self.context
        context.journal.done(input_id, context.settings_id)
        self._at_work.discard(input_id)
        seconds = time.monotonic() - since
        name = case_name(input_id)
        context.observe(CaseEnd(planned.case.source, name, Outcome.DONE, seconds, lesions))

    def close(self) -> None:
        """Note that the cases still at work were broken off as the user wished."""
        # On a full disk this fails too, and the next run finds the cases open all the same.
        with suppress(OutputError):
            for input_id in tuple(self._at_work):
                self.context.journal.stopped(input_id, self.context.settings_id)

    def _is_known(self, planned: PlannedCase, input_id: str) -> bool:
        """Whether a case turns out to need no work now that its content is known."""
        context = self.context
        entry = context.journal.entry(input_id, context.settings_id)
        is_there = has_result(context.journal, input_id, context.settings_id, out=context.out)
        task = task_of(entry, has_result=is_there)
        was_planned = planned.input_id is not None
        return input_id in self._taken or (not was_planned and task in (Task.DONE, Task.FAILED))

    def _is_outdated(self, input_id: str) -> bool:
        context = self.context
        return not context.settings.overwrite and is_outdated(
            context.journal, input_id, context.settings_id, out=context.out
        )
