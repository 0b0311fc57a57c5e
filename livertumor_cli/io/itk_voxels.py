"""Whether the voxels of a MetaImage or NRRD file are whole, before ITK reads them.

Of a file that is cut off ITK prints lines of its own on stderr. Where compressed voxels do not
decode it says nothing that a program hears, and gives what lay in memory before.
"""

from __future__ import annotations

import gzip
import math
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import SimpleITK as sitk

from livertumor_cli.errors import PixelError, Reason

MAX_HEADER_BYTES = 65536

_CHUNK_BYTES = 2**20
_ANY_ZLIB = zlib.MAX_WBITS | 32
"""Takes the headers of zlib and of gzip."""

_LINE = re.compile(rb"[ \t]*([^\r\n:=]+?)[ \t]*[:=]+[ \t]*([^\r\n]*?)[ \t]*\r?\n")
_NEEDED_FIELDS = ("ndims", "dimsize", "elementtype", "elementdatafile")


@dataclass(frozen=True, slots=True)
class TextHeader:
    """The text before the voxels.

    Attributes:
        is_nrrd: Whether the file is NRRD, not MetaImage.
        fields: Value by name; both in lower case.
        data_file: File beside it that holds the voxels; empty where they follow the header.
        size_bytes: Of the header; there the voxels begin.
    """

    is_nrrd: bool
    fields: Mapping[str, str]
    data_file: str
    size_bytes: int


def read_text_header(path: Path) -> TextHeader:
    """The text header of a MetaImage or NRRD file.

    Args:
        path: .mha, .mhd, .nrrd or .nhdr file.

    Raises:
        PixelError: unreadable, for a MetaImage without one of the fields that it must have;
            no_pixels, where the file of the voxels is missing.
    """
    with path.open("rb") as stream:
        start = stream.read(MAX_HEADER_BYTES)
    is_nrrd = start.startswith(b"NRRD0")
    fields: dict[str, str] = {}
    end, data_file = 0, ""
    for line in re.finditer(rb"[^\n]*\n|[^\n]+$", start):
        end = line.end()
        if is_nrrd and not line[0].strip():
            break
        found = _LINE.match(line[0] + b"\n")
        if found is None or line[0].startswith(b"#"):
            continue
        name, value = (part.decode("latin-1") for part in found.groups())
        fields[name.lower()] = value.lower()
        if name.lower() in ("data file", "datafile"):
            data_file = value
        if not is_nrrd and name.lower() == "elementdatafile":
            data_file = "" if value.upper() == "LOCAL" else value
            break
    if not is_nrrd and not (
        all(fields.get(name) for name in _NEEDED_FIELDS) and fields["ndims"].isdecimal()
    ):
        raise unreadable_header(path)
    if data_file and not path.with_name(data_file).is_file():
        raise PixelError(
            f"{data_file}, which holds the voxels of {path.name}, does not exist.",
            reason=Reason.NO_PIXELS,
            hint="Copy both files into one folder.",
        )
    return TextHeader(is_nrrd, fields, data_file, end)


def unreadable_header(path: Path) -> PixelError:
    """The refusal of a header that means nothing."""
    return PixelError(f"{path.name} has a header that cannot be read.", reason=Reason.UNREADABLE)


def damaged_voxels(path: Path) -> PixelError:
    """The refusal of voxels that are not whole."""
    return PixelError(
        f"{path.name} is cut off or damaged: its voxels cannot be read.",
        reason=Reason.TRUNCATED,
        hint="Copy or export the file again.",
    )


def require_whole_voxels(path: Path, reader: sitk.ImageFileReader) -> None:
    """Refuse a file with fewer voxels than its header states, or with damaged ones.

    Voxels as text and those in encodings other than raw, zlib and gzip are left to ITK.

    Args:
        path: The file, or the header of voxels that lie beside it.
        reader: That has read the header's information.

    Raises:
        PixelError: truncated.
    """
    header = read_text_header(path)
    place = path.with_name(header.data_file) if header.data_file else path
    needed = math.prod(reader.GetSize()) * _voxel_bytes(reader)
    with place.open("rb") as stream:
        stream.seek(0 if header.data_file else header.size_bytes)
        if not _is_whole(stream, header, needed=needed, size=place.stat().st_size):
            raise damaged_voxels(path)


def _voxel_bytes(reader: sitk.ImageFileReader) -> int:
    one = sitk.Image([1] * reader.GetDimension(), reader.GetPixelID(), 1)
    return int(one.GetSizeOfPixelComponent()) * int(reader.GetNumberOfComponents())


def _is_whole(stream: BinaryIO, header: TextHeader, *, needed: int, size: int) -> bool:
    fields = header.fields
    skipped = fields.get("byte skip" if header.is_nrrd else "headersize", "0")
    is_raw, is_deflated = _encoding(header)
    if skipped == "-1":  # raw voxels are the end of the file
        return is_raw and size >= needed
    if fields.get("line skip", "0") != "0":
        return True
    skipped_bytes = _bytes_within(skipped, size)
    if skipped_bytes is None:
        return False
    stream.seek(skipped_bytes, 1)
    if is_deflated and header.is_nrrd:
        return _gunzips(stream, needed=needed)
    if is_deflated:
        # ITK takes so many bytes and no other number.
        stated = _bytes_within(fields.get("compresseddatasize", ""), size)
        return stated is not None and _inflates(stream.read(stated), stated, needed)
    return not is_raw or size - stream.tell() >= needed


def _bytes_within(text: str, size: int) -> int | None:
    """A number of bytes that a file of that size can have; None for anything else."""
    is_number = text.isdecimal() and len(text) <= len(str(size))
    return int(text) if is_number and int(text) <= size else None


def _encoding(header: TextHeader) -> tuple[bool, bool]:
    """Whether the voxels are stored as they are, and whether they are deflated."""
    fields = header.fields
    if header.is_nrrd:
        return fields.get("encoding") == "raw", fields.get("encoding") in ("gzip", "gz")
    true = ("t", "1", "y")
    is_deflated = fields.get("compresseddata", "").startswith(true)
    return fields.get("binarydata", "").startswith(true) and not is_deflated, is_deflated


def _gunzips(stream: BinaryIO, *, needed: int) -> bool:
    """Whether gzip's stream holds what is needed, with its checksum."""
    count = 0
    try:
        with gzip.GzipFile(fileobj=stream) as inflated:
            while count <= needed and (chunk := inflated.read(_CHUNK_BYTES)):
                count += len(chunk)
    except (OSError, EOFError, zlib.error):
        return False
    return count == needed


def _inflates(deflated: bytes, stated: int, needed: int) -> bool:
    """Whether zlib's stream is as long as stated and holds what is needed, with its checksum."""
    inflate = zlib.decompressobj(_ANY_ZLIB)
    count, rest = 0, deflated
    try:
        while rest and not inflate.eof and count <= needed:
            count += len(inflate.decompress(rest, _CHUNK_BYTES))
            rest = inflate.unconsumed_tail
    except zlib.error:
        return False
    return inflate.eof and count == needed and len(deflated) == stated
