"""From a folder, file or DICOMDIR to the planes of all DICOM images in it."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from livertumor_cli.errors import InputError, PixelError, Reason, UnsupportedFormatError
from livertumor_cli.io.dicom_file import MALFORMED, read_dataset
from livertumor_cli.io.dicom_header import Plane, read_planes
from livertumor_cli.io.dicom_phase import About

MAX_FILES = 50_000
"""More files than the largest study has: somebody gave the root of a disk."""

MAX_PLANES = 200_000
"""A multi-frame file is one file and many planes."""

VOLUME_SUFFIXES = (".nii", ".nii.gz", ".mha", ".mhd", ".nrrd")

_ARCHIVE_SUFFIXES = (".zip", ".7z", ".rar", ".tar", ".tgz", ".gz", ".bz2", ".xz")


@dataclass(frozen=True, slots=True)
class Survey:
    """What lies in a place.

    Attributes:
        planes: Of all DICOM images.
        others: Files that are no DICOM images, in the order of their names.
        damaged: Why files that are or should be DICOM cannot be read.
    """

    planes: tuple[Plane, ...]
    others: tuple[Path, ...]
    damaged: tuple[InputError, ...]


def called(path: Path) -> str:
    """What sentences call a place: its name, or the path where it has none, as `.`."""
    return path.name or str(path)


def is_archive(name: str) -> bool:
    """Whether a name is that of a packed folder; only zips are opened."""
    return name.lower().endswith(_ARCHIVE_SUFFIXES)


def find_files(path: Path) -> list[Path]:
    """The files to look into: a folder's, those a DICOMDIR lists, or the file itself.

    Raises:
        InputError: too_large for a folder of too many files; unreadable for a folder that may not
            be entered; missing_slices for a DICOMDIR that lists files that are not there.
    """
    if path.is_dir():
        return _folder_files(path)
    if path.name.upper() == "DICOMDIR":
        return _listed_files(path)
    return [path]


def _folder_files(folder: Path) -> list[Path]:
    files: list[Path] = []
    waiting = [folder]
    while waiting:
        # A stack of our own: os.walk ends in a recursion error a thousand folders down.
        entries = sorted(_entries(waiting.pop()), key=lambda entry: entry.name)
        # No link to a folder is followed, so that no circle of links holds it up.
        folders = [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
        waiting += reversed(folders)
        files += [Path(entry.path) for entry in entries if not entry.is_dir()]
        if len(files) + len(waiting) > MAX_FILES:
            raise InputError(
                f"{folder} holds more than {MAX_FILES} files.",
                reason=Reason.TOO_LARGE,
                hint="Give the folder of one study.",
            )
    # Pipes and devices are passed over; a link whose file is gone is not, it may be a slice.
    return [file for file in files if file.is_file() or _is_dead_link(file)]


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return list(found)
    except OSError as error:
        raise InputError(
            f"{folder} cannot be read: {error.strerror}.",
            reason=Reason.UNREADABLE,
            hint="Ask for permission to read it, or give another folder.",
        ) from error


def _is_dead_link(file: Path) -> bool:
    return file.is_symlink() and not file.exists() and not file.name.startswith(".")


def _listed_files(path: Path) -> list[Path]:
    try:
        records = read_dataset(path).DirectoryRecordSequence
        names = [record.get("ReferencedFileID") for record in records]
    except MALFORMED as error:
        raise PixelError(
            f"{path.name} cannot be read.",
            reason=Reason.UNREADABLE,
            hint="Give the folder of the images instead.",
        ) from error
    parts = [name.split("\\") if isinstance(name, str) else list(name) for name in names if name]
    if any(part in ("..", "") or "/" in part or ":" in part for file in parts for part in file):
        raise InputError(
            f"{path.name} names files outside its folder.",
            reason=Reason.UNSAFE_ARCHIVE,
            hint="Give the folder of the images instead.",
        )
    found = [_resolved(path.parent, file) for file in parts]
    files = [file for file in found if file is not None]
    if len(files) < len(parts):
        raise InputError(
            f"{path.name} lists {len(parts)} files, and {len(parts) - len(files)} of them are not "
            "there.",
            reason=Reason.MISSING_SLICES,
            hint="Copy the whole medium, or give the folder of the images.",
        )
    return list(dict.fromkeys(files))


def _resolved(folder: Path, parts: list[str]) -> Path | None:
    """A file that a DICOMDIR names in capitals, however the disk it was copied to writes it."""
    for part in parts:
        exact = folder / part
        if exact.exists():
            folder = exact
            continue
        wanted = _disk_name(part)
        entries = sorted(folder.iterdir()) if folder.is_dir() else []
        alike = [entry for entry in entries if _disk_name(entry.name) == wanted]
        if not alike:
            return None
        folder = alike[0]
    return folder if folder.is_file() else None


def _disk_name(name: str) -> str:
    """Without the case, version and trailing dot that file systems of discs add."""
    return name.strip().lower().partition(";")[0].rstrip(".")


def survey(files: Iterable[Path]) -> Survey:
    """Look into every file; none of them stops the rest.

    Args:
        files: Any files.

    Raises:
        InputError: too_large for more images than any study has.
    """
    planes: list[Plane] = []
    others: list[Path] = []
    damaged: list[InputError] = []
    for file in files:
        try:
            found = read_planes(file)
        except InputError as error:
            damaged.append(error)
        except FileNotFoundError:
            damaged.append(_dead_link(file))
        except OSError as error:  # no permission, or held by another program
            damaged.append(
                PixelError(
                    f"{file.name} cannot be read: {error.strerror or error}.",
                    reason=Reason.UNREADABLE,
                    hint="Ask for permission to read it, or copy the folder without it.",
                )
            )
        else:
            planes += found
            if not found:
                others.append(file)
            if len(planes) > MAX_PLANES:
                raise InputError(
                    f"There are more than {MAX_PLANES} images.",
                    reason=Reason.TOO_LARGE,
                    hint="Give the folder of one study.",
                )
    return Survey(tuple(planes), tuple(others), tuple(damaged))


def _dead_link(file: Path) -> PixelError:
    return PixelError(
        f"{file.name} is a link to a file that is not there.",
        reason=Reason.UNREADABLE,
        hint="Fetch or copy the file it stands for, or remove the link.",
    )


def scan(files: Iterable[Path], *, name: str) -> list[Plane]:
    """The planes of all DICOM images among some files.

    Args:
        files: Any files; those that are no DICOM are passed over.
        name: What the user gave, for sentences.

    Raises:
        UnsupportedFormatError: not_an_image, if there is no DICOM image.
        InputError: Of the first DICOM file that cannot be read: it may be a slice of the scan.
    """
    found = survey(files)
    require_images(found, name=name)
    return list(found.planes)


def require_images(found: Survey, *, name: str, damaged_too: bool = False) -> None:
    """Refuse a place without a DICOM image, or with damaged ones.

    Args:
        found: What lies there.
        name: What the user gave, for sentences.
        damaged_too: Whether damaged files beside readable ones are accepted.

    Raises:
        InputError: As `scan` says.
    """
    if found.damaged and not (damaged_too and found.planes):
        raise found.damaged[0]
    if found.planes:
        return
    raise UnsupportedFormatError(
        f"{name} holds no DICOM image.", reason=Reason.NOT_AN_IMAGE, hint=_instead(found.others)
    )


def _instead(others: Sequence[Path]) -> str:
    """What to give, where there is no DICOM image among some files."""
    names = [file.name for file in others]
    for name in names:
        if name.lower().endswith(VOLUME_SUFFIXES):
            return f"Give one file, such as {name}."
    for name in names:
        if is_archive(name):
            return f"Unpack {name} and give the folder: archives within are not opened."
    return "Give a .nii, .nii.gz, .mha or .nrrd file, a DICOM folder or a zip of one."


def without_copies(planes: Sequence[Plane]) -> list[Plane]:
    """One plane of each instance that lies there several times with the same pixels and place.

    Discs often hold a study twice, and every export rewrites the file headers. Other images under
    the same UID stay, and are refused as slices at one position.

    Args:
        planes: Of one series.
    """
    counts = Counter((plane.sop_instance_uid, plane.frame) for plane in planes)
    digests: dict[Path, bytes] = {}
    kept: dict[object, Plane] = {}
    for plane in planes:
        key: object = plane
        if plane.sop_instance_uid and counts[plane.sop_instance_uid, plane.frame] > 1:
            if plane.path not in digests:
                digests[plane.path] = hashlib.sha256(_pixels(plane.path)).digest()
            # All that it states of its place and values; words and file name say nothing of them.
            key = digests[plane.path], replace(plane, path=Path(), about=About())
        kept.setdefault(key, plane)
    return list(kept.values())


def _pixels(path: Path) -> bytes:
    """The pixels as they are stored; the whole file where they cannot be read."""
    try:
        return bytes(read_dataset(path).PixelData)
    except (*MALFORMED, InputError):
        return path.read_bytes()
