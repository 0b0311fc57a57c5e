"""Cases on the workers of a Dask cluster; the journal stays here.

Each worker gets one case at a time: it hashes the files, hears whether the case needs work at all,
and then does it from reading to writing. A worker that dies is forgotten, and its case goes to
another one; workers that come later are checked and join in.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from livertumor_cli.batch.book import CaseBook, RunContext
from livertumor_cli.batch.cluster import Cluster, WorkerDiedError, connected
from livertumor_cli.batch.events import CaseStep
from livertumor_cli.batch.failure import CRASHED, Failure
from livertumor_cli.batch.out_folder import holder_text, remove_partial
from livertumor_cli.batch.place import local_workers
from livertumor_cli.batch.plan import MOST_CRASHES, PlannedCase, Task
from livertumor_cli.batch.worker import Identity, NoRoom, Order, check_worker, do_case, identify
from livertumor_cli.engine.hardware import physical_cores
from livertumor_cli.errors import ClusterError, OutputError
from livertumor_cli.recipes.store import recipe_folders

PATIENCE_S = 300.0
"""For a first worker, and for others after the last has gone: queues and restarts take minutes."""

_LOOK_S = 0.5
_POLL_S = 0.2

_LOG = logging.getLogger(__name__)


def run_on_dask(
    context: RunContext, cases: Sequence[PlannedCase], *, place: str, meaning: dict[str, Any]
) -> None:
    """Run cases on a Dask cluster; returns early if the user asks to stop.

    Args:
        context: What all cases share.
        cases: With tasks RUN and ALONE.
        place: Address of a scheduler, or local:N for N workers on this computer.
        meaning: The settings as plain values.

    Raises:
        ClusterError: If the scheduler does not answer, or no worker can take cases.
        OutputError: If nothing can be written any more, as on a full disk.
    """
    order = _order(context, cases, place=place, meaning=meaning)
    with connected(place) as cluster:
        DaskRun(context, cluster, order).run(cases)
    # Of workers that died; no other is at work any more.
    remove_partial(context.out)


def _order(
    context: RunContext, cases: Sequence[PlannedCase], *, place: str, meaning: dict[str, Any]
) -> Order:
    segment = context.settings.segment
    if segment.recipe not in recipe_folders():
        segment = replace(segment, recipe=str(Path(segment.recipe).expanduser().absolute()))
    count = local_workers(place)
    if count is not None and segment.threads is None:
        segment = replace(segment, threads=max(1, physical_cores() // count))
    return Order(
        out=context.out.absolute(),
        holder=holder_text(context.out),
        sample=_sample(cases),
        settings=replace(context.settings, segment=segment),
        meaning=meaning,
        topic=f"livertumor-{secrets.token_hex(8)}",
    )


def _sample(cases: Sequence[PlannedCase]) -> tuple[Path, int] | None:
    """A file that can be read here, so that a worker which cannot does not share the folder."""
    for planned in cases:
        for path in planned.case.files[:1]:
            try:
                with path.open("rb") as stream:
                    stream.read(1)
                return path, path.stat().st_size
            except OSError:
                continue
    return None


@dataclass(slots=True)
class _Job:
    """A case on its way."""

    planned: PlannedCase
    number: int
    since: float = 0.0
    deaths: int = 0
    identity: Identity | None = None


@dataclass(slots=True)
class _Seat:
    """A worker: what it does now, and whether it can do cases (None until it is known)."""

    address: str
    task: Any = None
    job: _Job | None = None
    is_fit: bool | None = None


class DaskRun:
    """One run over some cases; a case that fails is written down and harms no other.

    Args:
        context: What all cases share.
        cluster: Connected.
        order: The same for the workers.
    """

    def __init__(self, context: RunContext, cluster: Cluster, order: Order) -> None:
        self._context = context
        self._cluster = cluster
        self._order = order
        self._book = CaseBook(context)
        self._seats: dict[str, _Seat] = {}
        self._waiting: deque[_Job] = deque()
        self._sources: list[str] = []
        self._woken = threading.Event()
        self._next_look_s = 0.0
        self._had_workers_s = time.monotonic()

    def run(self, cases: Sequence[PlannedCase]) -> None:
        """Run the cases; returns early if the user asks to stop.

        Args:
            cases: With tasks RUN and ALONE; the latter one at a time, at the end.

        Raises:
            ClusterError: If the scheduler is gone, or no worker can take cases.
            OutputError: If nothing can be written any more, as on a full disk.
        """
        self._cluster.on_events(self._order.topic, self._tell)
        try:
            self._run_side_by_side([one for one in cases if one.task is Task.RUN])
            suspects = [one for one in cases if one.task is Task.ALONE]
            for planned in (*suspects, *self._book.again):
                self._book.take_back(planned)
                self._run_side_by_side([planned])
        finally:
            self._book.close()

    def _tell(self, event: tuple[int, str]) -> None:
        number, step = event
        self._context.observe(CaseStep(self._sources[number], step))

    def _run_side_by_side(self, cases: Sequence[PlannedCase]) -> None:
        for planned in cases:
            self._waiting.append(_Job(planned, len(self._sources)))
            self._sources.append(planned.case.source)
        while True:
            if self._context.should_stop():
                self._waiting.clear()
            if not self._waiting and not any(seat.job for seat in self._seats.values()):
                return
            self._look_round()
            self._hand_out()
            self._woken.wait(_POLL_S)
            self._woken.clear()
            for seat in tuple(self._seats.values()):
                if seat.task is not None and seat.task.done():
                    self._take_answer(seat)

    # Workers

    def _look_round(self) -> None:
        """Greet workers that are new, and take back the cases of those that are gone."""
        now_s = time.monotonic()
        if now_s < self._next_look_s:
            return
        self._next_look_s = now_s + _LOOK_S
        present = self._cluster.workers()
        for address in self._seats.keys() - present:
            seat = self._seats.pop(address)
            if seat.task is not None:
                self._cluster.forget(seat.task)
            if seat.job is not None:
                self._redo(seat.job)
        for address in present - self._seats.keys():
            seat = self._seats[address] = _Seat(address)
            self._submit(seat, check_worker, self._order)
        if self._seats:
            self._had_workers_s = now_s
        elif now_s - self._had_workers_s > PATIENCE_S:
            raise ClusterError(
                f"The Dask scheduler has had no worker for {PATIENCE_S / 60:.0f} minutes.",
                hint="Start workers; the same command goes on from there.",
            )

    def _submit(self, seat: _Seat, function: Any, *arguments: Any, **named: Any) -> None:
        seat.task = self._cluster.submit(seat.address, function, *arguments, **named)
        seat.task.add_done_callback(lambda _task: self._woken.set())

    def _hand_out(self) -> None:
        for seat in self._seats.values():
            if self._waiting and seat.is_fit and seat.task is None:
                self._start(seat, self._waiting.popleft())

    def _start(self, seat: _Seat, job: _Job) -> None:
        seat.job, job.since = job, job.since or time.monotonic()
        case = job.planned.case
        if job.identity is None:
            self._submit(seat, identify, case)
        else:
            self._submit(seat, do_case, self._order, case, job.identity, number=job.number)

    # Answers

    def _take_answer(self, seat: _Seat) -> None:
        task, seat.task = seat.task, None
        job, seat.job = seat.job, None
        try:
            answer = self._cluster.answer(task)
        except WorkerDiedError:
            # If it is back under the same address, it is a new one to be checked.
            del self._seats[seat.address]
            if job is not None:
                self._redo(job)
            return
        if job is None:
            self._greet(seat, answer)
        elif job.identity is None:
            self._identified(seat, job, answer)
        else:
            self._ended(job, job.identity, answer)

    def _greet(self, seat: _Seat, lack: Failure | None) -> None:
        seat.is_fit = lack is None
        if lack is None:
            return
        if all(one.is_fit is False for one in self._seats.values()):
            raise ClusterError(
                f"No worker can take cases. {seat.address}: {lack.message}", hint=lack.hint
            )
        _LOG.warning("Worker %s is left out: %s %s", seat.address, lack.message, lack.hint)

    def _identified(self, seat: _Seat, job: _Job, answer: Identity | Failure) -> None:
        if isinstance(answer, Failure):
            self._book.unread(job.planned, answer, since=job.since)
        elif self._book.begin(job.planned, answer.input_id, since=job.since):
            job.identity = answer
            self._start(seat, job)

    def _ended(self, job: _Job, identity: Identity, answer: int | Failure | NoRoom) -> None:
        if isinstance(answer, NoRoom):
            raise OutputError(answer.message, hint=answer.hint)
        if isinstance(answer, Failure):
            self._book.fail(job.planned, identity.input_id, answer, since=job.since)
        else:
            self._book.done(job.planned, identity.input_id, lesions=answer, since=job.since)

    def _redo(self, job: _Job) -> None:
        """A worker died over a case: the next free one gets it, unless that happened too often."""
        job.deaths += 1
        if job.identity is not None:
            if self._book.begin_again(job.planned, job.identity.input_id, since=job.since):
                self._waiting.appendleft(job)
        elif job.deaths >= MOST_CRASHES:
            self._book.unread(job.planned, CRASHED, since=job.since)
        else:
            self._waiting.appendleft(job)
