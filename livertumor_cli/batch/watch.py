"""A folder into which cases come: each is taken once it is complete."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from livertumor_cli.batch.batch import Batch
from livertumor_cli.batch.case import BatchCase
from livertumor_cli.batch.discovery import find_cases
from livertumor_cli.batch.events import Observer
from livertumor_cli.batch.look import Looker
from livertumor_cli.batch.plan import Selection, Task

_NAP_S = 0.2


@dataclass(slots=True)
class Settling:
    """Knows which cases have not changed for a while: those are taken for complete.

    Times of change do not tell it: programs that copy give a file its old time.

    Attributes:
        settle_s: For how long.
    """

    settle_s: float
    _since: dict[tuple[Path, str], tuple[str, float]] = field(default_factory=dict)

    def settled(self, cases: Sequence[BatchCase], *, now_s: float) -> list[BatchCase]:
        """The cases whose files are the same as `settle_s` ago.

        Args:
            cases: Found now.
            now_s: A clock that never goes back.
        """
        known, self._since = self._since, {}
        for case in cases:
            key = case.path, case.study_uid
            stamp, since_s = known.get(key, ("", now_s))
            self._since[key] = (case.stamp, since_s if stamp == case.stamp else now_s)
        return [
            case
            for case in cases
            if now_s - self._since[case.path, case.study_uid][1] >= self.settle_s
        ]


def watch_folder(
    batch: Batch,
    folder: Path,
    *,
    every_s: float,
    settle_s: float,
    observe: Observer,
    should_stop: Callable[[], bool],
) -> None:
    """Search a folder again and again, and run the cases that are new and complete.

    Args:
        batch: Opened for the whole time.
        folder: Where cases appear.
        every_s: Time between two searches.
        settle_s: A case must not have changed for so long.
        observe: Told what goes on, from several threads.
        should_stop: Asked between cases and while waiting.

    Raises:
        OutputError: If nothing can be written any more.
        ModelError: If the recipe cannot be used.
        BackendError: If the device or engine cannot be had.
    """
    settling, looker = Settling(settle_s), Looker()
    while not should_stop():
        found = find_cases(folder, leave_out=batch.out, looker=looker)
        cases = settling.settled(found.cases, now_s=time.monotonic())
        plan = batch.plan(cases, Selection())
        if plan.to_run or plan.of(Task.OUTDATED):
            # Results in the way are refused now, and not when the first new case comes.
            batch.run(plan, observe=observe, should_stop=should_stop)
            batch.forget_replaced(found.cases)
            batch.sum_up()
        wake_s = time.monotonic() + every_s
        while time.monotonic() < wake_s and not should_stop():
            time.sleep(_NAP_S)
