"""Files that appear whole or not at all: a temporary name first, then a rename into place."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from livertumor_cli.errors import OutputError

_SENTENCES = {
    errno.ENOSPC: ("the disk is full", "Free some space or choose another folder."),
    errno.EACCES: ("writing is not permitted there", "Choose a folder you may write to."),
    errno.EPERM: ("writing is not permitted there", "Choose a folder you may write to."),
    errno.EROFS: ("the disk is read-only", "Choose a folder on another disk."),
    errno.ENOTDIR: ("a part of the path is a file, not a folder", "Choose another folder."),
    errno.EEXIST: ("a file of that name is in the way", "Choose another folder."),
    errno.ENAMETOOLONG: ("the name is too long", "Choose a shorter name."),
}


def output_error(error: OSError, *, path: Path) -> OutputError:
    """Turn an operating system's refusal to write into a sentence.

    Args:
        error: What the operating system raised.
        path: The file or folder the user knows, not a temporary name.
    """
    reason, hint = _SENTENCES.get(error.errno or 0, (error.strerror or str(error), ""))
    return OutputError(f"{path} cannot be written: {reason}.", hint=hint)


def has_utf8_name(path: Path) -> bool:
    """Whether a path is text; ITK ends the process at any other, which only Linux allows."""
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def make_folder(path: Path) -> None:
    """Make a folder and its parents; one that is there already stays.

    Raises:
        OutputError: If it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(error, path=path) from error


def partial_name(path: Path) -> Path:
    """A hidden name beside `path` that no other run uses: rename works within one folder only."""
    return path.with_name(f".{path.name}.partial-{secrets.token_hex(4)}")


@contextmanager
def written_atomically(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing that takes its name only when the block ends without an error.

    Args:
        path: Final name; an existing file is replaced in one step.

    Yields:
        Binary stream of the temporary file.

    Raises:
        OutputError: If the file cannot be written; nothing is left behind then.
    """
    partial = partial_name(path)
    try:
        with partial.open("xb") as stream:
            yield stream
            stream.flush()
            # Without this a power cut may leave an empty file under the final name.
            os.fsync(stream.fileno())
        partial.replace(path)
    except OSError as error:
        raise output_error(error, path=path) from error
    finally:
        partial.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file in one step.

    Raises:
        OutputError: If it cannot be written.
    """
    with written_atomically(path) as stream:
        stream.write(content)


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write several files, each in one step; folders in their names are made.

    Args:
        folder: Where to.
        files: Content by name, such as "figures/lesion_01.png".

    Raises:
        OutputError: If one cannot be written.
    """
    for name, content in files.items():
        path = folder / name
        make_folder(path.parent)
        write_bytes(path, content)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file in one step, with the line ends as they stand in `text`.

    Raises:
        OutputError: If it cannot be written.
    """
    write_bytes(path, text.encode("utf-8"))
