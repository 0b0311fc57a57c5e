"""Seconds by step of a run."""

from __future__ import annotations

import time
from dataclasses import dataclass, field


@dataclass(slots=True)
class StopWatch:
    """Books the time between two laps under a step's name.

    Attributes:
        timings_s: Seconds by step, in the order the steps ended first.
    """

    timings_s: dict[str, float] = field(default_factory=dict)
    _since: float = field(default_factory=time.perf_counter)

    def lap(self, step: str) -> None:
        """Book the time since the last lap."""
        now = time.perf_counter()
        self.timings_s[step] = self.timings_s.get(step, 0.0) + now - self._since
        self._since = now

    def restart(self) -> None:
        """Begin the next lap now: what passed since the last one is booked nowhere."""
        self._since = time.perf_counter()
