"""Cases one after the other on one device, while the next is read and the last is written.

Three threads round one set of networks: the calling one has the device and does nothing else, one
reads ahead by one case, one measures and writes behind it. So at most three scans are in memory.
"""

from __future__ import annotations

import time
import warnings
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from livertumor_cli.batch.case import BatchCase, case_name, has_changed, input_hash, read_case
from livertumor_cli.batch.events import CaseEnd, CaseStep, Observer, Outcome
from livertumor_cli.batch.failure import (
    CHANGED,
    Failure,
    failure_of,
    is_about_memory,
    is_without_room,
)
from livertumor_cli.batch.journal import Journal, Origin
from livertumor_cli.batch.plan import PlannedCase, Task, has_result, is_outdated, task_of
from livertumor_cli.batch.settings import BatchSettings
from livertumor_cli.case_files import write_case
from livertumor_cli.errors import InputError, OutputError
from livertumor_cli.pipeline import Networks, ReadScan, SegmentedScan, measure_scan, run_networks

_POLL_S = 0.2

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class RunContext:
    """What all cases of a run share.

    Attributes:
        out: Folder of results.
        settings: How cases are segmented and written.
        settings_id: Of the settings, in the journal.
        journal: Of the folder of results.
        networks: Opened once.
        observe: Told what goes on, from several threads.
        should_stop: Asked before each case.
    """

    out: Path
    settings: BatchSettings
    settings_id: str
    journal: Journal
    networks: Networks
    observe: Observer
    should_stop: Callable[[], bool]


@dataclass(frozen=True, slots=True)
class _Begun:
    """A case at work."""

    planned: PlannedCase
    input_id: str
    since: float
    scan: ReadScan

    @property
    def source(self) -> str:
        return self.planned.case.source


