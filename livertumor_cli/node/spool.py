"""The spool folder: every image is on disk before its sender is told that it was stored.

    incoming/STUDY/images/SERIES/IMAGE.dcm   being received; `receiving` lies there till it is whole
    jobs/STUDY/                              to be segmented, or its `results` to be sent
    done/STUDY/                              `results`; `instances.json`: what they were made of
    failed/STUDY/                            images, and `reason.txt`

A study goes from one to the next by one rename, so it is always in exactly one of them, whenever
the program or the machine stops. Names are UIDs, or digests where a UID is none; no patient is
named.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from livertumor_cli.errors import OutputError
from livertumor_cli.io.atomic import make_folder, output_error, write_bytes, write_text
from livertumor_cli.io.dicom_net_receive import Instance, Transfer
from livertumor_cli.node.arrivals import Arrivals

MIN_FREE_BYTES = 256 * 2**20
"""Left free for results; images are refused before the disk is full to the last byte."""

INCOMING, JOBS, DONE, FAILED = "incoming", "jobs", "done", "failed"
IMAGES, RESULTS = "images", "results"
_RECEIVING, _INSTANCES, _REASON = "receiving", "instances.json", "reason.txt"
_UID = re.compile(r"[0-9]([0-9.]{0,62}[0-9])?")

Contents = dict[str, set[str]]
"""Images by series, both as the spool names them."""


@dataclass(frozen=True, slots=True)
class Job:
    """A study to work on.

    Attributes:
        folder: In `jobs`.
    """

    folder: Path

    @property
    def name(self) -> str:
        """What it is called in messages: the UID of the study."""
        return self.folder.name

    @property
    def images(self) -> Path:
        """Folder of the images."""
        return self.folder / IMAGES

    @property
    def results(self) -> Path:
        """Folder of the results; it appears whole or not at all."""
        return self.folder / RESULTS


class Spool:
    """The folder and what is known of it; safe for several threads, not for several programs.

    Args:
        folder: Made if absent; what an earlier run left there goes on.

    Raises:
        OutputError: If it cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self._lock = threading.Lock()
        self._arrivals = Arrivals()
        for name in (INCOMING, JOBS, DONE, FAILED):
            make_folder(self.folder / name)
        self._tidy()

    def _tidy(self) -> None:
        """Remove what a sudden end left half done."""
        for partial in self.folder.glob(f"{INCOMING}/*/{IMAGES}/*/.*.partial-*"):
            partial.unlink(missing_ok=True)
        for partial in self.folder.glob(f"{JOBS}/*/.*.partial-*"):
            shutil.rmtree(partial, ignore_errors=True)
        for images in self.folder.glob(f"{DONE}/*/{IMAGES}"):
            shutil.rmtree(images, ignore_errors=True)

    def keep(self, instance: Instance, transfer: Transfer) -> None:
        """Write an image to the disk; see `Inbox.keep`. The same image again replaces itself."""
        study = _plain(instance.study_uid)
        folder = self.folder / INCOMING / study
        series = folder / IMAGES / _digest(instance.series_uid)
        with self._lock:
            self._require_room(len(instance.content))
            make_folder(series)
            if not (folder / _RECEIVING).exists():
                write_bytes(folder / _RECEIVING, b"")
            self._arrivals.came(study, transfer)
            write_bytes(series / f"{_digest(instance.sop_uid)}.dcm", instance.content)

    def refuse(self, study_uid: str, transfer: Transfer) -> None:
        """Note an image that was not kept; see `Inbox.refuse`."""
        with self._lock:
            self._arrivals.refused(_plain(study_uid), transfer)

    def _require_room(self, count: int) -> None:
        try:
            free = shutil.disk_usage(self.folder).free
        except OSError as error:
            raise output_error(error, path=self.folder) from error
        if free < MIN_FREE_BYTES + count:
            raise OutputError(f"{self.folder} cannot be written: the disk is nearly full.")

    def take_whole(self, quiet_s: float) -> list[str]:
        """Studies that are whole and to which nothing was added for a while, to be dealt with.

        Args:
            quiet_s: How long.
        """
        with self._lock:
            for study in self._arrivals.settle():
                (self.folder / INCOMING / study / _RECEIVING).unlink(missing_ok=True)
            return [
                folder.name
                for folder in _folders(self.folder / INCOMING)
                if not (folder / _RECEIVING).exists()
                and self._arrivals.quiet_s(folder.name) >= quiet_s
                and not (self.folder / JOBS / folder.name).exists()
            ]

    def cut_off(self) -> set[str]:
        """Studies whose last transfer was cut while this program ran."""
        with self._lock:
            return self._arrivals.cut_off()

    def waiting(self) -> list[str]:
        """Studies whose last transfer was cut, or is still going on."""
        folders = _folders(self.folder / INCOMING)
        return [folder.name for folder in folders if (folder / _RECEIVING).exists()]

    def incoming(self, study: str) -> Contents:
        """What came of a study."""
        return _listed(self.folder / INCOMING / study / IMAGES)

    def contents(self, job: Job) -> Contents:
        """The images of a job."""
        return _listed(job.images)

    def segmented(self, study: str) -> Contents:
        """What was segmented of a study before, all results together."""
        known: Contents = {}
        for folder in self._results_of(study):
            with suppress(OSError, ValueError):
                listed = json.loads((folder / _INSTANCES).read_text(encoding="utf-8"))
                for series, names in listed.items():
                    known.setdefault(series, set()).update(names)
        return known

    def to_jobs(self, study: str) -> None:
        """Make a job of what came, unless more of it began to come meanwhile.

        Raises:
            OutputError: If it cannot be moved.
        """
        with self._lock:
            if (self.folder / INCOMING / study / _RECEIVING).exists():
                return
            self._move(self.folder / INCOMING / study, self.folder / JOBS / study)
            self._arrivals.forget(study)

    def send_again(self, study: str) -> None:
        """Drop what came, as it was segmented before, and make jobs of the results.

        Nothing happens if more of it began to come meanwhile.

        Raises:
            OutputError: If they cannot be moved.
        """
        with self._lock:
            if (self.folder / INCOMING / study / _RECEIVING).exists():
                return
            for folder in self._results_of(study):
                self._move(folder, self.folder / JOBS / folder.name)
            shutil.rmtree(self.folder / INCOMING / study, ignore_errors=True)
            self._arrivals.forget(study)

    def jobs(self) -> list[Job]:
        """All jobs, in the order of their coming."""
        return [Job(folder) for folder in _folders(self.folder / JOBS)]

    def finish(self, job: Job) -> Path:
        """Move a job with its results to `done` and delete its images; returns its results.

        Raises:
            OutputError: If it cannot be moved.
        """
        if job.images.exists():
            listed = {series: sorted(names) for series, names in _listed(job.images).items()}
            write_text(job.folder / _INSTANCES, json.dumps(listed))
        target = self._free(DONE, job.name)
        self._move(job.folder, target)
        shutil.rmtree(target / IMAGES, ignore_errors=True)
        return target / RESULTS

    def fail(self, job: Job, reason: str) -> Path:
        """Move a job to `failed`, with the reason beside its images; returns its folder.

        Raises:
            OutputError: If it cannot be moved.
        """
        with suppress(OutputError):
            write_text(job.folder / _REASON, reason + "\n")
        target = self._free(FAILED, job.name)
        self._move(job.folder, target)
        return target

    def _results_of(self, study: str) -> list[Path]:
        return [
            folder
            for folder in _folders(self.folder / DONE)
            if folder.name.partition("_")[0] == study and (folder / RESULTS).exists()
        ]

    def _free(self, state: str, name: str) -> Path:
        """A name that is not taken: STUDY, STUDY_2, STUDY_3, ..."""
        study = name.partition("_")[0]
        path, number = self.folder / state / study, 1
        while path.exists():
            number += 1
            path = path.with_name(f"{study}_{number}")
        return path

    def _move(self, source: Path, target: Path) -> None:
        try:
            source.rename(target)
        except OSError as error:
            raise output_error(error, path=target) from error


def _plain(uid: str) -> str:
    """A UID as name of a folder; a digest of what is no UID and could lead anywhere."""
    return uid if _UID.fullmatch(uid) else _digest(uid)


def _digest(uid: str) -> str:
    return hashlib.sha256(uid.encode("utf-8", errors="surrogateescape")).hexdigest()[:32]


def _folders(parent: Path) -> list[Path]:
    """Folders in a folder, oldest first; what disappears meanwhile is left out."""
    found = []
    for folder in parent.iterdir():
        with suppress(OSError):
            if folder.is_dir():
                found.append((folder.stat().st_mtime, folder.name, folder))
    return [folder for *_, folder in sorted(found)]


def _listed(images: Path) -> Contents:
    return {
        series.name: {file.stem for file in series.glob("*.dcm")} for series in images.iterdir()
    }
