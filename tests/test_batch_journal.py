"""The journal keeps what was written, whatever happens in the middle of a line."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest

from livertumor_cli.batch.failure import Failure
from livertumor_cli.batch.journal import Journal, Origin, Status
from livertumor_cli.errors import OutputError

FAILURE = Failure("truncated", 3, "It ends too early.", "Copy it again.")


def fill(journal: Journal) -> None:
    journal.saw("stamp1", "input1", Origin("/a"))
    journal.saw("stamp2", "input2", Origin("/b", "1.2"))
    journal.started("input1", "s")
    journal.done("input1", "s")
    journal.started("input2", "s")
    journal.failed("input2", "s", FAILURE)


def check(journal: Journal) -> None:
    assert journal.input_of("stamp1") == "input1"
    assert journal.entry("input1", "s").status is Status.DONE
    assert journal.entry("input1", "other").status is Status.OPEN
    assert journal.entry("input2", "s").failure == FAILURE
    assert journal.result_settings("input1") == "s"
    assert journal.result_settings("input2") is None
    assert journal.origins() == {Origin("/a"): "input1", Origin("/b", "1.2"): "input2"}


def test_it_is_read_back(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    fill(journal)
    check(journal)
    check(Journal(tmp_path / "journal.jsonl"))


def test_cut_at_every_byte_it_keeps_the_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    fill(Journal(path))
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        again = Journal(path)
        again.started("input3", "s")
        after = Journal(path)
        assert after.entry("input3", "s").crashes == 1
        # `started` and all that stood whole before it.
        lines = whole[:length].count(b"\n")
        assert (after.entry("input1", "s").status is Status.DONE) == (
            lines >= 4 or (whole[:length].endswith(b'"s"}') and lines == 3)
        )


def test_a_full_disk_is_an_error_and_leaves_a_journal_that_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    fill(journal)

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(os, "fsync", full)
        with pytest.raises(OutputError, match="disk is full"):
            journal.started("input3", "s")
    journal.started("input4", "s")
    check(Journal(tmp_path / "journal.jsonl"))
    assert Journal(tmp_path / "journal.jsonl").entry("input4", "s").crashes == 1


def test_crashes_are_starts_without_an_end(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    for _ in range(3):
        journal.started("input", "s")
    journal.stopped("input", "s")
    assert Journal(tmp_path / "journal.jsonl").entry("input", "s").crashes == 2
    journal.done("input", "s")
    assert journal.entry("input", "s").crashes == 0


def test_several_threads_write_whole_lines(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl")

    def work(name: str) -> None:
        for number in range(20):
            journal.done(f"{name}{number}", "s")

    threads = [threading.Thread(target=work, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    again = Journal(tmp_path / "journal.jsonl")
    names = [f"{name}{number}" for name in "abc" for number in range(20)]
    assert all(again.entry(name, "s").status is Status.DONE for name in names)


def test_names_of_files_may_be_any_bytes(tmp_path: Path) -> None:
    origin = Origin(os.fsdecode(b"/scans/\xff\xfe M\xfcller"))
    Journal(tmp_path / "journal.jsonl").saw("stamp", "input", origin)
    assert Journal(tmp_path / "journal.jsonl").origins() == {origin: "input"}
