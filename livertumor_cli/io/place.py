"""What lies at a path that a user gave: nothing, something closed, a file or a folder.

Every command asks here, so that a missing input is the same error whatever was to be done with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from livertumor_cli.errors import InputError, Reason, UnsupportedFormatError


@contextmanager
def refusals_as_input_errors(path: Path, *, hint: str = "") -> Iterator[None]:
    """Context in which the operating system's refusal to read becomes one of the input.

    Args:
        path: What the user gave.
        hint: What to give where nothing lies there.

    Raises:
        InputError: not_found, or unreadable with the system's reason.
    """
    try:
        yield
    # `file/name` is missing on Windows too, where the system does not tell the two apart.
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(f"{path} does not exist.", reason=Reason.NOT_FOUND, hint=hint) from error
    except OSError as error:
        raise InputError(
            f"{path} cannot be read: {error.strerror or error}.", reason=Reason.UNREADABLE
        ) from error


def require_there(path: Path, *, hint: str = "") -> None:
    """Refuse a path at which nothing lies.

    Args:
        path: What the user gave.
        hint: What to give instead.

    Raises:
        InputError: not_found, or unreadable for a path that the system does not take.
    """
    with refusals_as_input_errors(path, hint=hint):
        path.stat()


def require_folder(path: Path, *, hint: str) -> None:
    """Refuse a path at which no folder lies.

    Args:
        path: What the user gave.
        hint: What to give instead.

    Raises:
        InputError: As `require_there`, or not_an_image for a file.
    """
    require_there(path, hint=hint)
    if not path.is_dir():
        raise UnsupportedFormatError(f"{path} is no folder.", reason=Reason.NOT_AN_IMAGE, hint=hint)
