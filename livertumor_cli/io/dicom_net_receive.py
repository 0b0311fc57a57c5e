"""DICOM images from other nodes: C-STORE and C-ECHO as a server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Protocol

from pydicom import dcmread
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    CTImageStorage,
    EnhancedCTImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    LegacyConvertedEnhancedCTImageStorage,
    RLELossless,
)
from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.sop_class import Verification

from livertumor_cli.errors import NetworkError, OutputError
from livertumor_cli.io.dicom_file import MALFORMED

_CT_CLASSES = {
    str(CTImageStorage),
    str(EnhancedCTImageStorage),
    str(LegacyConvertedEnhancedCTImageStorage),
}

_SYNTAXES = [
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    ExplicitVRBigEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    JPEGLossless,
    JPEGLosslessSV1,
    RLELossless,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEG2000,
    JPEGLSNearLossless,
    HTJ2K,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
]
"""What `dicom_pixels` decodes: what it does not, the sender must transcode, not the user. Deflated
objects are left out: they may grow without limit when their header is read."""

_SUCCESS = 0x0000
_OUT_OF_RESOURCES = 0xA700
_CANNOT_UNDERSTAND = 0xC000
_IDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")


class Transfer(Protocol):
    """One association in which images come."""

    def is_over(self) -> bool:
        """Whether no more images can come."""

    def is_released(self) -> bool:
        """Whether it ended as the sender meant it to; False where it was cut."""


@dataclass(frozen=True, slots=True)
class Instance:
    """One image as it came.

    Attributes:
        study_uid: Its StudyInstanceUID.
        series_uid: Its SeriesInstanceUID.
        sop_uid: Its SOPInstanceUID.
        content: The DICOM file, byte for byte what was sent.
    """

    study_uid: str
    series_uid: str
    sop_uid: str
    content: bytes


class Inbox(Protocol):
    """Where images go; called from many threads."""

    def keep(self, instance: Instance, transfer: Transfer) -> None:
        """Put an image where no power cut can take it.

        Raises:
            OutputError: If there is no room.
        """

    def refuse(self, study_uid: str, transfer: Transfer) -> None:
        """Note that an image of a study was not taken."""


@dataclass(frozen=True, slots=True)
class _Association:
    association: Any

    def is_over(self) -> bool:
        return not self.association.is_alive()

    def is_released(self) -> bool:
        return bool(self.association.is_released)


@contextmanager
def receiving(
    inbox: Inbox, *, host: str, port: int, aet: str, callers: tuple[str, ...]
) -> Iterator[int]:
    """Take images from other nodes as long as the block lasts.

    Only nodes that call this one by its title, and whose own title is known, get an association.
    CT images go to the inbox. Other objects of a study are answered with success and dropped:
    nothing here has a use for them, and many archives send studies as a whole or not at all.

    Args:
        inbox: Where images go.
        host: Address to listen on.
        port: TCP port; 0 takes a free one.
        aet: Title of this node.
        callers: Titles of the nodes that may send.

    Yields:
        The port.

    Raises:
        NetworkError: If the port cannot be had.
    """
    entity = AE(ae_title=aet)
    entity.require_called_aet = True
    entity.require_calling_aet = list(callers)
    entity.add_supported_context(Verification)
    for context in AllStoragePresentationContexts:
        entity.add_supported_context(context.abstract_syntax, _SYNTAXES)
    handlers = [(evt.EVT_C_STORE, _store, [inbox])]
    try:
        server = entity.start_server((host, port), block=False, evt_handlers=handlers)
    except OSError as error:
        raise NetworkError(
            f"Port {port} of {host} cannot be used: {error.strerror or error}.",
            hint="Choose another one with --port or --host, or end the program that uses it.",
        ) from error
    assert server is not None  # only a blocking server is None
    try:
        yield int(server.server_address[1])
    finally:
        entity.shutdown()


def _store(event: Any, inbox: Inbox) -> int:
    """Answer one C-STORE request."""
    transfer = _Association(event.assoc)
    if str(event.request.AffectedSOPClassUID) not in _CT_CLASSES:
        return _SUCCESS
    try:
        instance = _instance(event.encoded_dataset())
    except MALFORMED:
        return _CANNOT_UNDERSTAND
    if instance is None or instance.sop_uid != str(event.request.AffectedSOPInstanceUID):
        return _CANNOT_UNDERSTAND
    is_kept = False
    try:
        inbox.keep(instance, transfer)
        is_kept = True
    except OutputError:
        return _OUT_OF_RESOURCES
    finally:
        # Whatever went wrong: a study that lacks this image must not count as whole.
        if not is_kept:
            inbox.refuse(instance.study_uid, transfer)
    return _SUCCESS


def _instance(content: bytes) -> Instance | None:
    """An image with its identifiers; None if it lacks one."""
    header = dcmread(BytesIO(content), stop_before_pixels=True, specific_tags=list(_IDS))
    study, series, sop = (str(header.get(name) or "") for name in _IDS)
    return Instance(study, series, sop, content) if study and series and sop else None
