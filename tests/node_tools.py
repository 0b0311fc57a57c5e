"""An archive that keeps what it gets, senders that behave and senders that do not."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.events import Event
from segment_runs import GEOMETRY
from toy_recipe import Patient

from livertumor_cli.io.dicom_ct import write_ct_series
from livertumor_cli.io.dicom_net import Peer

HERE = "127.0.0.1"
CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"


@dataclass
class Archive:
    """A stand-in for a PACS: what it got, by SOPInstanceUID, and what it answers."""

    peer: Peer = field(default_factory=lambda: Peer("ARCHIVE", HERE, 1))
    got: dict[str, bytes] = field(default_factory=dict)
    requests: int = 0
    status: int = 0x0000

    def store(self, event: Event) -> int:
        self.requests += 1
        if self.status == 0x0000:
            self.got[event.request.AffectedSOPInstanceUID] = event.encoded_dataset()
        return self.status


@contextmanager
def archive(*, only: tuple[str, ...] = (), caller: str = "") -> Iterator[Archive]:
    """An archive on a free port; `only` limits the kinds of objects that it takes."""
    entity = AE(ae_title="ARCHIVE")
    entity.require_called_aet = True
    entity.require_calling_aet = [caller] if caller else []
    for context in AllStoragePresentationContexts:
        if not only or context.abstract_syntax in only:
            entity.add_supported_context(context.abstract_syntax, context.transfer_syntax)
    there = Archive()
    server = entity.start_server(
        (HERE, 0), block=False, evt_handlers=[(evt.EVT_C_STORE, there.store)]
    )
    there.peer = Peer("ARCHIVE", HERE, server.server_address[1])
    try:
        yield there
    finally:
        entity.shutdown()


def a_study(folder: Path, *, seed: str = "study") -> list[Path]:
    """The series of a patient whom the toy recipe segments exactly."""
    scan = Patient().scan(GEOMETRY)
    return write_ct_series(
        folder, scan, patient_name="Zylberstein^Xaver", patient_id="QX-77812", seed=seed
    )


def push(
    files: list[Path],
    port: int,
    *,
    caller: str = "SCANNER",
    called: str = "NODE",
    cut: bool = False,
) -> list[int]:
    """Send files over one association; returns the answers. `cut` aborts it at the end."""
    entity = AE(ae_title=caller)
    entity.add_requested_context(CT_IMAGE, ExplicitVRLittleEndian)
    association = entity.associate(HERE, port, ae_title=called)
    if not association.is_established:
        return []
    answers = [association.send_c_store(str(file)).get("Status") for file in files]
    if cut:
        association.abort()
    else:
        association.release()
    return answers


def until(is_so: Callable[[], object], *, seconds: float = 120.0) -> None:
    """Wait for something that other threads or programs bring about."""
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.05)


def patient_of(content: bytes) -> tuple[str, str]:
    dataset = dcmread(BytesIO(content), stop_before_pixels=True)
    return str(dataset.PatientName), str(dataset.PatientID)
