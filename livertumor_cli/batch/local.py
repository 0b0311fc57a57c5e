"""Cases one after the other on one device, while the next is read and the last is written.

Three threads round one set of networks: the calling one has the device and does nothing else, one
reads ahead by one case, one brings the result back to the scan's grid, measures and writes behind
it. So at most three scans are in memory.
"""

from __future__ import annotations

import time
import warnings
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TypeVar

from livertumor_cli.batch.book import CaseBook, RunContext
from livertumor_cli.batch.case import case_name, has_changed, input_hash, read_case
from livertumor_cli.batch.events import CaseStep
from livertumor_cli.batch.failure import CHANGED, failure_of, is_without_room
from livertumor_cli.batch.plan import PlannedCase, Task
from livertumor_cli.case_files import write_case
from livertumor_cli.errors import InputError
from livertumor_cli.reading import ReadScan
from livertumor_cli.segment_setup import Networks
from livertumor_cli.steps import SegmentedScan, measure_scan, run_networks

_POLL_S = 0.2

_T = TypeVar("_T")


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


class LocalRun:
    """One run over some cases; a case that fails is written down and harms no other.

    Args:
        context: What all cases share.
        networks: Opened once.
    """

    def __init__(self, context: RunContext, networks: Networks) -> None:
        self._context = context
        self._networks = networks
        self._book = CaseBook(context)

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
                for planned in (*suspects, *self._book.again):
                    if self._context.should_stop():
                        return
                    self._run_alone(planned)
        finally:
            self._book.close()

    def _run_alone(self, planned: PlannedCase) -> None:
        self._book.take_back(planned)
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
                if self._context.should_stop():
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
        since, book, case = time.monotonic(), self._book, planned.case
        self._context.observe(CaseStep(case.source, "read"))
        try:
            # One that failed may have been copied again with its old size and time.
            known_id = None if planned.failure else planned.input_id
            input_id = known_id or input_hash(case)
        except InputError as error:
            book.unread(planned, failure_of(error), since=since)
            return None
        if not book.begin(planned, input_id, since=since):
            return None
        try:
            scan = read_case(case, options=self._context.settings.segment)
            if has_changed(case):
                raise CHANGED
        except Exception as error:
            book.fail(planned, input_id, failure_of(error), since=since)
            return None
        return _Begun(planned, input_id, since, scan)

    def _segment(self, begun: _Begun) -> SegmentedScan | None:
        def progress(step: str, done: int, total: int) -> None:
            self._context.observe(CaseStep(begun.source, step, done, total))

        try:
            return run_networks(
                begun.scan,
                networks=self._networks,
                scales=self._context.settings.segment.scales,
                progress=progress,
            )
        except Exception as error:
            self._book.fail(begun.planned, begun.input_id, failure_of(error), since=begun.since)
            return None

    def _finish(self, begun: _Begun, segmented: SegmentedScan) -> None:
        context, book = self._context, self._book
        name = case_name(begun.input_id)
        try:
            context.observe(CaseStep(begun.source, "measure"))
            result = measure_scan(segmented)
            context.observe(CaseStep(begun.source, "write"))
            # A folder that is there was written by a run that ended before it could note it, or
            # with other settings, which the book has let pass.
            write_case(result, context.out / name, overwrite=True, pdf=context.settings.pdf)
        except Exception as error:
            if is_without_room(error):
                raise
            book.fail(begun.planned, begun.input_id, failure_of(error), since=begun.since)
            return
        lesions = len(result.findings.lesions)
        book.done(begun.planned, begun.input_id, lesions=lesions, since=begun.since)


def _result(future: Future[_T]) -> _T:
    """A future's result, awaited in small steps: on Windows Ctrl-C does not end a longer wait."""
    while not wait([future], timeout=_POLL_S).done:
        pass
    return future.result()
