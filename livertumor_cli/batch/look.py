"""What a file is, from its name and header: a scan, a part of a DICOM study, or nothing for us."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path

from livertumor_cli.errors import InputError
from livertumor_cli.io.archive import Archive, opened
from livertumor_cli.io.dicom_header import read_planes
from livertumor_cli.io.dicom_scan import is_archive
from livertumor_cli.io.formats import is_volume_file
from livertumor_cli.io.gzip_stream import is_gzip_name

_IMAGE_OF_PAIR = ".img"
"""Voxels of a .hdr beside it."""

_HEAD_BYTES = 2**17
"""Few headers are longer, so that of each file in a zip no more need be unpacked to look at it."""


class Kind(Enum):
    """What a file is to a batch."""

    VOLUME = auto()
    ZIP = auto()
    CLOSED = auto()
    DICOM = auto()
    DAMAGED = auto()
    OTHER = auto()


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen.

    Attributes:
        kind: What the file is; DAMAGED if it is or should be DICOM and cannot be read, CLOSED if
            it is an archive that is not opened.
        study_uid: StudyInstanceUID of a DICOM image; empty if it states none.
        has_ct: Whether a DICOM image calls itself CT.
        members: What lies in a zip, hidden files left out; empty if it cannot be opened.
    """

    kind: Kind
    study_uid: str = ""
    has_ct: bool = False
    members: tuple[Member, ...] = ()


@dataclass(frozen=True, slots=True)
class Member:
    """A file in a zip.

    Attributes:
        name: As `archive.Archive` calls it.
        size_bytes: Unpacked.
        look: What was seen; a zip in a zip is CLOSED.
    """

    name: str
    size_bytes: int
    look: Look


Stamp = tuple[int, int]
"""Size in bytes and time of change in ns; -1, -1 for what cannot be asked."""


def stamp_of(path: Path) -> Stamp:
    """Size and time of change of a file."""
    try:
        status = path.stat()
    except OSError:
        return -1, -1
    return status.st_size, status.st_mtime_ns


class Looker:
    """Looks into files, and again only into those that changed since."""

    def __init__(self) -> None:
        self._seen: dict[Path, tuple[Stamp, Look]] = {}

    def look(self, path: Path, stamp: Stamp) -> Look:
        """What a file is.

        Args:
            path: The file.
            stamp: From `stamp_of`, now.
        """
        known = self._seen.get(path)
        if known is None or known[0] != stamp:
            known = stamp, _look(path)
            self._seen[path] = known
        return known[1]

    def keep_only(self, paths: Iterable[Path]) -> None:
        """Forget files that are gone."""
        still = set(paths)
        self._seen = {path: seen for path, seen in self._seen.items() if path in still}


def _look(path: Path) -> Look:
    if is_volume_file(path):
        return Look(Kind.OTHER if _belongs_to_header(path) else Kind.VOLUME)
    if path.suffix.lower() == ".zip":
        return Look(Kind.ZIP, members=_members(path))
    return Look(Kind.CLOSED) if is_archive(path.name) else _look_at_content(path)


def _look_at_content(path: Path) -> Look:
    try:
        with warnings.catch_warnings():
            # Of values that break the standard; what matters is checked when the scan is read.
            warnings.simplefilter("ignore")
            planes = read_planes(path)
    except (InputError, OSError):
        return Look(Kind.DAMAGED)
    if not planes:
        return Look(Kind.OTHER)
    has_ct = any(plane.fault is None or plane.modality.upper() == "CT" for plane in planes)
    return Look(Kind.DICOM, planes[0].study_uid, has_ct)


def _belongs_to_header(path: Path) -> bool:
    image = path.with_suffix("") if is_gzip_name(path) else path
    return image.suffix.lower() == _IMAGE_OF_PAIR and image.with_suffix(".hdr").is_file()


def _members(path: Path) -> tuple[Member, ...]:
    try:
        with opened(path) as archive:
            return tuple(
                Member(name, size, _look_at_member(archive, name))
                for name, size in archive.sizes.items()
                if not any(part.startswith(".") for part in name.split("/"))
            )
    except (InputError, OSError):
        return ()  # said when it is read


def _look_at_member(archive: Archive, name: str) -> Look:
    if is_volume_file(Path(name)):
        return Look(Kind.VOLUME)
    if is_archive(name):
        return Look(Kind.CLOSED)
    try:
        with archive.unpacked(name, most_bytes=_HEAD_BYTES) as start:
            look = _look_at_content(start)
        if look.kind is not Kind.DAMAGED or archive.sizes[name] <= _HEAD_BYTES:
            return look
        with archive.unpacked(name) as whole:
            return _look_at_content(whole)
    except InputError:
        return Look(Kind.DAMAGED)
