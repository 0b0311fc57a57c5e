"""A zip file as a temporary folder: nothing leaves that folder, and no bomb fills the disk."""

from __future__ import annotations

import hashlib
import lzma
import re
import shutil
import stat
import struct
import zipfile
import zlib
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from itertools import filterfalse
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import IO

from livertumor_cli.errors import InputError, PixelError, Reason

MAX_MEMBERS = 50_000
"""As many files as are looked at in a folder."""

MAX_TOTAL_BYTES = 8 * 2**30
"""Several thin-slice series fit in 8 GiB."""

MAX_RATIO = 200
"""CT shrinks two- to tenfold, air around it more; a hundredfold more is no scan."""

_RATIO_FREE_BYTES = 64 * 2**20
"""Below this size even a bomb is harmless, and tiny files of zeros shrink a lot."""

_BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    LookupError,
    NotImplementedError,
    OverflowError,
    RuntimeError,
    ValueError,
)
"""What damaged archives and unknown packings raise."""

_CHUNK_BYTES = 2**20

_UNPACK = "Unpack it with a program you trust and give the folder."


def is_zip(path: Path) -> bool:
    """Whether a file claims to be a zip archive, by its name or its first bytes."""
    if path.suffix.lower() == ".zip":
        return True
    with path.open("rb") as stream:
        return stream.read(4) == b"PK\x03\x04"


class Archive:
    """An opened zip whose members lead nowhere out of it; see `opened`.

    Attributes:
        sizes: Bytes of each member once it is unpacked, by a name that no other member has. Those
            that macOS added are left out.
    """

    def __init__(self, archive: zipfile.ZipFile, path: Path) -> None:
        self._archive = archive
        self._path = path
        self._members = _named(archive.infolist(), path=path)
        self.sizes = {name: member.file_size for name, member in self._members.items()}

    def unpack(self, folder: Path, *, only: Collection[str] = ()) -> None:
        """Unpack members into a folder.

        Each gets a folder with a number, and the plain letters of its last name part as name:
        nothing in the archive can choose where a file goes.

        Args:
            folder: That is empty.
            only: Names of the members wanted; all if empty.

        Raises:
            InputError: unsafe_archive or too_large, before anything is unpacked; unreadable for
                members that are damaged.
        """
        self._require_harmless(only or self._members)
        for number, (name, member) in enumerate(self._members.items()):
            if not only or name in only:
                target = folder / f"{number:06d}" / _plain_name(member)
                target.parent.mkdir()
                with self.stream(name) as packed, target.open("xb") as unpacked:
                    shutil.copyfileobj(packed, unpacked, _CHUNK_BYTES)

    @contextmanager
    def unpacked(self, name: str, *, most_bytes: int | None = None) -> Iterator[Path]:
        """One member as a temporary file.

        Args:
            name: The member.
            most_bytes: Of its beginning; all of it by default.

        Raises:
            InputError: As `unpack`.
        """
        if most_bytes is None:
            self._require_harmless([name])
        with TemporaryDirectory(prefix="livertumor-") as folder, self.stream(name) as packed:
            target = Path(folder, _plain_name(self._members[name]))
            left = self.sizes[name] if most_bytes is None else most_bytes
            with target.open("xb") as unpacked:
                while left > 0 and (chunk := packed.read(min(left, _CHUNK_BYTES))):
                    unpacked.write(chunk)
                    left -= len(chunk)
            yield target

    def sha256_of(self, names: Collection[str]) -> list[str]:
        """SHA-256 over the content of some members, as 64 hexadecimal digits each.

        Raises:
            InputError: As `unpack`.
        """
        self._require_harmless(names)
        digests = []
        for name in names:
            digest = hashlib.sha256()
            with self.stream(name) as packed:
                while chunk := packed.read(_CHUNK_BYTES):
                    digest.update(chunk)
            digests.append(digest.hexdigest())
        return digests

    @contextmanager
    def stream(self, name: str) -> Iterator[IO[bytes]]:
        """Read a member; zipfile stops at the size that is stated in `sizes`.

        Raises:
            InputError: unreadable, if it is damaged.
        """
        with _refused(self._path), self._archive.open(self._members[name]) as packed:
            yield packed

    def _require_harmless(self, names: Collection[str]) -> None:
        """Refuse what would fill the disk."""
        members = [self._members[name] for name in names if name in self._members]
        total = sum(member.file_size for member in members)
        packed = sum(member.compress_size for member in members)
        if total > _RATIO_FREE_BYTES and total > MAX_RATIO * max(1, packed):
            raise InputError(
                f"{self._path.name} would grow to {total / 2**30:.1f} GiB, "
                f"{total // max(1, packed)} times its size.",
                reason=Reason.UNSAFE_ARCHIVE,
                hint=_UNPACK,
            )
        if total > MAX_TOTAL_BYTES or len(members) > MAX_MEMBERS:
            raise InputError(
                f"{self._path.name} holds {len(members)} files of {total / 2**30:.1f} GiB "
                "together.",
                reason=Reason.TOO_LARGE,
                hint="Pack or give one study only.",
            )


