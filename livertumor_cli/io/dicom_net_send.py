"""DICOM files to another node: C-STORE as a client."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pynetdicom import AE, _config
from pynetdicom.presentation import build_context

from livertumor_cli.errors import InputError, NetworkError, PixelError, Reason
from livertumor_cli.io.dicom_file import MALFORMED, is_dicom, read_dataset
from livertumor_cli.io.dicom_net import Peer
from livertumor_cli.io.place import require_there

# What these say of a failed connection is said again, for users, by the errors below.
for _name in ("transport", "association", "acse"):
    logging.getLogger(f"pynetdicom.{_name}").setLevel(logging.CRITICAL)

# Files go out byte for byte as they are: values that break the standard must not stop them.
_config.STORE_SEND_CHUNKED_DATASET = True

CONNECT_TIMEOUT_S = 10.0
ANSWER_TIMEOUT_S = 60.0

_MOST_CONTEXTS = 128
"""As many kinds of objects as one association can name."""

_SUCCESS = 0x0000
_WARNINGS = (0x0001, 0x0107, 0x0116, *range(0xB000, 0xC000))
"""The object was stored; a value of it was changed or left out."""


@dataclass(frozen=True, slots=True)
class _Object:
    path: Path
    sop_class_uid: str
    transfer_syntax_uid: str


def find_objects(path: Path) -> list[Path]:
    """The DICOM files at a path, in the order of their names.

    Args:
        path: A DICOM file, or a folder: everything in it and below.

    Raises:
        InputError: not_found, or not_an_image if there is no DICOM file.
    """
    require_there(path)
    files = [path] if path.is_file() else sorted(one for one in path.rglob("*") if one.is_file())
    found = [one for one in files if one.name.upper() != "DICOMDIR" and is_dicom(one)]
    if not found:
        raise InputError(
            f"{path} holds no DICOM file.",
            reason=Reason.NOT_AN_IMAGE,
            hint="'livertumor segment' writes DICOM objects of DICOM scans only.",
        )
    return found


def send_files(files: Sequence[Path], *, peer: Peer, aet: str) -> None:
    """Store files at another node, all over one association.

    Args:
        files: DICOM files.
        peer: Where to.
        aet: The title under which this program calls.

    Raises:
        InputError: If a file cannot be read.
        NetworkError: If the node cannot be reached or refuses a file. What it took before, it has;
            to send all again does no harm.
    """
    objects = [_described(path) for path in files]
    with _association(objects, peer=peer, aet=aet) as association:
        refused = [reason for one in objects if (reason := _refusal(association, one))]
    if refused:
        raise NetworkError(
            f"{peer} did not store {len(refused)} of {len(objects)} objects: {refused[0]}.",
            hint="Ask the administrator of that node which objects it takes, then send again.",
        )


def _described(path: Path) -> _Object:
    try:
        header = read_dataset(path, tags=("SOPClassUID", "SOPInstanceUID"))
        uid, syntax = str(header.SOPClassUID), str(header.file_meta.TransferSyntaxUID)
    except MALFORMED as error:
        raise PixelError(
            f"{path.name} is damaged and cannot be sent.", reason=Reason.UNREADABLE
        ) from error
    return _Object(path, uid, syntax)


@contextmanager
def _association(objects: Sequence[_Object], *, peer: Peer, aet: str) -> Iterator[Any]:
    kinds = list(dict.fromkeys((one.sop_class_uid, one.transfer_syntax_uid) for one in objects))
    entity = AE(ae_title=aet)
    entity.connection_timeout = CONNECT_TIMEOUT_S
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = ANSWER_TIMEOUT_S
    association = entity.associate(
        peer.host,
        peer.port,
        ae_title=peer.aet,
        contexts=[build_context(*kind) for kind in kinds[:_MOST_CONTEXTS]],
    )
    if not association.is_established:
        raise _no_association(association, peer=peer, aet=aet)
    try:
        yield association
    finally:
        if association.is_established:
            association.release()


def _no_association(association: Any, *, peer: Peer, aet: str) -> NetworkError:
    if association.is_rejected:
        return NetworkError(
            f"{peer} refused to talk to {aet}.",
            hint=f"Enter the title {aet} and this machine there, and check the title {peer.aet}.",
        )
    return NetworkError(
        f"{peer} cannot be reached.", hint="Check host, port and firewall, then send again."
    )


def _refusal(association: Any, one: _Object) -> str:
    """Why a file was not stored; empty if it was."""
    if not association.is_established:
        return "the connection was cut"
    try:
        answer = association.send_c_store(str(one.path))
    except ValueError:
        return f"it takes no {_kind_name(one)}"
    except RuntimeError:
        return "the connection was cut"
    status = answer.get("Status")
    if status is None:
        return "no answer came"
    is_stored = status == _SUCCESS or status in _WARNINGS
    return "" if is_stored else f"it answered with status 0x{status:04X}"


def _kind_name(one: _Object) -> str:
    from pydicom.uid import UID

    return f"{UID(one.sop_class_uid).name} ({UID(one.transfer_syntax_uid).name})"