@dataclass(slots=True)
class LocalRun:
    """One run over some cases; a case that fails is written down and harms no other.

    Attributes:
        context: What all cases share.
    """

    context: RunContext
    _taken: set[str] = field(default_factory=set)
    _at_work: set[str] = field(default_factory=set)
    _again: list[PlannedCase] = field(default_factory=list)

    def run(self, cases: Sequence[PlannedCase]) -> None:
        """Run the cases; returns early if the user asks to stop.

        Args:
            cases: With tasks RUN and ALONE.

        Raises:
            OutputError: If nothing can be written any more, as on a full disk. The cases not done
                are left for the next run.
        """
        try:
            with warnings.catch_warnings():
                # Readers and writers silence their libraries, which Python does for all threads at
                # once: without this, one of them could end the silence of another.
                warnings.simplefilter("ignore")
                self._run_overlapped([one for one in cases if one.task is Task.RUN])
                suspects = [one for one in cases if one.task is Task.ALONE]
                for planned in (*suspects, *self._again):
                    if self.context.should_stop():
                        return
                    self._run_alone(planned)
        finally:
            # On a full disk this fails too, and the next run finds the cases open all the same.
            with suppress(OutputError):
                for input_id in tuple(self._at_work):
                    self.context.journal.stopped(input_id, self.context.settings_id)

    def _run_alone(self, planned: PlannedCase) -> None:
        self._taken.discard(planned.input_id or "")
        begun = self._begin(planned)
        segmented = self._segment(begun) if begun else None
        if begun and segmented:
            self._finish(begun, segmented)

    def _run_overlapped(self, cases: Sequence[PlannedCase]) -> None:
        coming = deque(cases)
        reader, writer = ThreadPoolExecutor(1, "read"), ThreadPoolExecutor(1, "write")
        writing: Future[None] | None = None
        is_patient = True

        def read_next() -> Future[_Begun | None] | None:
            return reader.submit(self._begin, coming.popleft()) if coming else None

        try:
            reading = read_next()
            while reading is not None:
                begun = _result(reading)
                if self.context.should_stop():
                    break
                reading = read_next()
                if begun is not None:
                    segmented = self._segment(begun)
                    if writing is not None:
                        _result(writing)
                    writing = writer.submit(self._finish, begun, segmented) if segmented else None
                # The writer alone holds the scan from here on.
                begun = segmented = None
            if writing is not None:
                _result(writing)
        except KeyboardInterrupt:
            is_patient = False
            raise
        finally:
            for pool in (reader, writer):
                pool.shutdown(wait=is_patient, cancel_futures=True)

    # The three steps of a case. Each returns None if the case has ended with it.

    def _begin(self, planned: PlannedCase) -> _Begun | None:
        since, context = time.monotonic(), self.context
        case, journal = planned.case, context.journal
        context.observe(CaseStep(case.source, "read"))
        try:
            input_id = planned.input_id or input_hash(case)
        except InputError as error:
            # Not known by its content, so by its place.
            input_id = f"unread-{case.stamp}"
            journal.saw(case.stamp, input_id, _origin(case))
            self._fail(planned, input_id, since, failure_of(error))
            return None
        journal.saw(case.stamp, input_id, _origin(case))
        if self._is_known(planned, input_id, since):
            return None
        self._taken.add(input_id)
        self._at_work.add(input_id)
        journal.started(input_id, context.settings_id)
        try:
            self._refuse_outdated(input_id)
            scan = read_case(case, options=context.settings.segment)
            if has_changed(case):
                raise CHANGED
        except Exception as error:
            self._fail(planned, input_id, since, failure_of(error))
            return None
        return _Begun(planned, input_id, since, scan)

    def _segment(self, begun: _Begun) -> SegmentedScan | None:
        def progress(step: str, done: int, total: int) -> None:
            self.context.observe(CaseStep(begun.source, step, done, total))

        try:
            return run_networks(
                begun.scan,
                networks=self.context.networks,
                scales=self.context.settings.segment.scales,
                progress=progress,
            )
        except Exception as error:
            self._fail(begun.planned, begun.input_id, begun.since, failure_of(error))
            return None

    def _finish(self, begun: _Begun, segmented: SegmentedScan) -> None:
        context = self.context
        name = case_name(begun.input_id)
        try:
            context.observe(CaseStep(begun.source, "measure"))
            result = measure_scan(segmented)
            context.observe(CaseStep(begun.source, "write"))
            # A folder that is there was written by a run that ended before it could note it, or
            # with other settings, which `_refuse_outdated` has let pass.
            write_case(result, context.out / name, overwrite=True, pdf=context.settings.pdf)
        except Exception as error:
            if is_without_room(error):
                raise
            self._fail(begun.planned, begun.input_id, begun.since, failure_of(error))
            return
        context.journal.done(begun.input_id, context.settings_id)
        self._at_work.discard(begun.input_id)
        seconds = time.monotonic() - begun.since
        lesions = len(result.findings.lesions)
        context.observe(CaseEnd(begun.source, name, Outcome.DONE, seconds, lesions))

    def _is_known(self, planned: PlannedCase, input_id: str, since: float) -> bool:
        """Whether a case turns out to need no work now that its content is known."""
        context = self.context
        entry = context.journal.entry(input_id, context.settings_id)
        task = task_of(entry, has_result=has_result(context.out, input_id))
        was_planned = planned.input_id is not None
        if input_id not in self._taken and (was_planned or task not in (Task.DONE, Task.FAILED)):
            return False
        seconds = time.monotonic() - since
        end = CaseEnd(planned.case.source, case_name(input_id), Outcome.KNOWN, seconds)
        context.observe(end)
        return True

    def _refuse_outdated(self, input_id: str) -> None:
        context = self.context
        if not context.settings.overwrite and is_outdated(
            context.journal, input_id, context.settings_id, out=context.out
        ):
            raise OutputError(
                f"{case_name(input_id)} holds a result made with another recipe, options or "
                "version.",
                hint="Give another folder, or replace such results with --overwrite.",
            )

    def _fail(self, planned: PlannedCase, input_id: str, since: float, failure: Failure) -> None:
        context, source = self.context, planned.case.source
        seconds = time.monotonic() - since
        self._at_work.discard(input_id)
        if is_about_memory(failure) and planned.task is not Task.ALONE:
            self._again.append(PlannedCase(planned.case, Task.ALONE, input_id))
            context.journal.stopped(input_id, context.settings_id)
            outcome = Outcome.POSTPONED
        else:
            context.journal.failed(input_id, context.settings_id, failure)
            outcome = Outcome.FAILED
        name = case_name(input_id)
        context.observe(CaseEnd(source, name, outcome, seconds, failure=failure))


def _origin(case: BatchCase) -> Origin:
    return Origin(str(case.path), case.study_uid)


def _result(future: Future[_T]) -> _T:
    """A future's result, awaited in small steps: on Windows Ctrl-C does not end a longer wait."""
    while not wait([future], timeout=_POLL_S).done:
        pass
    return future.result()
