"""A zip file as a temporary folder: nothing leaves that folder, and no bomb fills the disk."""

from __future__ import annotations

import lzma
import re
import shutil
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import filterfalse
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

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

_UNPACK = "Unpack it with a program you trust and give the folder."


def is_zip(path: Path) -> bool:
    """Whether a file claims to be a zip archive, by its name or its first bytes."""
    if path.suffix.lower() == ".zip":
        return True
    with path.open("rb") as stream:
        return stream.read(4) == b"PK\x03\x04"


@contextmanager
def extracted(path: Path) -> Iterator[Path]:
    """Unpack a zip file into a temporary folder that is removed at the end of the block.

    Each member gets a folder with a number, and the plain letters of its last name part as name:
    nothing in the archive can choose where a file goes.

    Args:
        path: The zip file.

    Yields:
        Folder of the unpacked files.

    Raises:
        InputError: unsafe_archive, too_large, or unreadable for a damaged or encrypted archive.
    """
    with TemporaryDirectory(prefix="livertumor-") as folder:
        try:
            with zipfile.ZipFile(path) as archive:
                members = [member for member in archive.infolist() if not member.is_dir()]
                _require_safe(members, path=path)
                for number, member in enumerate(filterfalse(_is_macos_shadow, members)):
                    target = Path(folder, f"{number:06d}", _plain_name(member))
                    _unpack(archive, member, target=target)
        except _BROKEN as error:
            raise PixelError(
                f"{path.name} is damaged or packed in an unknown way.",
                reason=Reason.UNREADABLE,
                hint="Copy the archive again, or unpack it and give the folder.",
            ) from error
        yield Path(folder)


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
    total = sum(member.file_size for member in members)
    packed = sum(member.compress_size for member in members)
    if total > _RATIO_FREE_BYTES and total > MAX_RATIO * max(1, packed):
        raise InputError(
            f"{path.name} would grow to {total / 2**30:.1f} GiB, {total // max(1, packed)} times "
            "its size.",
            reason=Reason.UNSAFE_ARCHIVE,
            hint=_UNPACK,
        )
    if total > MAX_TOTAL_BYTES or len(members) > MAX_MEMBERS:
        raise InputError(
            f"{path.name} holds {len(members)} files of {total / 2**30:.1f} GiB together.",
            reason=Reason.TOO_LARGE,
            hint="Pack or give one study only.",
        )


def _is_macos_shadow(member: zipfile.ZipInfo) -> bool:
    """Whether macOS added the member: ._IM0001.dcm beside IM0001.dcm is no image."""
    return re.split(r"[/\\]", member.filename)[-1].startswith("._")


def _plain_name(member: zipfile.ZipInfo) -> str:
    last = re.split(r"[/\\]", member.filename)[-1]
    plain = re.sub(r"[^A-Za-z0-9._-]", "", last)[-40:]
    return plain if plain.strip(".") else "unnamed"


def _unpack(archive: zipfile.ZipFile, member: zipfile.ZipInfo, *, target: Path) -> None:
    target.parent.mkdir()
    # zipfile stops at the size that the directory states, which was summed above.
    with archive.open(member) as packed, target.open("xb") as unpacked:
        shutil.copyfileobj(packed, unpacked, 2**20)
