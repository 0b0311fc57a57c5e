"""One DICOM file from disk to a data set, without trusting it: by content, not by name."""

from __future__ import annotations

import io
import os
import re
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset, FileDataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from livertumor_cli.errors import InputError, PixelError, Reason, UnsupportedFormatError

MALFORMED = (
    AttributeError,
    BytesLengthException,
    EOFError,
    InvalidDicomError,
    LookupError,
    MemoryError,  # a length field of 4 GB
    NotImplementedError,
    OverflowError,
    RuntimeError,  # also RecursionError, of sequences nested a thousand deep
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)
"""What pydicom lets through from values and structures that break the standard."""

MAX_FILE_BYTES = 2**32
"""Twice the pixels of the largest volume that is read: pydicom takes a file into memory whole."""

MAX_INFLATED_BYTES = 2**31
"""The largest volume that is read has 2 GiB of pixels."""

MAX_INFLATE_RATIO = 100
"""A CT shrinks two- to tenfold; what shrinks more holds nothing, or is made to fill the memory."""

_RATIO_FREE_BYTES = 64 * 2**20
_CHUNK_BYTES = 2**20

_DICOM_SUFFIXES = (".dcm", ".ima", ".dicom")
_MAYBE_A_SLICE = re.compile(r"(.*\.\d+|[^.]*\d[^.]*)")
"""Scanners also write UIDs, which end in a number, and numbers without suffix; DONE is no slice."""


def is_dicom(path: Path) -> bool:
    """Whether a file is DICOM, by its first bytes.

    Args:
        path: Any file.

    Raises:
        InputError: truncated or not_an_image, if it is named as DICOM and is empty or something
            else. Passing such files over could hide that the first or last slice is missing.
    """
    with path.open("rb") as stream:
        head = stream.read(132)
    # Old programs wrote the data set alone; it begins with group 2 or 8, little endian.
    if head[128:] == b"DICM" or (head[:2] in (b"\x02\x00", b"\x08\x00") and head[3:4] == b"\x00"):
        return True
    named = path.suffix.lower() in _DICOM_SUFFIXES
    # macOS leaves files such as ._IM0001.dcm beside the images it packs.
    if path.name.startswith(".") or not (named or _MAYBE_A_SLICE.fullmatch(path.name)):
        return False
    if not head.strip(b"\x00"):
        raise PixelError(
            f"{path.name} is empty.",
            reason=Reason.TRUNCATED,
            hint="Copy or export the series again.",
        )
    if not named:
        return False
    raise UnsupportedFormatError(
        f"{path.name} is named as a DICOM file and is none.",
        reason=Reason.NOT_AN_IMAGE,
        hint="Copy or export the series again, or remove the file if it belongs to something else.",
    )


def read_header(path: Path, *, tags: Sequence[str]) -> tuple[Dataset, bool]:
    """Read some attributes of a DICOM file, and whether pixels follow them.

    Args:
        path: A file of which `is_dicom` is true.
        tags: The attributes.

    Raises:
        PixelError: truncated, if the file ends within an element, which pydicom does not tell; and
            as `read_dataset`.
    """
    with _opened(path) as stream:
        dataset = dcmread(stream, stop_before_pixels=True, specific_tags=list(tags), force=True)
        if stream.ended_early:
            raise _cut_off(path)
        _complete(dataset, path=path)
        # pydicom stops at the pixels; a deflated data set it had to read to its end.
        has_pixels = bool(stream.peek(1)) or _is_deflated(dataset)
    return dataset, has_pixels


def read_dataset(path: Path, *, tags: Sequence[str] = ()) -> Dataset:
    """Read a DICOM file; its file meta information always names a transfer syntax.

    Args:
        path: A file of which `is_dicom` is true.
        tags: Only these attributes, and no pixels; everything if empty.

    Raises:
        PixelError: unreadable, if it has no file header and is no plausible image; truncated, if
            a sequence or an image in it has no end.
        InputError: too_large, if it is a deflated file that grows beyond any scan.
        MALFORMED: What pydicom makes of a broken file.
    """
    if tags:
        return read_header(path, tags=tags)[0]
    with _opened(path) as stream:
        dataset = dcmread(stream, force=True)
    if not dataset:
        raise _cut_off(path)  # pydicom returns nothing instead of an error
    _complete(dataset, path=path)
    return dataset


