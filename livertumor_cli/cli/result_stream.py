"""Standard output as the place of a result: where it cannot be written, that is an error."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from livertumor_cli.errors import OutputError


class ResultStream:
    """A stream on which a full disk ends the command, as it does under every other result.

    A reader who has closed the pipe, as `head` does, is no error of ours: click ends quietly then.

    Args:
        stream: What is written to; everything but writing is left to it.
        fault: Why it cannot be written, where that is known already.
    """

    def __init__(self, stream: IO[Any], *, fault: OutputError | None = None) -> None:
        self._stream = stream
        self._fault = fault

    @cached_property
    def buffer(self) -> ResultStream:
        """The binary stream below, to which click writes itself where the text would be ASCII."""
        return ResultStream(self._stream.buffer, fault=self._fault)  # type: ignore[attr-defined]

    def write(self, content: str | bytes) -> int:
        """Write text or bytes.

        Raises:
            OutputError: If it cannot be written, and ever after.
            BrokenPipeError: If nobody reads any more.
        """
        # Again: click tries a stream with nothing first, and hides what comes of that.
        if self._fault is not None:
            raise self._fault
        with self._refusals():
            return self._stream.write(content)

    def flush(self) -> None:
        """Pass on what was written; raises as `write` does, but once."""
        with self._refusals():
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            raise
        except OSError as error:
            from pathlib import Path

            from livertumor_cli.io.atomic import output_error

            self._drop_the_rest()
            self._fault = output_error(error, path=Path("standard output"))
            raise self._fault from error

    def _drop_the_rest(self) -> None:
        """Let the rest of the buffer go nowhere: Python would try it again at its end, and fail."""
        with suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)
