"""`livertumor listen`: a study goes in, its SEG and SR come out, and nothing is lost on the way."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from node_tools import HERE, a_study, archive, patient_of, push, until
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE
from toy_recipe import silent, toy_options

from livertumor_cli.cli.app import run
from livertumor_cli.errors import BackendError, NetworkError
from livertumor_cli.io.dicom_net import Peer
from livertumor_cli.io.dicom_net_receive import receiving
from livertumor_cli.io.dicom_results import DicomObject
from livertumor_cli.node import spool as spool_module
from livertumor_cli.node import worker as worker_module
from livertumor_cli.node.spool import Spool
from livertumor_cli.node.worker import NodeSettings, Worker
from livertumor_cli.segment_setup import open_networks

SEG_CLASS = "1.2.840.10008.5.1.4.1.1.66.4"
SR_CLASS = "1.2.840.10008.5.1.4.1.1.88.34"


class Node:
    """A node in this process whose work is done step by step."""

    def __init__(self, folder: Path, toy: Path, *, forward: Peer | None = None) -> None:
        options = toy_options(toy, dicom=(DicomObject.SEG, DicomObject.SR))
        self.told: list[str] = []
        self.spool = Spool(folder)
        self.settings = NodeSettings(options=options, forward=forward, aet="NODE", quiet_s=0)
        self.networks = open_networks(options)
        self.worker = self.another_worker()
        self.port = 0

    def another_worker(self, **changes: object) -> Worker:
        settings = replace(self.settings, **changes)  # type: ignore[arg-type]
        tell = self.told.append
        self.worker = Worker(
            self.spool, networks=self.networks, settings=settings, tell=tell, progress=silent
        )
        return self.worker

    def push(self, files: list[Path], **how: object) -> list[int]:
        """Send, and wait until the end of the association was noticed."""
        answers = push(files, self.port, **how)  # type: ignore[arg-type]
        self.settle()
        return answers

    def settle(self) -> None:
        """Wait until no association is open any more that brought something."""
        until(lambda: not any(study.shares for study in self._arriving()))

    def _arriving(self) -> list[Any]:
        self.spool.take_whole(1e9)
        return list(self.spool._arrivals._studies.values())

    def in_state(self, state: str) -> list[str]:
        return sorted(path.name for path in (self.spool.folder / state).iterdir())


@contextmanager
def a_node(
    folder: Path, toy: Path, *, forward: Peer | None = None, caller: str = "SCANNER"
) -> Iterator[Node]:
    node = Node(folder / "spool", toy, forward=forward)
    with receiving(node.spool, host=HERE, port=0, aet="NODE", callers=(caller,)) as port:
        node.port = port
        yield node


@pytest.fixture
def study(tmp_path: Path) -> list[Path]:
    return a_study(tmp_path / "study")


def study_uid(files: list[Path]) -> str:
    return str(dcmread(files[0]).StudyInstanceUID)


def test_a_study_goes_in_and_its_seg_and_sr_come_out(
    tmp_path: Path, toy: Path, study: list[Path]
) -> None:
    with archive() as there, a_node(tmp_path, toy, forward=there.peer) as node:
        assert node.push(study) == [0] * len(study)
        results = node.worker.step()
    assert results == node.spool.folder / "done" / study_uid(study) / "results"
    written = {path.name: dcmread(path) for path in results.glob("*.dcm")}
    assert set(written) == {"segmentation.dcm", "measurements.dcm"}
    got = {uid: dcmread(BytesIO(content)) for uid, content in there.got.items()}
    assert got == {one.SOPInstanceUID: one for one in written.values()}
    assert {one.SOPClassUID for one in got.values()} == {SEG_CLASS, SR_CLASS}
    assert set(map(patient_of, there.got.values())) == {("Zylberstein^Xaver", "QX-77812")}
    assert json.loads((results / "report.json").read_text("utf-8"))["tumor"]["count"] == 1
    assert [node.in_state(state) for state in ("incoming", "jobs", "failed")] == [[], [], []]
    assert not list(node.spool.folder.glob("done/*/images"))


def test_what_is_kept_and_told_names_no_patient(
    tmp_path: Path, toy: Path, study: list[Path]
) -> None:
    with archive() as there, a_node(tmp_path, toy, forward=there.peer) as node:
        node.push(study)
        node.worker.step()
    names = " ".join(str(path) for path in node.spool.folder.rglob("*")) + " ".join(node.told)
    assert "is done" in names
    for word in ("zylberstein", "xaver", "qx-77812"):
        assert word not in names.lower()


def test_a_study_sent_twice_is_segmented_once_and_its_results_are_sent_again(
    tmp_path: Path, toy: Path, study: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    with archive() as there, a_node(tmp_path, toy, forward=there.peer) as node:
        node.push(study + study)
        assert node.worker.step()
        monkeypatch.setattr(worker_module, "segment_case", None)
        node.push(study)
        assert node.worker.step()
    assert there.requests == 4
    assert len(there.got) == 2
    assert node.in_state("done") == [study_uid(study)]


def test_a_cut_association_is_no_study_until_the_rest_has_come(
    tmp_path: Path, toy: Path, study: list[Path]
) -> None:
    half = len(study) // 2
    with a_node(tmp_path, toy) as node:
        assert node.push(study[:half], cut=True) == [0] * half
        assert node.worker.step() is None
        assert node.worker.step() is None
        assert node.spool.waiting() == [study_uid(study)]
        [told] = node.told  # once
        assert "it waits until it is sent again" in told
        node.push(study[half:])
        results = node.worker.step()
    report = json.loads((results / "report.json").read_text("utf-8"))
    assert report["input"]["shape_zyx"][0] == len(study)


def test_a_series_that_comes_in_parts_is_not_measured_in_parts(
    tmp_path: Path, toy: Path, study: list[Path]
) -> None:
    with a_node(tmp_path, toy) as node:
        node.push(study[:30])
        assert node.worker.step()
        node.push(study[30:])
        assert node.worker.step() is None
        assert "Send the whole study again" in node.told[-1]
        assert node.in_state("failed") == [study_uid(study)]
        node.push(study)
        results = node.worker.step()
    report = json.loads((results / "report.json").read_text("utf-8"))
    assert report["input"]["shape_zyx"][0] == len(study)


def test_a_full_disk_is_told_to_the_sender(
    tmp_path: Path, toy: Path, study: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    with a_node(tmp_path, toy) as node:
        with monkeypatch.context() as full:
            full.setattr(spool_module, "MIN_FREE_BYTES", 2**60)
            assert node.push(study[:2]) == [0xA700, 0xA700]
        assert node.push(study[2:]) == [0] * (len(study) - 2)
        assert node.push(study[:2]) == [0, 0]
        assert node.worker.step()


def test_results_wait_for_an_archive_that_is_away(
    tmp_path: Path, toy: Path, study: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    with archive() as there, a_node(tmp_path, toy, forward=there.peer) as node:
        node.push(study)
        there.status = 0xA700
        assert node.worker.step() is None
        assert "0xA700" in node.told[-1]
        assert node.in_state("jobs") == [study_uid(study)]
        assert node.worker.step() is None  # not due yet
        assert there.requests == 2
        there.status = 0
        monkeypatch.setattr(worker_module, "segment_case", None)
        assert node.another_worker().step()  # as after a restart: no new segmentation
        assert len(there.got) == 2


def test_what_passes_is_tried_again_ever_later(
    tmp_path: Path, toy: Path, study: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(*_arguments: object, **_named: object) -> None:
        raise BackendError("the machine ran out of memory.")

    now = [1e9]
    with a_node(tmp_path, toy) as node:
        node.push(study)
        monkeypatch.setattr("time.monotonic", lambda: now[0])
        with monkeypatch.context() as memory:
            memory.setattr(worker_module, "segment_case", busy)
            for wait_s in (15, 30, 60, 120, 240, 480, 600, 600):
                assert node.worker.step() is None
                assert node.told[-1].endswith(f"Next try in {wait_s} s.")
                now[0] += wait_s - 1
                told = len(node.told)
                node.worker.step()
                assert len(node.told) == told
                now[0] += 1
        assert node.worker.step()


def test_a_scan_that_cannot_be_used_is_put_aside_with_its_reason(
    tmp_path: Path, toy: Path, study: list[Path]
) -> None:
    other = a_study(tmp_path / "other", seed="other")
    with a_node(tmp_path, toy) as node:
        node.push([*study[:10], *study[12:]])
        node.worker.step()
        node.push(other)
        assert node.worker.step()
    failed = node.spool.folder / "failed" / study_uid(study)
    assert "evenly" in (failed / "reason.txt").read_text("utf-8")
    assert len(list(failed.rglob("*.dcm"))) == len(study) - 2
    failed.joinpath("reason.txt").unlink()


def test_a_fault_of_the_program_stops_one_study_only(
    tmp_path: Path, toy: Path, study: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fault(*_arguments: object, **_named: object) -> None:
        raise ZeroDivisionError("Zylberstein")

    with a_node(tmp_path, toy) as node:
        node.push(study)
        with monkeypatch.context() as broken:
            broken.setattr(worker_module, "segment_case", fault)
            assert node.worker.step() is None
        assert node.told[-1].endswith("failed: The program failed: ZeroDivisionError.")
        node.push(study)
        assert node.worker.step()


def test_a_study_that_ends_the_program_again_and_again_is_put_aside(
    tmp_path: Path, toy: Path, study: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    class PowerCut(BaseException):
        pass

    def cut(*_arguments: object, **_named: object) -> None:
        raise PowerCut

    with a_node(tmp_path, toy) as node:
        node.push(study)
        with monkeypatch.context() as power:
            power.setattr(worker_module, "segment_case", cut)
            for _ in range(worker_module.MOST_ATTEMPTS):
                with pytest.raises(PowerCut):
                    node.another_worker().step()
        assert node.another_worker().step() is None
        assert "ended 3 times" in node.told[-1]
        folder = node.spool.folder
        (folder / "failed" / study_uid(study)).rename(folder / "jobs" / study_uid(study))
        assert node.worker.step()


def test_only_known_titles_that_call_this_node_are_let_in(
    tmp_path: Path, toy: Path, study: list[Path]
) -> None:
    with a_node(tmp_path, toy) as node:
        assert push(study[:1], node.port, caller="STRANGER") == []
        assert push(study[:1], node.port, called="OTHER") == []
        assert push(study[:1], node.port) == [0]


def test_what_is_no_ct_is_dropped_and_makes_no_study(tmp_path: Path, toy: Path) -> None:
    """An archive may send our own SEG back: that must not go round in circles."""
    path = a_study(tmp_path / "study")[0]
    dataset = dcmread(path)
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = SEG_CLASS
    entity = AE(ae_title="SCANNER")
    entity.add_requested_context(SEG_CLASS, ExplicitVRLittleEndian)
    entity.add_requested_context("1.2.840.10008.1.1")
    with a_node(tmp_path, toy) as node:
        association = entity.associate(HERE, node.port, ae_title="NODE")
        assert association.send_c_echo().Status == 0
        assert association.send_c_store(dataset).Status == 0
        association.release()
        assert node.worker.step() is None
        assert node.in_state("incoming") == []


def test_an_image_without_identifiers_is_refused(tmp_path: Path, toy: Path) -> None:
    path = a_study(tmp_path / "study")[0]
    dataset = dcmread(path)
    del dataset.StudyInstanceUID
    dataset.save_as(path)
    with a_node(tmp_path, toy) as node:
        assert node.push([path]) == [0xC000]
        assert node.in_state("incoming") == []


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with archive() as there:
        taken = receiving(Spool(tmp_path), host=HERE, port=there.peer.port, aet="A", callers=("B",))
        with pytest.raises(NetworkError, match="cannot be used"), taken:
            pass


LISTEN = "import sys; from livertumor_cli.cli.app import main; main()"


@contextmanager
def listening(
    tmp_path: Path, toy: Path, *more: str
) -> Iterator[tuple[subprocess.Popen[str], int, Callable[[], str]]]:
    """The command in a program of its own, its port, and what it has said on stderr."""
    arguments = ["listen", "--port", "0", "--aet", "NODE", "--from", "SCANNER"]
    arguments += ["--spool", str(tmp_path / "spool"), "--recipe", str(toy), "--device", "cpu"]
    arguments += ["--engine", "onnxruntime", "--threads", "1", *more]
    log = tmp_path / "log.txt"
    with log.open("a", encoding="utf-8") as stream:
        program = subprocess.Popen(
            [sys.executable, "-c", LISTEN, *arguments],
            stdout=subprocess.PIPE,
            stderr=stream,
            text=True,
            encoding="utf-8",
        )

    def said() -> str:
        return log.read_text(encoding="utf-8")

    known = said().count("listens on")
    try:
        until(lambda: said().count("listens on") > known or program.poll() is not None)
        port = int(said().rpartition("127.0.0.1:")[2].split()[0])
        yield program, port, said
    finally:
        program.kill()
        program.communicate()


def test_a_node_that_is_killed_goes_on_where_it_was(
    tmp_path: Path, toy: Path, study: list[Path]
) -> None:
    with listening(tmp_path, toy, "--quiet-time", "3600") as (program, port, said):
        assert push(study, port) == [0] * len(study)
        uid = study_uid(study)
        marker = tmp_path / "spool" / "incoming" / uid / "receiving"
        until(lambda: not marker.exists())
        program.kill()
    with archive() as there:
        forward = ("--forward", str(there.peer))
        with listening(tmp_path, toy, "--quiet-time", "0", *forward) as (program, port, said):
            until(lambda: "is done" in said())
            program.send_signal(signal.SIGTERM)
            out, _ = program.communicate(timeout=60)
    assert out.splitlines() == [str(tmp_path / "spool" / "done" / uid / "results")]
    assert len(there.got) == 2
    assert program.returncode == 130
    assert "Zylberstein" not in said()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "--from"),
        (["--from", "A\\B"], "no DICOM application entity title"),
        (["--from", "PACS", "--forward", "PACS"], "no DICOM node"),
        (["--from", "PACS", "--dicom", "none"], "nothing to send"),
    ],
)
def test_wrong_usage(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["listen", *arguments]) == 2
    assert words in capsys.readouterr().err
