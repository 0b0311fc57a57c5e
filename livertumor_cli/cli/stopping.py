"""Ctrl-C in long work: the first asks it to end at its next safe place, a second ends it now."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

_STDERR = 2


@contextmanager
def first_interrupt_asks(*, during: str = "step") -> Iterator[Callable[[], bool]]:
    """Give the work a question that tells, after a Ctrl-C, that it should stop.

    Where Ctrl-C is ignored, as in a shell's background jobs, it stays ignored.

    Args:
        during: What the work ends before it stops, in the sentence for the user.
    """
    asked = threading.Event()
    sentence = f"\nStopping after this {during}; press Ctrl-C again to stop at once.\n"

    def ask(_signal: int, _frame: FrameType | None) -> None:
        asked.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        # Not through Python's streams: the signal may have come while one of them was writing.
        with suppress(OSError):
            os.write(_STDERR, sentence.encode("ascii"))

    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield asked.is_set
        return
    signal.signal(signal.SIGINT, ask)
    try:
        yield asked.is_set
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
