"""A folder of results that appears whole or not at all."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from livertumor_cli.errors import OutputError
from livertumor_cli.io.atomic import output_error, partial_name


class OutputFolder:
    """Context in which results are written beside the target and renamed into place at the end.

    On any exception the temporary folder and the parents that were made for it are removed, and the
    target is as it was before. With `overwrite` an earlier result is replaced; a folder that shares
    no file name with the new result is not an earlier result, and is refused all the same, so that
    a mistyped path can never delete a folder of something else.

    Args:
        target: The folder that shall exist at the end.
        overwrite: Whether an earlier result may be replaced.

    Raises:
        OutputError: On entering, if the target exists (and `overwrite` is not given) or its parent
            cannot be written; on leaving, if the results cannot be moved into place.
    """

    def __init__(self, target: Path, *, overwrite: bool = False) -> None:
        self.target = target.absolute()
        self.overwrite = overwrite
        self._partial = partial_name(self.target)
        self._made: list[Path] = []

    def __enter__(self) -> Path:
        try:
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

    def discard(self) -> None:
        """Remove what was made and is not in its place; the parents only where they are empty."""
        shutil.rmtree(self._partial, ignore_errors=True)
        for folder in self._made:
            with suppress(OSError):
                folder.rmdir()

    def _refuse_existing(self) -> None:
        if not self.target.name:
            raise OutputError(f"{self.target} is no folder for results.")
        if self.target.is_file():
            raise OutputError(f"{self.target} is a file.", hint="Name a folder for the results.")
        if self.overwrite or not self.target.exists() or not any(self.target.iterdir()):
            return
        raise OutputError(
            f"{self.target} exists already.",
            hint="Choose another folder, or replace the earlier result with --overwrite.",
        )

    def _move_into_place(self) -> None:
        if not self.target.exists():
            self._partial.rename(self.target)
            return
        self.refuse_foreign({entry.name for entry in self._partial.iterdir()})
        # Renamed, not deleted first: if the second rename fails the earlier result comes back.
        earlier = partial_name(self.target)
        self.target.rename(earlier)
        try:
            self._partial.rename(self.target)
        except OSError:
            earlier.rename(self.target)
            raise
        shutil.rmtree(earlier, ignore_errors=True)

    def refuse_foreign(self, new: set[str]) -> None:
        """Raise an OutputError if the target exists and shares no file name with `new`."""
        old = {entry.name for entry in self.target.iterdir()} if self.target.exists() else set()
        if old and not (self.overwrite and old & new):
            raise OutputError(
                f"{self.target} holds files that are no earlier result of this command.",
                hint="Choose another folder; these files are left as they are.",
            )


def require_writable(target: Path, *, files: set[str], overwrite: bool = False) -> None:
    """Raise now what writing results would raise at the end of the work.

    Args:
        target: The folder that shall exist at the end.
        files: Names of what will be written into it.
        overwrite: Whether an earlier result may be replaced.

    Raises:
        OutputError: If the target exists (and `overwrite` is not given), is no earlier result, or
            cannot be written.
    """
    trial = OutputFolder(target, overwrite=overwrite)
    trial.__enter__()
    trial.discard()
    trial.refuse_foreign(files)
