"""The folder of a batch's results: one batch at a time, and nothing half-written in it."""

from __future__ import annotations

import json
import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from livertumor_cli.batch.journal import JOURNAL
from livertumor_cli.errors import OutputError
from livertumor_cli.io.atomic import make_folder, output_error

_LOCK = ".livertumor.lock"
_HOLDER = ".livertumor.holder.json"
_PARTIAL = ".*.partial-*"


@contextmanager
def taken(out: Path) -> Iterator[None]:
    """Take a folder of results for this process; it is free again when the process ends, however.

    The lock is the operating system's, so that a killed batch leaves none behind. What such a
    batch left half-written is removed.

    Args:
        out: The folder; made if it is not there.

    Raises:
        OutputError: If another batch has it, it holds something else, or cannot be written.
    """
    make_folder(out)
    # Before the lock, whose file would else be left in a folder that is not ours.
    require_ours(out)
    lock = FileLock(out / _LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise OutputError(
            f"{out} is in use by another batch{_holder(out)}.",
            hint="Wait until it has ended, or give another folder.",
        ) from error
    except OSError as error:
        raise output_error(error, path=out) from error
    try:
        remove_partial(out)
        _note_holder(out)
        yield
    finally:
        with suppress(OSError):
            (out / _HOLDER).unlink(missing_ok=True)
        lock.release()


def require_ours(out: Path) -> None:
    """Refuse a folder that holds anything but results of a batch.

    Raises:
        OutputError: If it does, or cannot be read.
    """
    try:
        shown = [entry.name for entry in out.iterdir() if not entry.name.startswith(".")]
    except OSError as error:
        raise output_error(error, path=out) from error
    if shown and JOURNAL not in shown:
        raise OutputError(
            f"{out} holds files that are no results of a batch.",
            hint="Give a new folder; these files are left as they are.",
        )


def remove_partial(out: Path) -> None:
    """Remove what a batch that was killed left half-written; only under the lock."""
    for path in out.glob(_PARTIAL):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with suppress(OSError):
                path.unlink()


def holder_text(out: Path) -> str:
    """What the batch that has the folder wrote into it, which no other folder holds.

    Raises:
        OSError: If it cannot be read.
    """
    return (out / _HOLDER).read_text(encoding="utf-8")


def _note_holder(out: Path) -> None:
    """Say who has the folder, for the sentence that another batch prints."""
    at = datetime.now(UTC).isoformat(timespec="seconds")
    who = {"process": os.getpid(), "host": platform.node(), "since": at}
    try:
        (out / _HOLDER).write_text(json.dumps(who), encoding="utf-8")
    except OSError as error:
        raise output_error(error, path=out) from error


def _holder(out: Path) -> str:
    try:
        who = json.loads(holder_text(out))
        return f" (process {who['process']} on {who['host']} since {who['since']})"
    except (OSError, ValueError, KeyError, TypeError):
        return ""
