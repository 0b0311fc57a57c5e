"""A node at work: one program has the spool, and works it off while images come in."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from livertumor_cli.errors import OutputError
from livertumor_cli.io.atomic import make_folder
from livertumor_cli.node.spool import Spool
from livertumor_cli.node.worker import Worker

POLL_S = 1.0


@contextmanager
def open_spool(folder: Path) -> Iterator[Spool]:
    """The spool in a folder, for this program alone as long as the block lasts.

    Args:
        folder: Made if absent; what an earlier run left there goes on.

    Raises:
        OutputError: If it cannot be made, or another program uses it.
    """
    make_folder(folder)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(blocking=False)
    except Timeout as error:
        raise OutputError(
            f"{folder} is used by another 'livertumor listen'.",
            hint="End that one, or choose another folder with --spool.",
        ) from error
    try:
        yield Spool(folder)
    finally:
        lock.release()


def work_until(
    stopped: Callable[[], bool], worker: Worker, *, on_done: Callable[[Path], None]
) -> None:
    """Work off the spool until told to stop, which is asked between two studies.

    Args:
        stopped: Whether to stop.
        worker: What does the work.
        on_done: Told the folder of each result.
    """
    while not stopped():
        done = worker.step()
        if done is None:
            time.sleep(POLL_S)
        else:
            on_done(done)
