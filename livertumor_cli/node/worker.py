"""What is done with the studies of a spool: segmented, sent on, put away."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from livertumor_cli.case_files import write_case
from livertumor_cli.errors import (
    BackendError,
    LiverTumorError,
    NetworkError,
    OutputError,
    Reason,
    SeriesSelectionError,
)
from livertumor_cli.io.atomic import write_text
from livertumor_cli.io.dicom_net import DEFAULT_AET, Peer
from livertumor_cli.node.spool import Contents, Job, Spool
from livertumor_cli.pipeline import segment_case
from livertumor_cli.reading import Progress
from livertumor_cli.segment_setup import Networks, SegmentOptions

FIRST_RETRY_S = 15.0
LONGEST_RETRY_S = 600.0
MOST_ATTEMPTS = 3
"""A study that ended the program so often, for want of memory say, must not stop all others."""

_ATTEMPTS = "attempts"
_log = logging.getLogger(__name__)

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSettings:
    """How a node works.

    Attributes:
        options: How studies are segmented, with the DICOM objects to make.
        forward: Where DICOM results go; nowhere if None.
        aet: Title under which this node calls.
        quiet_s: How long nothing of a study must have come before it is taken as whole.
    """

    options: SegmentOptions
    forward: Peer | None = None
    aet: str = DEFAULT_AET
    quiet_s: float = 30.0


class Worker:
    """Works off a spool, one study after the other; used by one thread.

    Args:
        spool: Where studies come and go.
        networks: Opened once.
        settings: How.
        tell: Told in a sentence what happens; no patient is named.
        progress: Told how far the study is.
    """

    def __init__(
        self,
        spool: Spool,
        *,
        networks: Networks,
        settings: NodeSettings,
        tell: Tell,
        progress: Progress,
    ) -> None:
        self._spool = spool
        self._networks = networks
        self._settings = settings
        self._tell = tell
        self._progress = progress
        self._retries: dict[str, tuple[float, float]] = {}
        self._cut_off: set[str] = set()

    def step(self) -> Path | None:
        """Take what is whole, then work on the oldest job that is due.

        Returns:
            Results of a study that was finished; None if nothing was.
        """
        for study in self._spool.take_whole(self._settings.quiet_s):
            try:
                self._take(study)
            except OutputError as error:
                self._tell(f"{study}: {error.message}")
        self._tell_of_cuts()
        due = [job for job in self._spool.jobs() if self._is_due(job)]
        return self._work(due[0]) if due else None

    def _tell_of_cuts(self) -> None:
        cut_off = self._spool.cut_off()
        for study in sorted(cut_off - self._cut_off):
            self._tell(f"{study} was cut off or not stored whole; it waits until it is sent again.")
        self._cut_off = cut_off

    def _take(self, study: str) -> None:
        came, known = self._spool.incoming(study), self._spool.segmented(study)
        if _is_within(came, known):
            self._tell(f"{study} came again; its results are sent again.")
            self._spool.send_again(study)
            return
        count = sum(len(names) for names in came.values())
        self._tell(f"{study} is complete: {count} images in {len(came)} series.")
        self._spool.to_jobs(study)

    def _is_due(self, job: Job) -> bool:
        at_s, _ = self._retries.get(job.name, (0.0, 0.0))
        return time.monotonic() >= at_s

    def _work(self, job: Job) -> Path | None:
        if _attempts(job) >= MOST_ATTEMPTS:
            self._give_up(job, f"The program ended {MOST_ATTEMPTS} times while it segmented this.")
            return None
        try:
            if not job.results.exists():
                self._segment(job)
            self._forward(job)
            done = self._spool.finish(job)
        except (BackendError, NetworkError, OutputError) as error:
            # These pass: a disk is emptied, an archive comes back. The study waits in its place.
            self._retry_later(job, error)
            return None
        except KeyboardInterrupt:
            (job.folder / _ATTEMPTS).unlink(missing_ok=True)  # ended on purpose
            raise
        except LiverTumorError as error:
            self._give_up(job, " ".join(filter(None, (error.message, error.hint))))
            return None
        except Exception as error:
            # One study must not end a service; its images are kept for whoever looks into it.
            _log.exception("%s cannot be segmented", job.name)
            self._give_up(job, f"The program failed: {type(error).__name__}.")
            return None
        self._retries.pop(job.name, None)
        self._tell(f"{job.name} is done.")
        return done

    def _segment(self, job: Job) -> None:
        known, came = self._spool.segmented(job.name), self._spool.contents(job)
        if _came_in_parts(came, known):
            raise SeriesSelectionError(
                "Other images of one of its series were segmented before.",
                reason=Reason.MISSING_SLICES,
                hint="Send the whole study again.",
            )
        write_text(job.folder / _ATTEMPTS, "x" * (_attempts(job) + 1))
        options = self._settings.options
        result = segment_case(
            job.images, options=options, progress=self._progress, networks=self._networks
        )
        write_case(result, job.results, overwrite=False)

    def _forward(self, job: Job) -> None:
        peer = self._settings.forward
        files = sorted(job.results.glob("*.dcm"))
        if peer is None or not files:
            return
        from livertumor_cli.io.dicom_net_send import send_files

        send_files(files, peer=peer, aet=self._settings.aet)
        self._tell(f"{job.name}: {len(files)} objects were sent to {peer}.")

    def _retry_later(self, job: Job, error: LiverTumorError) -> None:
        _, wait_s = self._retries.get(job.name, (0.0, FIRST_RETRY_S / 2))
        wait_s = min(2 * wait_s, LONGEST_RETRY_S)
        self._retries[job.name] = (time.monotonic() + wait_s, wait_s)
        # The error was caught, so the program lives: this was no attempt that ended it.
        (job.folder / _ATTEMPTS).unlink(missing_ok=True)
        self._tell(f"{job.name}: {error.message} Next try in {wait_s:.0f} s.")

    def _give_up(self, job: Job, reason: str) -> None:
        (job.folder / _ATTEMPTS).unlink(missing_ok=True)
        try:
            self._spool.fail(job, reason)
        except OutputError as error:
            self._retry_later(job, error)
            return
        self._retries.pop(job.name, None)
        self._tell(f"{job.name} failed: {reason}")


def _attempts(job: Job) -> int:
    """How often the program began to segment a study and did not live to say how it went."""
    path = job.folder / _ATTEMPTS
    return len(path.read_bytes()) if path.exists() else 0


def _is_within(came: Contents, known: Contents) -> bool:
    return all(names <= known.get(series, set()) for series, names in came.items())


def _came_in_parts(came: Contents, known: Contents) -> bool:
    """Whether a series has images that are new, and lacks some that were there before."""
    return any(
        bool(names - known.get(series, set())) and bool(known.get(series, set()) - names)
        for series, names in came.items()
    )
