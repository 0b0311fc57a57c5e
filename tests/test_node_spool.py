"""The spool: what is whole is taken, what is not waits, and nothing is lost on the way."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from livertumor_cli.errors import OutputError
from livertumor_cli.io.dicom_net_receive import Instance
from livertumor_cli.node import spool as spool_module
from livertumor_cli.node.service import open_spool
from livertumor_cli.node.spool import Spool

STUDY = "1.2.840.99.1"


@dataclass(eq=False)
class Transfer:
    """An association; `end` closes it."""

    over: bool = False
    released: bool = False

    def is_over(self) -> bool:
        return self.over

    def is_released(self) -> bool:
        return self.released

    def end(self, *, released: bool) -> None:
        self.over, self.released = True, released


def image(number: int, *, study: str = STUDY, series: str = "1.2.3") -> Instance:
    return Instance(study, series, f"1.2.3.{number}", f"image {number}".encode())


def bring(spool: Spool, *numbers: int, released: bool = True) -> Transfer:
    """Images over one association, which ends."""
    transfer = Transfer()
    for number in numbers:
        spool.keep(image(number), transfer)
    transfer.end(released=released)
    return transfer


def files(folder: Path) -> list[Path]:
    return sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool")


def test_a_study_is_whole_when_its_association_was_released_and_all_is_quiet(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    transfer = Transfer()
    spool.keep(image(1), transfer)
    now[0] += 1000
    assert spool.take_whole(30) == []  # still open
    transfer.end(released=True)
    assert spool.take_whole(30) == []  # ended just now
    now[0] += 29
    assert spool.take_whole(30) == []
    now[0] += 2
    assert spool.take_whole(30) == [STUDY]


def test_what_came_over_a_cut_association_waits_for_a_whole_one(spool: Spool) -> None:
    bring(spool, 1, 2, released=False)
    assert spool.take_whole(0) == []
    assert spool.waiting() == [STUDY]
    bring(spool, 1, 2, 3)
    assert spool.take_whole(0) == [STUDY]
    assert [len(names) for names in spool.incoming(STUDY).values()] == [3]


def test_a_cut_that_is_noticed_late_does_not_undo_the_repetition(spool: Spool) -> None:
    """A pulled cable is noticed by a timeout, when the sender has long sent all again."""
    dead = Transfer()
    spool.keep(image(1), dead)
    bring(spool, 1, 2)
    assert spool.take_whole(0) == []  # the dead one may still be sending, for all we know
    dead.end(released=False)
    assert spool.take_whole(0) == [STUDY]


def test_of_two_associations_side_by_side_both_must_be_released(spool: Spool) -> None:
    one, other = Transfer(), Transfer()
    spool.keep(image(1), one)
    spool.keep(image(2), other)
    spool.keep(image(3), one)
    one.end(released=False)
    other.end(released=True)
    assert spool.take_whole(0) == []
    bring(spool, 3, 4)
    assert spool.take_whole(0) == [STUDY]


def test_a_study_that_lacks_a_refused_image_is_not_whole(spool: Spool) -> None:
    transfer = Transfer()
    spool.keep(image(1), transfer)
    spool.refuse(STUDY, transfer)
    transfer.end(released=True)
    assert spool.take_whole(0) == []
    bring(spool, 1, 2)
    assert spool.take_whole(0) == [STUDY]


def test_a_nearly_full_disk_refuses_and_keeps_what_it_has(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    transfer = Transfer()
    spool.keep(image(1), transfer)
    free = shutil.disk_usage(spool.folder).free
    with monkeypatch.context() as full:
        full.setattr(spool_module, "MIN_FREE_BYTES", 2 * free)
        with pytest.raises(OutputError, match="nearly full"):
            spool.keep(image(2), transfer)
    spool.keep(image(3), transfer)
    assert [len(names) for names in spool.incoming(STUDY).values()] == [2]


def test_an_image_that_could_not_be_written_leaves_nothing_half_written(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr("os.fsync", full)
        with pytest.raises(OutputError, match="the disk is full"):
            spool.keep(image(1), Transfer())
    assert files(spool.folder) == []


def test_a_restart_knows_what_was_whole_and_what_was_not(spool: Spool) -> None:
    bring(spool, 1, 2)
    other = Transfer()
    spool.keep(image(1, study="1.2.840.99.2"), other)
    assert spool.take_whole(1000) == []  # notes that the first one is whole, takes nothing yet
    partial = spool.folder / "incoming" / STUDY / "images"
    [series] = partial.iterdir()
    (series / ".a.dcm.partial-12345678").write_bytes(b"half")
    (spool.folder / "jobs" / "1.2.3" / ".results.partial-1").mkdir(parents=True)

    again = Spool(spool.folder)
    assert again.take_whole(0) == [STUDY]
    assert again.waiting() == ["1.2.840.99.2"]
    assert len(list(series.iterdir())) == 2
    assert not list(spool.folder.glob("jobs/1.2.3/*"))
    assert bring_other(again) == ["1.2.840.99.2", STUDY]


def bring_other(spool: Spool) -> list[str]:
    transfer = Transfer()
    spool.keep(image(2, study="1.2.840.99.2"), transfer)
    transfer.end(released=True)
    return sorted(spool.take_whole(0), reverse=True)


def finished(spool: Spool, *numbers: int) -> Path:
    """Send images, and give them results."""
    bring(spool, *numbers)
    [study] = spool.take_whole(0)
    spool.to_jobs(study)
    [job] = spool.jobs()
    job.results.mkdir()
    (job.results / "report.json").write_text("{}", encoding="utf-8")
    return spool.finish(job)


def test_what_is_done_keeps_results_and_no_images(spool: Spool) -> None:
    results = finished(spool, 1, 2)
    assert results == spool.folder / "done" / STUDY / "results"
    assert [path.name for path in files(results.parent)] == ["instances.json", "report.json"]
    assert [len(names) for names in spool.segmented(STUDY).values()] == [2]
    assert spool.jobs() == []


def test_what_came_again_is_told_from_what_is_new(spool: Spool) -> None:
    finished(spool, 1, 2)
    assert finished(spool, 1, 2, 3) == spool.folder / "done" / f"{STUDY}_2" / "results"
    assert [len(names) for names in spool.segmented(STUDY).values()] == [3]
    bring(spool, 2, 3)
    assert spool.take_whole(0) == [STUDY]
    spool.send_again(STUDY)
    assert [job.name for job in spool.jobs()] == [STUDY, f"{STUDY}_2"]
    assert not list((spool.folder / "incoming").iterdir())
    for job in spool.jobs():
        spool.finish(job)
    assert [len(names) for names in spool.segmented(STUDY).values()] == [3]


def test_a_study_that_is_being_worked_on_lets_more_of_it_wait(spool: Spool) -> None:
    bring(spool, 1)
    assert spool.take_whole(0) == [STUDY]
    spool.to_jobs(STUDY)
    bring(spool, 2)
    assert spool.take_whole(0) == []
    [job] = spool.jobs()
    assert spool.fail(job, "why") == spool.folder / "failed" / STUDY
    assert (spool.folder / "failed" / STUDY / "reason.txt").read_text("utf-8") == "why\n"
    assert spool.take_whole(0) == [STUDY]


def test_an_image_that_comes_in_the_last_moment_holds_the_study_back(spool: Spool) -> None:
    bring(spool, 1)
    assert spool.take_whole(0) == [STUDY]
    transfer = Transfer()
    spool.keep(image(2), transfer)
    spool.to_jobs(STUDY)
    spool.send_again(STUDY)
    assert spool.jobs() == []
    assert [len(names) for names in spool.incoming(STUDY).values()] == [2]


@pytest.mark.parametrize("uid", ["../../etc", "a/b", "1.2.3.", "C:\\x", ".", "CON", "1" * 65, "ä"])
def test_uids_that_are_none_lead_nowhere(spool: Spool, uid: str) -> None:
    spool.keep(Instance(uid, uid, uid, b"image"), Transfer())
    [study] = (spool.folder / "incoming").iterdir()
    [path] = [path for path in files(study) if path.suffix == ".dcm"]
    assert len(path.parts) == 3
    for part in (study.name, *path.parts):
        assert part.replace(".dcm", "").isalnum()


def test_two_programs_do_not_share_a_spool(tmp_path: Path) -> None:
    used = pytest.raises(OutputError, match="used by another")
    with open_spool(tmp_path / "spool"), used, open_spool(tmp_path / "spool"):
        pass
    with open_spool(tmp_path / "spool"):
        pass
