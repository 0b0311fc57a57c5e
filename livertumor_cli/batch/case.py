"""One scan among many: where it lies, by what it is known again, and how it is read."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from livertumor_cli.batch.look import Stamp, stamp_of
from livertumor_cli.errors import InputError, Reason, SeriesSelectionError
from livertumor_cli.file_digest import sha256_of
from livertumor_cli.io.formats import read_study, read_volume
from livertumor_cli.io.series_list import list_series
from livertumor_cli.pipeline import ReadScan, with_plan
from livertumor_cli.segment_setup import SegmentOptions
from livertumor_cli.stopwatch import StopWatch
from livertumor_cli.volume import Volume

_NAME_DIGITS = 16
"""Of the input's hash: among a million cases two agree with a probability of 1 to 30 million."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchCase:
    """A scan of which only headers were read.

    Attributes:
        path: The file, or the folder that holds the study.
        source: The same as text for people, relative to where the search began.
        files: Every file that belongs to it.
        is_study: Whether it is a DICOM study, of which the folder may hold several.
        study_uid: StudyInstanceUID; empty for other scans.
        notes: Sentences that its report must carry.
        size_bytes: Of all files.
        stamp: Changes when names, sizes or times of the files change.
    """

    path: Path
    source: str
    files: tuple[Path, ...]
    is_study: bool = False
    study_uid: str = ""
    notes: tuple[str, ...] = ()
    size_bytes: int = 0
    stamp: str = ""


def stamp_files(files: Iterable[tuple[Path, Stamp]]) -> str:
    """One text for names, sizes and times of files."""
    digest = hashlib.sha256()
    for path, (size, changed_ns) in sorted(files):
        name = str(path).encode("utf-8", "surrogateescape")
        digest.update(name + f"\0{size}\0{changed_ns}\n".encode())
    return digest.hexdigest()


def stamped(case: BatchCase) -> BatchCase:
    """The case with the stamp of its files as they are now, seen from this computer."""
    return replace(case, stamp=stamp_files((path, stamp_of(path)) for path in case.files))


def has_changed(case: BatchCase) -> bool:
    """Whether files of the case are others than when it was stamped."""
    return stamped(case).stamp != case.stamp


def input_hash(case: BatchCase) -> str:
    """SHA-256 over the content of the files, whatever their names and order.

    Raises:
        InputError: If a file cannot be read.
    """
    digests = []
    for path in case.files:
        try:
            digests.append(bytes.fromhex(sha256_of(path)))
        except OSError as error:
            raise InputError(
                f"{path} cannot be read: {error.strerror or error}.",
                reason=Reason.UNREADABLE,
                hint="Ask for permission to read it, or copy it again.",
            ) from error
    return hashlib.sha256(b"".join(sorted(digests))).hexdigest()


def case_name(input_id: str) -> str:
    """Name of the folder of results: the same wherever the scan lies, and no patient's name."""
    return f"case-{input_id[:_NAME_DIGITS]}"


def read_case(case: BatchCase, *, options: SegmentOptions) -> ReadScan:
    """Read a case into memory.

    Raises:
        InputError: If the scan cannot be used.
        ConfigError: If the DICOM objects asked for cannot be made of it.
    """
    watch = StopWatch()
    volume = _read(case, resample_irregular=options.resample_irregular)
    if case.notes:
        source = replace(volume.source, notes=(*volume.source.notes, *case.notes))
        volume = replace(volume, source=source)
    return with_plan(volume, options=options, watch=watch)


def _read(case: BatchCase, *, resample_irregular: bool) -> Volume:
    if case.is_study:
        return read_study(case.files, folder=case.path, resample_irregular=resample_irregular)
    if case.path.suffix.lower() == ".zip":
        _require_one_study(case.path)
    return read_volume(case.path, resample_irregular=resample_irregular)


def _require_one_study(path: Path) -> None:
    """Refuse a zip of several CT studies: all but one would be left out without a word."""
    try:
        found = list_series(path)
    except InputError as error:
        if error.reason is Reason.NOT_AN_IMAGE:
            return  # one volume file, or nothing at all, which the reader says
        raise
    planes = [row.series.planes[0] for row in found.rows if row.series.planes]
    count = len({plane.study_uid for plane in planes})
    if count > 1:
        raise SeriesSelectionError(
            f"{path.name} holds CT of {count} studies.",
            reason=Reason.SEVERAL_SERIES,
            hint="Unpack it: in a folder each study is a case of its own.",
        )
