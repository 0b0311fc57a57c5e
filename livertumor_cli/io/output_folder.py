"""A folder of results that appears whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from types import TracebackType

from livertumor_cli.errors import LiverTumorError, OutputError
from livertumor_cli.io.atomic import has_utf8_name, output_error, partial_name

PROGRAM = "livertumor"

_MOST_NAMES = 3

_LEFT_BY_FILE_MANAGERS = {".DS_Store", "Thumbs.db", "desktop.ini"}
"""Made by looking at a folder; nobody misses them."""


@dataclass(frozen=True, slots=True)
class ResultFiles:
    """What a command writes into its folder, by which an earlier result of it is known.

    Attributes:
        proof: JSON file that names this program; without it a folder is no result.
        names: Every file that may be there, relative, with `/` between folders; `*` stands for any
            letters within a name.
    """

    proof: str
    names: frozenset[str]

    def foreign(self, folder: Path) -> list[str]:
        """Names in a folder, relative to it, that the command does not write.

        Args:
            folder: That exists. Links in it are foreign, and so are folders that hold nothing.
        """
        return [
            entry.relative_to(folder).as_posix() + ("/" if entry.is_dir() else "")
            for entry in _entries(folder)
            if entry.name not in _LEFT_BY_FILE_MANAGERS and not self._is_written(entry, folder)
        ]

    def is_proved(self, folder: Path) -> bool:
        """Whether the folder's `proof` says that this program wrote it."""
        try:
            document = json.loads((folder / self.proof).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return False
        program = document.get("program") if isinstance(document, dict) else None
        return isinstance(program, dict) and program.get("name") == PROGRAM

    def _is_written(self, entry: Path, folder: Path) -> bool:
        if entry.is_symlink() or not entry.is_file():
            return False
        parts = entry.relative_to(folder).parts
        return any(
            len(parts) == len(pattern) and all(map(fnmatchcase, parts, pattern))
            for pattern in (name.split("/") for name in self.names)
        )


def _entries(folder: Path) -> Iterator[Path]:
    """Everything below a folder but folders that hold something; links are not followed."""
    for entry in sorted(folder.iterdir()):
        if entry.is_symlink() or not entry.is_dir() or not any(entry.iterdir()):
            yield entry
        else:
            yield from _entries(entry)


class OutputFolder:
    """Context in which results are written beside the target and renamed into place at the end.

    On any exception the temporary folder and the parents that were made for it are removed, and the
    target is as it was before. With `overwrite` an earlier result is replaced: a folder that this
    program is proved to have written and that holds nothing else. Any other folder is refused, so
    that neither a mistyped path nor a file put beside results is ever deleted.

    Args:
        target: The folder that shall exist at the end. Where it is a link, what it points to is
            replaced, and the link stays.
        files: What is written.
        overwrite: Whether an earlier result may be replaced.

    Raises:
        OutputError: On entering, if the target exists (and `overwrite` is not given), is no earlier
            result, or its parent cannot be written; on leaving, if the results cannot be moved into
            place.
    """

    def __init__(self, target: Path, *, files: ResultFiles, overwrite: bool = False) -> None:
        self.target = Path(os.path.realpath(target))
        self.files = files
        self.overwrite = overwrite
        self._partial = partial_name(self.target)
        self._made: list[Path] = []

    def __enter__(self) -> Path:
        try:
            self._refuse_unusable()
            self._refuse_existing()
            self._made = [folder for folder in self.target.parents if not folder.exists()]
            self.target.parent.mkdir(parents=True, exist_ok=True)
            self._partial.mkdir()
        except OSError as error:
            self.discard()
            raise output_error(error, path=self.target) from error
        return self._partial

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self._move_into_place()
        except OSError as failure:
            raise output_error(failure, path=self.target) from failure
        finally:
            self.discard()
        if isinstance(error, LiverTumorError):
            # The user knows the target; the temporary folder is gone by now.
            error.message = error.message.replace(str(self._partial), str(self.target))

    def discard(self) -> None:
        """Remove what was made and is not in its place; the parents only where they are empty."""
        shutil.rmtree(self._partial, ignore_errors=True)
        for folder in self._made:
            with suppress(OSError):
                folder.rmdir()

    def _refuse_unusable(self) -> None:
        if not has_utf8_name(self.target):
            raise OutputError(
                f"{self.target} cannot be written: its name has bytes that are no UTF-8.",
                hint="Name a folder for the results whose path is plain text (-o).",
            )
        if not self.target.name or self.target.is_symlink():
            raise OutputError(f"{self.target} is no folder for results.")
        for path in (self.target, *self.target.parents):
            if path.is_file():
                raise OutputError(f"{path} is a file.", hint="Name a folder for the results.")

    def _refuse_existing(self) -> None:
        if not self.target.exists() or not any(self.target.iterdir()):
            return
        if not self.overwrite:
            raise OutputError(
                f"{self.target} exists already.",
                hint="Choose another folder, or replace the earlier result with --overwrite.",
            )
        self._refuse_foreign()

    def _refuse_foreign(self) -> None:
        foreign = self.files.foreign(self.target)
        if foreign:
            more = len(foreign) - _MOST_NAMES
            names = ", ".join(foreign[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
            raise OutputError(
                f"{self.target} is no earlier result of this command: it also holds {names}.",
                hint="Choose another folder, or move these elsewhere; nothing was changed.",
            )
        if not self.files.is_proved(self.target):
            raise OutputError(
                f"{self.target} is no earlier result of this command: its "
                f"{self.files.proof} is missing or was not written by this program.",
                hint="Choose another folder; nothing was changed.",
            )

    def _move_into_place(self) -> None:
        if not self.target.exists():
            self._partial.rename(self.target)
            return
        # Again: what was put there during the work is not ours either.
        self._refuse_existing()
        # Renamed, not deleted first: if the second rename fails the earlier result comes back.
        earlier = partial_name(self.target)
        self.target.rename(earlier)
        try:
            self._partial.rename(self.target)
        except OSError:
            earlier.rename(self.target)
            raise
        shutil.rmtree(earlier, ignore_errors=True)


def require_writable(
    target: Path, *, files: ResultFiles, overwrite: bool = False, inputs: Collection[Path] = ()
) -> None:
    """Raise now what writing results would raise at the end of the work.

    Args:
        target: The folder that shall exist at the end.
        files: What will be written into it.
        overwrite: Whether an earlier result may be replaced.
        inputs: What the results are made of; it must not lie in the folder.

    Raises:
        OutputError: If the target exists (and `overwrite` is not given), is no earlier result,
            holds an input, or cannot be written.
    """
    trial = OutputFolder(target, files=files, overwrite=overwrite)
    for path in inputs:
        if _lies_in(path, trial.target):
            raise OutputError(
                f"{path} lies in {trial.target}, which would be replaced.",
                hint="Choose another folder for the results.",
            )
    trial.__enter__()
    trial.discard()


def _lies_in(path: Path, folder: Path) -> bool:
    """Whether a path is a folder or lies in it, by its name or by what its links point to."""
    named, real = path.absolute(), path.resolve()
    above = (named, *named.parents, real, *real.parents)
    with suppress(OSError):
        return any(candidate.samefile(folder) for candidate in above if candidate.exists())
    return False
