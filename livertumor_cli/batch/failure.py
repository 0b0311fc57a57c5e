"""Why a case failed, in the words that the table of failures and programs use."""

from __future__ import annotations

import errno
import logging
from dataclasses import dataclass

from livertumor_cli.errors import (
    BackendError,
    ConfigError,
    InputError,
    LiverTumorError,
    ModelError,
    OutputError,
    Reason,
)

_LOG = logging.getLogger(__name__)

_WORDS: tuple[tuple[type[LiverTumorError], str], ...] = (
    (ConfigError, "config"),
    (ModelError, "model"),
    (BackendError, "device_or_memory"),
    (OutputError, "output"),
)

_NO_ROOM = {errno.ENOSPC, errno.EROFS, getattr(errno, "EDQUOT", errno.ENOSPC)}


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a case has no result.

    Attributes:
        reason: One stable word: of `errors.Reason`, or of this module.
        exit_code: That `segment` would have had.
        message: What is wrong, and where.
        hint: What the user can do; may be empty.
    """

    reason: str
    exit_code: int
    message: str
    hint: str = ""


CRASHED = Failure(
    "crashed",
    1,
    "The program ended without a word each time it worked on this case.",
    "It may need more memory than there is. Try it alone with 'livertumor segment'.",
)
IN_THE_WAY = Failure(
    "output",
    OutputError.exit_code,
    "There is a result of this case that was made with another recipe, options or version.",
    "Give another folder, or replace such results with --overwrite.",
)
CHANGED = InputError(
    "Files of this case changed while it was read.",
    reason=Reason.UNREADABLE,
    hint="Wait until it is copied, then run the same command again with --retry-failed.",
)


def failure_of(error: Exception) -> Failure:
    """What is written down of an error."""
    if isinstance(error, MemoryError):
        error = BackendError("the machine ran out of memory.", hint="Close other programs.")
    if not isinstance(error, LiverTumorError):
        _LOG.warning("A case ended in an error of the program.", exc_info=error)
        words = f"{type(error).__name__}: {error}"
        return Failure("internal", 1, f"An error of the program: {words}", "Please report it.")
    if isinstance(error, InputError):
        reason = str(error.reason)
    else:
        reason = next((word for kind, word in _WORDS if isinstance(error, kind)), "other")
    return Failure(reason, error.exit_code, error.message, error.hint)


def is_about_memory(failure: Failure) -> bool:
    """Whether the case may work when it has the machine for itself."""
    return failure.exit_code == BackendError.exit_code


def is_without_room(error: Exception) -> bool:
    """Whether the disk of the results is full or has become read-only: no case can be written."""
    cause = error.__cause__
    return isinstance(error, OutputError) and isinstance(cause, OSError) and cause.errno in _NO_ROOM