@contextmanager
def opened(path: Path) -> Iterator[Archive]:
    """Open a zip file and look at the names in it.

    Args:
        path: The zip file.

    Raises:
        InputError: unsafe_archive for names that lead out of it; unreadable for a damaged or
            encrypted archive.
    """
    with ExitStack() as stack:
        with _refused(path):
            # Names are looked at in here too: an empty one breaks the standard library.
            archive = Archive(stack.enter_context(zipfile.ZipFile(path)), path)
        yield archive


@contextmanager
def extracted(path: Path, *, only: Collection[str] = ()) -> Iterator[Path]:
    """Unpack a zip file into a temporary folder that is removed at the end of the block.

    Args:
        path: The zip file.
        only: Names of the members wanted, as `Archive` calls them; all if empty.

    Yields:
        Folder of the unpacked files, each in a folder with a number.

    Raises:
        InputError: As `opened` and `Archive.unpack`.
    """
    with TemporaryDirectory(prefix="livertumor-") as folder:
        with opened(path) as archive:
            archive.unpack(Path(folder), only=only)
        yield Path(folder)


@contextmanager
def _refused(path: Path) -> Iterator[None]:
    try:
        yield
    except _BROKEN as error:
        raise PixelError(
            f"{path.name} is damaged or packed in an unknown way.",
            reason=Reason.UNREADABLE,
            hint="Copy the archive again, or unpack it and give the folder.",
        ) from error


def _named(members: list[zipfile.ZipInfo], *, path: Path) -> dict[str, zipfile.ZipInfo]:
    """The files in an archive by a name of their own, which archives need not give them."""
    files = [member for member in members if not member.is_dir()]
    _require_safe(files, path=path)
    named: dict[str, zipfile.ZipInfo] = {}
    taken: set[str] = set()
    for number, member in enumerate(filterfalse(_is_macos_shadow, files)):
        name = str(PurePosixPath(member.filename.replace("\\", "/")))
        if name.casefold() in taken:
            name = f"{name}#{number}"
        # As paths on Windows they shall differ too.
        taken.add(name.casefold())
        named[name] = member
    return named


def _require_safe(members: list[zipfile.ZipInfo], *, path: Path) -> None:
    if any(member.flag_bits & 1 for member in members):
        raise PixelError(
            f"{path.name} is protected with a password.", reason=Reason.UNREADABLE, hint=_UNPACK
        )
    for member in members:
        name = PurePosixPath(member.filename.replace("\\", "/"))
        drive = ":" in "".join(name.parts[:1])
        climbs = name.is_absolute() or ".." in name.parts or drive
        if climbs or stat.S_ISLNK(member.external_attr >> 16):
            raise InputError(
                f"{path.name} holds a member that points out of its folder ({member.filename!r}).",
                reason=Reason.UNSAFE_ARCHIVE,
                hint="Do not open this archive; ask its sender for a new one.",
            )


def _is_macos_shadow(member: zipfile.ZipInfo) -> bool:
    """Whether macOS added the member: ._IM0001.dcm beside IM0001.dcm is no image."""
    return re.split(r"[/\\]", member.filename)[-1].startswith("._")


def _plain_name(member: zipfile.ZipInfo) -> str:
    last = re.split(r"[/\\]", member.filename)[-1]
    plain = re.sub(r"[^A-Za-z0-9._-]", "", last)[-40:]
    return plain if plain.strip(".") else "unnamed"
