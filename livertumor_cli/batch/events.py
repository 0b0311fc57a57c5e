"""What a batch tells while it runs, for bars, logs and programs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from livertumor_cli.batch.failure import Failure


class Outcome(StrEnum):
    """How work on a case ended."""

    DONE = "done"
    FAILED = "failed"
    KNOWN = "known"
    POSTPONED = "postponed"


@dataclass(frozen=True, slots=True)
class CaseStep:
    """A case is at work: several are at the same time, each at another step.

    Attributes:
        source: Where the case lies.
        step: As in `segment`: "read", "liver", "lesions", "measure", "write".
        done: How much of the step is done.
        total: Of how much; 0 where that is not known.
    """

    source: str
    step: str
    done: int = 0
    total: int = 0


@dataclass(frozen=True, slots=True)
class CaseEnd:
    """Work on a case ended.

    Attributes:
        source: Where the case lies.
        name: Of its folder of results; empty where its content could not be read.
        outcome: KNOWN if the same content was done before or lies there twice; POSTPONED if it
            ran out of memory beside others and will be tried alone.
        seconds: From its reading on, the time it waited for others included.
        lesions: How many were found, if it is done.
        failure: If it failed.
    """

    source: str
    name: str
    outcome: Outcome
    seconds: float = 0.0
    lesions: int | None = None
    failure: Failure | None = None


Observer = Callable[[CaseStep | CaseEnd], None]
"""Called from several threads."""
