"""Round trips through a real archive, Orthanc: what comes back is what was sent, and read alike."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from node_tools import HERE, a_study, until
from pydicom import dcmread
from pydicom.dataset import Dataset
from segment_runs import GEOMETRY
from test_cli_listen import a_node
from toy_recipe import Patient

from livertumor_cli.cli.app import run
from livertumor_cli.io.dicom_net import Peer
from livertumor_cli.io.formats import read_volume

ORTHANC = shutil.which("Orthanc", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
PLUGINS = [
    path
    for folder in ("/usr/share/orthanc/plugins", "/usr/lib/orthanc")
    for path in sorted(Path(folder).glob("libOrthancDicomWeb.so*"))
]

pytestmark = [
    pytest.mark.conformance,
    pytest.mark.skipif(
        ORTHANC is None or not PLUGINS,
        reason="Orthanc (Debian: orthanc, orthanc-dicomweb) is not installed",
    ),
]

OBJECTS = ("segmentation.dcm", "measurements.dcm", "structures.dcm")


@dataclass(frozen=True)
class Orthanc:
    """A running archive that is empty at first."""

    peer: Peer
    url: str

    def ask(self, path: str, content: bytes | None = None, **headers: str) -> tuple[bytes, str]:
        """Body and content type of an answer; a request with content is a POST."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        method = named.pop("method", None)
        request = urllib.request.Request(
            f"{self.url}/{path}", data=content, headers=named, method=method
        )
        with urllib.request.urlopen(request, timeout=120) as answer:
            return answer.read(), answer.headers["Content-Type"]

    def clear(self) -> None:
        for study in json.loads(self.ask("studies")[0]):
            self.ask(f"studies/{study}", method="DELETE")

    def instances(self) -> list[bytes]:
        """Every file in it, as its own interface gives them out."""
        names = json.loads(self.ask("instances")[0])
        return [self.ask(f"instances/{name}/file")[0] for name in names]

    def retrieve(self, path: str) -> list[bytes]:
        """Files by DICOMweb (WADO-RS)."""
        accept = 'multipart/related; type="application/dicom"; transfer-syntax=*'
        body, kind = self.ask(f"dicom-web/{path}", Accept=accept)
        boundary = kind.partition("boundary=")[2].partition(";")[0].strip('"').encode()
        parts = body.split(b"--" + boundary)[1:-1]
        return [part.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n") for part in parts]

    def store(self, files: list[Path]) -> None:
        """Store by DICOMweb (STOW-RS)."""
        lines = [
            b"--X\r\nContent-Type: application/dicom\r\n\r\n" + file.read_bytes() + b"\r\n"
            for file in files
        ]
        kind = 'multipart/related; type="application/dicom"; boundary=X'
        self.ask("dicom-web/studies", b"".join([*lines, b"--X--\r\n"]), Content_Type=kind)


def free_port() -> int:
    with socket.socket() as found:
        found.bind((HERE, 0))
        return int(found.getsockname()[1])


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    folder = tmp_path_factory.mktemp("orthanc")
    http, dicom = free_port(), free_port()
    configuration = {
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "HttpPort": http,
        "DicomPort": dicom,
        "DicomAet": "ORTHANC",
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "Plugins": [str(PLUGINS[0])],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }
    (folder / "orthanc.json").write_text(json.dumps(configuration), encoding="utf-8")
    archive = Orthanc(Peer("ORTHANC", HERE, dicom), f"http://{HERE}:{http}")
    with (folder / "log.txt").open("wb") as log:
        program = subprocess.Popen(
            [str(ORTHANC), str(folder / "orthanc.json")], stdout=log, stderr=log
        )
        try:
            until(lambda: answers(archive) or program.poll() is not None)
            assert program.poll() is None, (folder / "log.txt").read_text("utf-8", "replace")
            yield archive
        finally:
            program.terminate()
            program.wait(timeout=60)


def answers(archive: Orthanc) -> bool:
    try:
        return bool(archive.ask("system"))
    except OSError:
        return False


@pytest.fixture
def orthanc(running: Orthanc) -> Orthanc:
    running.clear()
    return running


def by_uid(files: list[bytes]) -> dict[str, Dataset]:
    read = [dcmread(BytesIO(content)) for content in files]
    assert len({one.SOPInstanceUID for one in read}) == len(read)
    return {str(one.SOPInstanceUID): one for one in read}


def in_files(paths: list[Path]) -> dict[str, Dataset]:
    return by_uid([path.read_bytes() for path in paths])


def fetched(orthanc: Orthanc, study: list[Path], folder: Path) -> Path:
    """The series as a workstation gets it by DICOMweb."""
    first = dcmread(study[0])
    path = f"studies/{first.StudyInstanceUID}/series/{first.SeriesInstanceUID}"
    folder.mkdir()
    for number, content in enumerate(orthanc.retrieve(path)):
        (folder / f"{number}.dcm").write_bytes(content)
    return folder


def test_a_study_goes_in_by_c_store_and_its_results_too(
    tmp_path: Path, orthanc: Orthanc, segment: Callable[..., int]
) -> None:
    study = a_study(tmp_path / "study")
    assert run(["send", str(tmp_path / "study"), "--to", str(orthanc.peer)]) == 0
    series = fetched(orthanc, study, tmp_path / "fetched")
    assert in_files(list(series.iterdir())) == in_files(study)
    volume = read_volume(series)
    assert np.array_equal(volume.hu, Patient().scan(GEOMETRY).hu)
    assert np.allclose(volume.geometry.affine_lps, GEOMETRY.affine_lps, atol=1e-3)

    out = tmp_path / "out"
    assert segment(series, "-q", "-o", str(out), "--dicom", "seg,sr,rtstruct") == 0
    assert run(["send", str(out), "--to", str(orthanc.peer)]) == 0
    assert run(["send", str(out), "--to", str(orthanc.peer)]) == 0  # again, as users do
    written = in_files([out / name for name in OBJECTS])
    stored = by_uid(orthanc.instances())
    assert stored == in_files(study) | written
    uid = dcmread(study[0]).StudyInstanceUID
    assert by_uid(orthanc.retrieve(f"studies/{uid}")) == stored
    # The archive files the results in the study and the patient they belong to.
    assert [len(json.loads(orthanc.ask(what)[0])) for what in ("patients", "studies")] == [1, 1]


def test_results_stored_by_dicomweb_come_back_and_are_read_as_the_same_mask(
    tmp_path: Path, orthanc: Orthanc, segment: Callable[..., int]
) -> None:
    study = a_study(tmp_path / "study")
    orthanc.store(study)
    series = fetched(orthanc, study, tmp_path / "fetched")
    out = tmp_path / "out"
    assert segment(series, "-q", "-o", str(out), "--dicom", "seg,sr,rtstruct") == 0
    orthanc.store([out / name for name in OBJECTS])
    uid = dcmread(study[0]).StudyInstanceUID
    returned = by_uid(orthanc.retrieve(f"studies/{uid}"))
    assert returned == in_files(study) | in_files([out / name for name in OBJECTS])
    [seg] = [one for one in returned.values() if one.Modality == "SEG"]
    seg.save_as(tmp_path / "returned.dcm")
    again = [str(series), str(tmp_path / "returned.dcm"), "-q", "-o", str(tmp_path / "again")]
    assert run(["measure", *again, "--segments", "none"]) == 0
    one, two = (read_lesions(folder) for folder in (out, tmp_path / "again"))
    assert one
    assert one == two


def read_lesions(folder: Path) -> list[dict[str, object]]:
    lesions = json.loads((folder / "report.json").read_text(encoding="utf-8"))["lesions"]
    return [{**lesion, "mean_probability": None} for lesion in lesions]


def test_a_node_gets_a_study_from_the_archive_and_sends_seg_and_sr_back(
    tmp_path: Path, orthanc: Orthanc, toy: Path
) -> None:
    study = a_study(tmp_path / "study")
    assert run(["send", str(tmp_path / "study"), "--to", str(orthanc.peer)]) == 0
    [name] = json.loads(orthanc.ask("studies")[0])
    with a_node(tmp_path, toy, forward=orthanc.peer, caller="ORTHANC") as node:
        address = {"AET": "NODE", "Host": HERE, "Port": node.port}
        orthanc.ask("modalities/node", json.dumps(address).encode(), method="PUT")
        orthanc.ask("modalities/node/echo", b"{}")
        orthanc.ask("modalities/node/store", name.encode())
        node.settle()
        results = node.worker.step()
        assert results is not None
        stored = by_uid(orthanc.instances())
        assert stored == in_files(study) | in_files(sorted(results.glob("*.dcm")))
        # The archive sends the whole study again, with our results in it: no new work, no circle.
        orthanc.ask("modalities/node/store", name.encode())
        node.settle()
        assert node.worker.step()
        assert by_uid(orthanc.instances()) == stored
