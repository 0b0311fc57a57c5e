"""What happened to every case, in a file that is only appended to and survives a power cut.

One JSON object per line, each on the disk before the program goes on. A line cut off by a crash is
passed over when the file is read again.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import threading
from collections import defaultdict
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from livertumor_cli.batch.failure import CRASHED, Failure
from livertumor_cli.io.atomic import output_error

JOURNAL = "journal.jsonl"

_LOG = logging.getLogger(__name__)


class Status(StrEnum):
    """Where a case stands under some settings."""

    OPEN = "open"
    DONE = "done"
    FAILED = "failed"


@dataclass(slots=True)
class Entry:
    """What is known of one input under some settings.

    Attributes:
        status: Where it stands.
        crashes: How often work on it began and did not end in any way since it last ended.
        failure: If it failed.
    """

    status: Status = Status.OPEN
    crashes: int = 0
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an input was found.

    Attributes:
        source: Its path.
        study_uid: Of a DICOM study, else empty.
    """

    source: str
    study_uid: str = ""


@dataclass(slots=True)
class _State:
    """The journal's lines added up."""

    inputs: dict[str, str] = field(default_factory=dict)
    origins: dict[Origin, str] = field(default_factory=dict)
    entries: dict[tuple[str, str], Entry] = field(default_factory=lambda: defaultdict(Entry))
    ended: dict[str, str] = field(default_factory=dict)
    results: dict[str, str] = field(default_factory=dict)
    unsure: set[str] = field(default_factory=set)
    settings: set[str] = field(default_factory=set)


class Journal:
    """The journal of one folder of results; may be used from several threads.

    Args:
        path: The file; made with the first line.

    Raises:
        OutputError: If it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._state = _State()
        try:
            content = path.read_bytes() if path.exists() else b""
        except OSError as error:
            raise output_error(error, path=path) from error
        self._ends_in_mid_line = not content.endswith(b"\n") and bool(content)
        for number, line in enumerate(content.splitlines(), start=1):
            try:
                self._add(json.loads(line))
            except (ValueError, KeyError, TypeError, AttributeError):
                _LOG.warning("Line %d of %s is damaged and was passed over.", number, path)

    # What is known

    def input_of(self, stamp: str) -> str | None:
        """The input that files with this stamp are."""
        return self._state.inputs.get(stamp)

    def entry(self, input_id: str, settings: str) -> Entry:
        """Where an input stands under some settings."""
        return self._state.entries.get((input_id, settings)) or Entry()

    def result_settings(self, input_id: str) -> str | None:
        """The settings that the result of an input was made with; None without a result.

        Empty if it is not known, as work with other settings broke off and may have replaced it.
        """
        return "" if input_id in self._state.unsure else self._state.results.get(input_id)

    def last_end(self, input_id: str) -> Entry:
        """How work on an input ended last, under whatever settings."""
        return self.entry(input_id, self._state.ended.get(input_id, ""))

    def origins(self) -> dict[Origin, str]:
        """The input that lay in each place when it was last looked at."""
        return dict(self._state.origins)

    # What happens

    def saw(self, stamp: str, input_id: str, origin: Origin) -> None:
        """Files were read and hashed."""
        known = self._state.origins.get(origin), self._state.inputs.get(stamp)
        if known != (input_id, input_id):
            record = {"stamp": stamp, "input": input_id, **asdict(origin)}
            self._append({"event": "seen", **record})

    def forget(self, origin: Origin) -> None:
        """Something else lies in a place by now; results stay, and are known again by content."""
        self._append({"event": "replaced", **asdict(origin)})

    def started(self, input_id: str, settings: str) -> None:
        """Work on a case begins."""
        self._append({"event": "started", "input": input_id, "settings": settings})

    def stopped(self, input_id: str, settings: str) -> None:
        """Work on a case was broken off as the user wished; it is no fault of the case."""
        self._append({"event": "stopped", "input": input_id, "settings": settings})

    def done(self, input_id: str, settings: str) -> None:
        """The result is in its place."""
        self._append({"event": "done", "input": input_id, "settings": settings})

    def failed(self, input_id: str, settings: str, failure: Failure) -> None:
        """There will be no result."""
        record = {"input": input_id, "settings": settings, **asdict(failure)}
        self._append({"event": "failed", **record})

    def uses(self, settings: str, meaning: dict[str, Any]) -> None:
        """What an id of settings stands for; told once."""
        if settings not in self._state.settings:
            self._append({"event": "settings", "settings": settings, "meaning": meaning})

    def _append(self, record: dict[str, Any]) -> None:
        at = datetime.now(UTC).isoformat(timespec="seconds")
        # ASCII: names of files need be no valid UTF-8.
        line = json.dumps({"at": at, **record}, allow_nan=False).encode("ascii") + b"\n"
        with self._lock:
            if self._ends_in_mid_line:
                line = b"\n" + line
            self._write(line)
            self._ends_in_mid_line = False
            self._add(record)

    def _write(self, line: bytes) -> None:
        try:
            with self._path.open("ab", buffering=0) as stream:
                if stream.write(line) != len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fsync(stream.fileno())
        except OSError as error:
            self._ends_in_mid_line = True
            raise output_error(error, path=self._path) from error

    def _add(self, record: dict[str, Any]) -> None:
        state, event = self._state, record["event"]
        if event == "settings":
            state.settings.add(record["settings"])
            return
        if event == "replaced":
            state.origins.pop(Origin(record["source"], record["study_uid"]), None)
            return
        input_id = record["input"]
        if event == "seen":
            state.inputs[record["stamp"]] = input_id
            state.origins[Origin(record["source"], record["study_uid"])] = input_id
            return
        entry = state.entries[input_id, record["settings"]]
        if event == "started":
            entry.crashes += 1
            if state.results.get(input_id) not in (None, record["settings"]):
                state.unsure.add(input_id)
        elif event == "stopped":
            entry.crashes = max(0, entry.crashes - 1)
        elif event == "done":
            state.entries[input_id, record["settings"]] = Entry(Status.DONE)
            state.results[input_id] = state.ended[input_id] = record["settings"]
            state.unsure.discard(input_id)
        elif event == "failed":
            words = (record[name] for name in ("reason", "exit_code", "message", "hint"))
            state.entries[input_id, record["settings"]] = Entry(Status.FAILED, 0, Failure(*words))
            state.ended[input_id] = record["settings"]
            if record["reason"] != CRASHED.reason:
                state.unsure.discard(input_id)
