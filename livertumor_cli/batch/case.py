"""One scan among many: where it lies, by what it is known again, and how it is read."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from livertumor_cli.batch.failure import CHANGED
from livertumor_cli.batch.look import Stamp, stamp_of
from livertumor_cli.case_files import REPORT
from livertumor_cli.errors import InputError, Reason
from livertumor_cli.file_digest import sha256_of
from livertumor_cli.io.dicom_scan import is_archive
from livertumor_cli.io.formats import (
    is_itk_file,
    is_volume_file,
    read_members,
    read_study,
    read_volume,
)
from livertumor_cli.io.zipped import members_sha256
from livertumor_cli.reading import ReadScan, with_plan
from livertumor_cli.segment_setup import SegmentOptions
from livertumor_cli.stopwatch import StopWatch
from livertumor_cli.volume import Volume

_MASK = "mask.nii.gz"

_UNREAD = "unread-"
_NAME_DIGITS = 16
"""Of the input's hash: among a million cases two agree with a probability of 1 to 30 million."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchCase:
    """A scan of which only headers were read.

    Attributes:
        path: The file, or the folder that holds the study; of a zip with several cases the place
            in it.
        source: The same as text for people, relative to where the search began.
        files: Every file that belongs to it.
        members: Where its file is a zip, those members of it that belong to the case.
        is_study: Whether it is a DICOM study, of which the folder may hold several.
        study_uid: StudyInstanceUID; empty for other scans.
        notes: Sentences that its report must carry.
        size_bytes: Of all files.
        stamp: Changes when names, sizes or times of the files change.
    """

    path: Path
    source: str
    files: tuple[Path, ...]
    members: tuple[str, ...] = ()
    is_study: bool = False
    study_uid: str = ""
    notes: tuple[str, ...] = ()
    size_bytes: int = 0
    stamp: str = ""

    @property
    def count(self) -> int:
        """How many files it has, in a zip or not."""
        return len(self.members or self.files)


def stamp_files(files: Iterable[tuple[Path, Stamp]], *, members: Iterable[str] = ()) -> str:
    """One text for names, sizes and times of files, and for the members of a zip."""
    digest = hashlib.sha256()
    for path, (size, changed_ns) in sorted(files):
        name = str(path).encode("utf-8", "surrogateescape")
        digest.update(name + f"\0{size}\0{changed_ns}\n".encode())
    for member in sorted(members):
        digest.update(member.encode("utf-8", "surrogateescape") + b"\0")
    return digest.hexdigest()


def stamped(case: BatchCase) -> BatchCase:
    """The case with the stamp of its files as they are now, seen from this computer."""
    files = [(path, stamp_of(path)) for path in case.files]
    return replace(case, stamp=stamp_files(files, members=case.members))


def has_changed(case: BatchCase) -> bool:
    """Whether files of the case are others than when it was stamped."""
    return stamped(case).stamp != case.stamp


def input_hash(case: BatchCase) -> str:
    """SHA-256 over the content of the files, whatever their names and order, in a zip or not.

    The format that a name tells counts: of two copies, one of them misnamed, that one alone fails.

    Raises:
        InputError: If a file cannot be read.
    """
    digests: list[str] = []
    for path in case.files:
        try:
            digests += members_sha256(path, case.members) if case.members else [sha256_of(path)]
        except OSError as error:
            raise InputError(
                f"{path} cannot be read: {error.strerror or error}.",
                reason=Reason.UNREADABLE,
                hint="Ask for permission to read it, or copy it again.",
            ) from error
    content = b"".join(sorted(map(bytes.fromhex, digests)))
    return hashlib.sha256(content + _format_tag(case)).hexdigest()


def _format_tag(case: BatchCase) -> bytes:
    """What is hashed of the format; nothing for NIfTI and DICOM."""
    path = Path(case.members[0]) if case.members else case.files[0]
    if case.is_study:
        return b""
    if is_volume_file(path):
        return b"itk" if is_itk_file(path) else b""
    return b"archive" if is_archive(path.name) else b""


def unread_id(case: BatchCase) -> str:
    """What a case is called whose content could not be read: it is known by its files' stamp."""
    return f"{_UNREAD}{case.stamp}"


def is_unread(input_id: str) -> bool:
    """Whether an id is of `unread_id`, and tells nothing of the content."""
    return input_id.startswith(_UNREAD)


def case_name(input_id: str) -> str:
    """Name of the folder of results: the same wherever the scan lies, and no patient's name."""
    return f"case-{input_id[:_NAME_DIGITS]}"


def is_folder_of_results(names: Collection[str]) -> bool:
    """Whether a folder of such files is an earlier result, which is no scan."""
    return {_MASK, REPORT} <= set(names)


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
    if case.members:
        [path] = case.files
        return read_members(path, case.members, resample_irregular=resample_irregular)
    volume = read_volume(case.path, resample_irregular=resample_irregular)
    if case.path.suffix.lower() == ".zip":
        # Nothing was found in it when it was searched: it may hold several studies by now.
        raise CHANGED
    return volume
