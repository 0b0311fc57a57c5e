"""Files to another node and back: byte for byte, or an error that says why."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import pytest
from node_tools import CT_IMAGE, a_study, archive
from pydicom import dcmread

from livertumor_cli.cli.app import run
from livertumor_cli.errors import ConfigError, InputError, NetworkError
from livertumor_cli.io.dicom_net import Peer, parse_peer, require_ae_title
from livertumor_cli.io.dicom_net_send import find_objects, send_files


@pytest.mark.parametrize(
    ("text", "peer"),
    [
        ("PACS@10.0.0.5:104", Peer("PACS", "10.0.0.5", 104)),
        ("MY PACS @pacs.example:11112", Peer("MY PACS", "pacs.example", 11112)),
        ("A@B@host:1", Peer("A@B", "host", 1)),
        ("PACS@[::1]:104", Peer("PACS", "::1", 104)),
    ],
)
def test_nodes_are_read(text: str, peer: Peer) -> None:
    assert parse_peer(text) == peer


@pytest.mark.parametrize(
    "text",
    [
        *("", "PACS", "PACS@host", "@host:104", "PACS@:104", "PACS@host:0", "PACS@host:65536"),
        *("PACS@host:1O4", "SEVENTEEN_LETTERS@host:104", "BACK\\SLASH@host:104", "PACS@host:-1"),
    ],
)
def test_other_texts_are_no_nodes(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_peer(text)


def test_titles_lose_the_spaces_around_them() -> None:
    assert require_ae_title("  NODE ") == "NODE"
    for wrong in ("", "   ", "Ä", "A\nB"):
        with pytest.raises(ConfigError):
            require_ae_title(wrong)


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
def test_objects_arrive_byte_for_byte(tmp_path: Path) -> None:
    files = a_study(tmp_path / "study")[:3]
    odd = dcmread(files[0])
    # Old scanners write names like this; the patient must reach the archive as he is called.
    odd.PatientName = "Zylber=stein^" + "X" * 80
    odd.SOPInstanceUID = odd.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    odd.save_as(files[0])
    with archive() as there:
        send_files(files, peer=there.peer, aet="NODE")
        send_files(files, peer=there.peer, aet="NODE")
    assert (there.requests, len(there.got)) == (6, 3)
    for file in files:
        sent, got = dcmread(file), dcmread(BytesIO(there.got[dcmread(file).SOPInstanceUID]))
        assert sent == got


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # pynetdicom's
def test_a_node_that_is_not_there(tmp_path: Path) -> None:
    files = a_study(tmp_path)[:1]
    with archive() as there:
        gone = there.peer
    with pytest.raises(NetworkError, match="cannot be reached"):
        send_files(files, peer=gone, aet="NODE")


def test_a_node_that_knows_somebody_else(tmp_path: Path) -> None:
    files = a_study(tmp_path)[:1]
    with archive(caller="FRIEND") as there:
        with pytest.raises(NetworkError, match="refused to talk to NODE"):
            send_files(files, peer=there.peer, aet="NODE")
        wrong = Peer("OTHER", there.peer.host, there.peer.port)
        with pytest.raises(NetworkError, match="refused"):
            send_files(files, peer=wrong, aet="FRIEND")
        send_files(files, peer=there.peer, aet="FRIEND")


def test_a_node_that_does_not_store(tmp_path: Path) -> None:
    files = a_study(tmp_path)[:2]
    with archive() as there:
        there.status = 0xA700
        with pytest.raises(NetworkError, match=r"2 of 2 objects.*0xA700"):
            send_files(files, peer=there.peer, aet="NODE")
        there.status = 0xB000  # stored, with a remark
        send_files(files, peer=there.peer, aet="NODE")
    with archive(only=("1.2.840.10008.5.1.4.1.1.4",)) as there, pytest.raises(NetworkError):
        send_files(files, peer=there.peer, aet="NODE")


def test_objects_of_a_kind_it_does_not_take_do_not_stop_the_others(tmp_path: Path) -> None:
    files = a_study(tmp_path)[:2]
    mr = dcmread(files[1])
    mr.SOPClassUID = mr.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
    mr.save_as(files[1])
    one_refused = pytest.raises(NetworkError, match="1 of 2 objects: it takes no MR Image Storage")
    with archive(only=(CT_IMAGE,)) as there, one_refused:
        send_files([files[1], files[0]], peer=there.peer, aet="NODE")
    assert list(there.got) == [dcmread(files[0]).SOPInstanceUID]


def test_only_dicom_files_are_found(tmp_path: Path) -> None:
    files = a_study(tmp_path / "results" / "deep")[:2]
    (tmp_path / "results" / "report.json").write_text("{}", encoding="utf-8")
    (tmp_path / "empty").mkdir()
    assert find_objects(tmp_path / "results")[:2] == files
    assert find_objects(files[0]) == [files[0]]
    for wrong in (tmp_path / "empty", tmp_path / "results" / "report.json", tmp_path / "gone"):
        with pytest.raises(InputError):
            find_objects(wrong)


def test_the_command_sends_and_names_what_it_sent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = a_study(tmp_path / "study")
    with archive(caller="LIVERTUMOR") as there:
        assert run(["send", str(tmp_path / "study"), "--to", str(there.peer)]) == 0
        assert capsys.readouterr().out.splitlines() == [str(file) for file in files]
        assert set(there.got) == {dcmread(file).SOPInstanceUID for file in files}
        assert run(["send", str(files[0]), "--to", str(there.peer), "--aet", "X"]) == 8
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("Error: ARCHIVE@127.0.0.1:")
    assert run(["send", str(files[0]), "--to", "nowhere"]) == 2