def _is_deflated(dataset: Dataset) -> bool:
    return str(dataset.file_meta.TransferSyntaxUID) == str(DeflatedExplicitVRLittleEndian)


def _cut_off(path: Path) -> PixelError:
    return PixelError(
        f"{path.name} is cut off.",
        reason=Reason.TRUNCATED,
        hint="Copy or export the series again.",
    )


def _complete(dataset: FileDataset, *, path: Path) -> None:
    if not dataset.preamble and not _is_plausible(dataset):
        raise PixelError(
            f"{path.name} is a DICOM data set without its file header.",
            reason=Reason.UNREADABLE,
            hint="Export the series again as DICOM files (part 10).",
        )
    if not dataset.file_meta.get("TransferSyntaxUID"):
        dataset.file_meta.TransferSyntaxUID = _syntax_found(dataset)


def reason_of(error: Exception) -> Reason:
    """Whether what pydicom raised tells of a file that ends too early, or of another damage.

    Args:
        error: One of MALFORMED.
    """
    cut = isinstance(error, EOFError) or "incomplete or truncated" in str(error)
    return Reason.TRUNCATED if cut else Reason.UNREADABLE


def _syntax_found(dataset: FileDataset) -> str:
    """The uncompressed syntax that pydicom recognized; a compressed one cannot be guessed."""
    implicit, little = dataset.original_encoding
    if implicit:
        return str(ImplicitVRLittleEndian)
    return str(ExplicitVRLittleEndian if little else ExplicitVRBigEndian)


def _is_plausible(dataset: Dataset) -> bool:
    """Whether bytes without a file header were read as an object of some scanner."""
    stated = str(dataset.get("SOPClassUID") or ""), str(dataset.get("Modality") or "")
    return stated[0].startswith("1.2.840.10008.5.1.4.") and stated[1].isalnum()


class _Guarded(io.BufferedReader):
    """A file that notices where its content is not what its header promises.

    pydicom reads to the end of a file in one step only to inflate a deflated data set, which is
    measured before; all other reads have a size.

    Attributes:
        ended_early: Whether the last read, or any skip, would have needed more bytes.
    """

    def __init__(self, raw: io.FileIO) -> None:
        super().__init__(raw)
        self._size = os.fstat(raw.fileno()).st_size
        self._skipped_beyond = False
        self._was_short = False

    @property
    def ended_early(self) -> bool:
        return self._skipped_beyond or self._was_short

    def read(self, size: int | None = -1, /) -> bytes:
        content = super().read(size)
        if size is None or size < 0:
            _require_inflatable(content)
        elif content:
            self._was_short = len(content) < size
        return content

    def seek(self, target: int, whence: int = os.SEEK_SET, /) -> int:
        place = super().seek(target, whence)
        self._skipped_beyond = self._skipped_beyond or place > self._size
        self._was_short = False
        return place


def _opened(path: Path) -> _Guarded:
    size = path.stat().st_size
    if size > MAX_FILE_BYTES:
        raise InputError(
            f"{path.name} has {size / 2**30:.1f} GiB, more than any CT.",
            reason=Reason.TOO_LARGE,
            hint="Give the folder of one CT study.",
        )
    # A name as text, as pydicom puts it into sentences.
    return _Guarded(io.FileIO(str(path)))


def _require_inflatable(content: bytes) -> None:
    allowed = min(
        MAX_INFLATED_BYTES, max(_RATIO_FREE_BYTES, MAX_INFLATE_RATIO * max(1, len(content)))
    )
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    count, rest = 0, content
    while rest and not inflater.eof:
        count += len(inflater.decompress(rest, _CHUNK_BYTES))
        rest = inflater.unconsumed_tail
        if count > allowed:
            raise InputError(
                f"A deflated DICOM file of {len(content)} bytes would grow beyond "
                f"{allowed / 2**20:.0f} MiB.",
                reason=Reason.TOO_LARGE,
                hint="Do not open this file; ask its sender for a new one.",
            )
