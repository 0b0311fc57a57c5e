"""Many cases: done once each, side by side, and none harmed by another."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest
from batch_runs import (
    Event,
    Recorder,
    folder_of,
    report_of,
    rows_of,
    run_batch,
    write_scan,
    write_scans,
)
from segment_runs import GEOMETRY
from toy_recipe import Patient, silent, toy_options

from livertumor_cli.batch import batch as batch_module
from livertumor_cli.batch import local
from livertumor_cli.batch.batch import preview
from livertumor_cli.batch.case import BatchCase, case_name
from livertumor_cli.batch.discovery import find_cases
from livertumor_cli.batch.events import CaseStep, Outcome
from livertumor_cli.batch.journal import JOURNAL, Journal, Origin
from livertumor_cli.batch.look import Looker
from livertumor_cli.batch.out_folder import taken
from livertumor_cli.batch.plan import Selection, Task
from livertumor_cli.batch.settings import BatchSettings
from livertumor_cli.case_files import RESULT_FILES, write_case
from livertumor_cli.errors import BackendError, InputError, OutputError, Reason
from livertumor_cli.io.dicom_ct import write_ct_series
from livertumor_cli.pipeline import segment_case

WAIT_S = 60


def case_folders(out: Path) -> list[str]:
    return sorted(path.name for path in out.glob("case-*"))


def hidden_leftovers(out: Path) -> list[str]:
    return [path.name for path in out.glob(".*.partial-*")]


# Results


def test_results_are_those_of_segment(toy: Path, tmp_path: Path) -> None:
    write_scan(tmp_path / "in" / "a" / "scan.nii.gz")
    write_ct_series(tmp_path / "in" / "b" / "series", Patient().scan(GEOMETRY), seed="b")
    _, plan = run_batch(tmp_path / "in", tmp_path / "out", toy)
    assert [one.task for one in plan.cases] == [Task.DONE, Task.DONE]
    for source in ("a/scan.nii.gz", "b/series"):
        one = tmp_path / "alone" / source.replace("/", "_")
        path = tmp_path / "in" / source
        result = segment_case(path, options=toy_options(toy), progress=silent)
        write_case(result, one, overwrite=False)
        other = folder_of(tmp_path / "out", source)
        assert {path.name for path in other.iterdir()} == {path.name for path in one.iterdir()}
        for name in ("mask.nii.gz", "lesions.nii.gz", "lesions.csv", "figures/lesion_01.png"):
            assert (one / name).read_bytes() == (other / name).read_bytes(), name
        reports = [report_of(folder) for folder in (one, other)]
        for report in reports:
            del report["timings_s"], report["peak_memory_mb"]
        assert reports[0] == reports[1]


def test_a_second_run_does_nothing(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_scans(tmp_path / "in", 2)
    first, _ = run_batch(tmp_path / "in", tmp_path / "out", toy)
    assert set(first.ends.values()) == {Outcome.DONE}
    monkeypatch.setattr(batch_module, "open_networks", None)
    second, plan = run_batch(tmp_path / "in", tmp_path / "out", toy)
    assert second.events == []
    assert [one.task for one in plan.cases] == [Task.DONE, Task.DONE]


def test_the_networks_are_opened_once_and_used_by_one_thread(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, threads = [], set()
    open_networks, run_networks = batch_module.open_networks, local.run_networks

    def count(options: Any) -> Any:
        opened.append(options)
        return open_networks(options)

    def note(*arguments: Any, **named: Any) -> Any:
        threads.add(threading.current_thread())
        return run_networks(*arguments, **named)

    monkeypatch.setattr(batch_module, "open_networks", count)
    monkeypatch.setattr(local, "run_networks", note)
    write_scans(tmp_path / "in", 3)
    run_batch(tmp_path / "in", tmp_path / "out", toy)
    assert len(opened) == 1
    assert threads == {threading.main_thread()}


def test_reading_and_writing_overlap_with_the_networks(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first case keeps the device until the second is read; the second, until the first is
    being written. One after the other, each would wait for ever."""
    first, second = write_scans(tmp_path / "in", 2)
    read, written = threading.Event(), threading.Event()
    read_case, run_networks = local.read_case, local.run_networks
    reached = []

    def read_and_tell(case: Any, **named: Any) -> Any:
        scan = read_case(case, **named)
        if case.source == second:
            read.set()
        return scan

    def wait(*arguments: Any, **named: Any) -> Any:
        reached.append((written if reached else read).wait(WAIT_S))
        return run_networks(*arguments, **named)

    def tell(event: Event) -> None:
        if event == CaseStep(first, "write"):
            written.set()

    monkeypatch.setattr(local, "read_case", read_and_tell)
    monkeypatch.setattr(local, "run_networks", wait)
    run_batch(tmp_path / "in", tmp_path / "out", toy, observe=Recorder(tell))
    assert reached == [True, True]


# The content decides


def test_one_scan_in_two_places_is_done_once(toy: Path, tmp_path: Path) -> None:
    path = write_scan(tmp_path / "in" / "a" / "scan.nii.gz")
    (tmp_path / "in" / "b").mkdir()
    (tmp_path / "in" / "b" / "copy.nii.gz").write_bytes(path.read_bytes())
    recorder, plan = run_batch(tmp_path / "in", tmp_path / "out", toy)
    assert recorder.ends == {"a/scan.nii.gz": Outcome.DONE, "b/copy.nii.gz": Outcome.KNOWN}
    assert [one.task for one in plan.cases] == [Task.DONE, Task.DONE]
    [name] = case_folders(tmp_path / "out")
    assert [row["case"] for row in rows_of(tmp_path / "out" / "sources.csv")] == [name, name]


def test_two_scans_of_one_name_are_two_cases(toy: Path, tmp_path: Path) -> None:
    write_scans(tmp_path / "in", 2)
    run_batch(tmp_path / "in", tmp_path / "out", toy)
    assert len(case_folders(tmp_path / "out")) == 2
    counts = [row["tumor_volume_ml"] for row in rows_of(tmp_path / "out" / "summary.csv")]
    assert len(set(counts)) == 2


def test_a_moved_scan_is_known(toy: Path, tmp_path: Path) -> None:
    write_scans(tmp_path / "in", 1)
    run_batch(tmp_path / "in", tmp_path / "out", toy)
    (tmp_path / "in").rename(tmp_path / "moved")
    recorder, plan = run_batch(tmp_path / "moved", tmp_path / "out", toy)
    assert list(recorder.ends.values()) == [Outcome.KNOWN]
    assert [one.task for one in plan.cases] == [Task.DONE]


def test_a_changed_scan_is_a_new_case(toy: Path, tmp_path: Path) -> None:
    path = write_scan(tmp_path / "in" / "scan.nii.gz", tumor_mm=9)
    run_batch(tmp_path / "in", tmp_path / "out", toy)
    write_scan(path, tumor_mm=12)
    recorder, _ = run_batch(tmp_path / "in", tmp_path / "out", toy)
    assert list(recorder.ends.values()) == [Outcome.DONE]
    [row] = rows_of(tmp_path / "out" / "summary.csv")
    assert float(row["tumor_volume_ml"]) == pytest.approx(7.2, rel=0.1)


def test_names_say_nothing_of_patients(toy: Path, tmp_path: Path) -> None:
    write_scan(tmp_path / "in" / "DOE^JANE_1956" / "DOE.nii.gz")
    (tmp_path / "in" / "DOE^JANE_1956" / "DOE_bad.nii.gz").write_bytes(b"junk")
    out = tmp_path / "out"
    run_batch(tmp_path / "in", out, toy)
    for name in ("summary.csv", "summary.json", "index.html"):
        assert b"DOE" not in (out / name).read_bytes(), name
    assert not any("DOE" in path.name for path in out.rglob("*"))
    assert b"DOE" in (out / "sources.csv").read_bytes()


# Failures


def test_a_bad_case_harms_no_other(toy: Path, tmp_path: Path) -> None:
    good = write_scans(tmp_path / "in", 3)
    bad = {
        "aa_junk.nii.gz": (b"junk", "not_an_image"),
        "patient0/cut.nii.gz": (None, "truncated"),
        "patient1/empty.dcm": (b"", "truncated"),
        "patient2/broken.zip": (b"PK\x03\x04 and no more", "unreadable"),
        "zz.mha": (b"text", "not_an_image"),
    }
    for name, (content, _) in bad.items():
        whole = (tmp_path / "in" / good[0]).read_bytes()
        (tmp_path / "in" / name).write_bytes(
            whole[: len(whole) // 2] if content is None else content
        )
    recorder, plan = run_batch(tmp_path / "in", tmp_path / "out", toy)
    # An empty file is known by its folder: it may be a slice of whatever lies there.
    expected = {Path(name).parent.as_posix() if "empty" in name else name for name in bad}
    assert set(recorder.failures) == expected
    assert all(recorder.ends[name] is Outcome.DONE for name in good)
    rows = rows_of(tmp_path / "out" / "failures.csv")
    reasons = {Path(row["source"]).name: (row["reason"], row["exit_code"]) for row in rows}
    for name, (_, reason) in bad.items():
        key = "patient1" if "empty" in name else Path(name).name
        assert reasons[key] == (reason, "3"), name
    assert len(case_folders(tmp_path / "out")) == len(good)
    assert len(plan.of(Task.FAILED)) == len(bad)


def test_failed_cases_are_left_until_asked_for(toy: Path, tmp_path: Path) -> None:
    path = tmp_path / "in" / "scan.nii.gz"
    path.parent.mkdir()
    path.write_bytes(b"junk")
    run_batch(tmp_path / "in", tmp_path / "out", toy)
    second, _ = run_batch(tmp_path / "in", tmp_path / "out", toy)
    assert second.events == []
    retry = Selection(retry_failed=True)
    third, _ = run_batch(tmp_path / "in", tmp_path / "out", toy, selection=retry)
    assert third.failures == {"scan.nii.gz": "not_an_image"}
    write_scan(path)
    fourth, _ = run_batch(tmp_path / "in", tmp_path / "out", toy)
    assert fourth.ends == {"scan.nii.gz": Outcome.DONE}
    assert rows_of(tmp_path / "out" / "failures.csv") == []


def test_a_file_that_could_not_be_opened_is_named_by_its_content_later(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_scan(tmp_path / "in" / "scan.nii.gz")

    def denied(_case: BatchCase) -> str:
        raise InputError("denied.", reason=Reason.UNREADABLE)

    with monkeypatch.context() as once:
        once.setattr(local, "input_hash", denied)
        recorder, _ = run_batch(tmp_path / "in", tmp_path / "out", toy)
    assert recorder.failures == {"scan.nii.gz": "unreadable"}
    retry = Selection(retry_failed=True)
    run_batch(tmp_path / "in", tmp_path / "out", toy, selection=retry)
    digest = hashlib.sha256(path.read_bytes()).digest()
    expected = case_name(hashlib.sha256(digest).hexdigest())
    assert case_folders(tmp_path / "out") == [expected]
    assert [row["case"] for row in rows_of(tmp_path / "out" / "sources.csv")] == [expected]


def test_a_repaired_copy_of_old_size_and_time_is_known_by_its_content(
    toy: Path, tmp_path: Path
) -> None:
    """As programs that copy make it, after bits were lost."""
    path = write_scan(tmp_path / "in" / "scan.nii.gz")
    whole, status = path.read_bytes(), path.stat()
    path.write_bytes(bytes(len(whole)))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    recorder, _ = run_batch(tmp_path / "in", tmp_path / "out", toy)
    assert len(recorder.failures) == 1
    path.write_bytes(whole)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    run_batch(tmp_path / "in", tmp_path / "out", toy, selection=Selection(retry_failed=True))
    digest = hashlib.sha256(hashlib.sha256(whole).digest()).hexdigest()
    assert case_folders(tmp_path / "out") == [case_name(digest)]


@pytest.mark.parametrize(
    ("step", "error", "reason", "code"),
    [
        ("read_case", MemoryError(), "device_or_memory", 5),
        ("run_networks", BackendError("memory ran out."), "device_or_memory", 5),
        ("run_networks", ZeroDivisionError("oops"), "internal", 1),
        ("measure_scan", MemoryError(), "device_or_memory", 5),
        ("write_case", OutputError("it does not read back."), "output", 6),
        ("write_case", PermissionError(13, "denied"), "internal", 1),
    ],
)
def test_an_error_at_any_step_stays_with_its_case(
    toy: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    error: Exception,
    reason: str,
    code: int,
) -> None:
    names = write_scans(tmp_path / "in", 3)
    whole, calls = getattr(local, step), []
    bad = "patient1"

    def fail(*arguments: Any, **named: Any) -> Any:
        # The second case of three, by order: every step takes them one after the other.
        calls.append(arguments)
        if len(calls) == 2 or len(calls) > 3:
            raise error
        return whole(*arguments, **named)

    monkeypatch.setattr(local, step, fail)
    recorder, _ = run_batch(tmp_path / "in", tmp_path / "out", toy)
    assert recorder.failures == {f"{bad}/scan.nii.gz": reason}
    assert [recorder.ends[name] for name in names] == [Outcome.DONE, Outcome.FAILED, Outcome.DONE]
    [row] = rows_of(tmp_path / "out" / "failures.csv")
    assert (row["reason"], row["exit_code"]) == (reason, str(code))
    assert hidden_leftovers(tmp_path / "out") == []
    # Only what may work alone was tried again.
    assert len(calls) == (4 if code == 5 else 3)


def test_a_case_that_ran_out_of_memory_beside_others_is_done_alone(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = write_scans(tmp_path / "in", 3)
    whole, calls = local.run_networks, []

    def fail_once(*arguments: Any, **named: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 1:
            raise MemoryError
        return whole(*arguments, **named)

    monkeypatch.setattr(local, "run_networks", fail_once)
    recorder, plan = run_batch(tmp_path / "in", tmp_path / "out", toy)
    assert {recorder.ends[name] for name in names} == {Outcome.DONE}
    assert [event.source for event in recorder.events if not isinstance(event, CaseStep)] == [
        names[0],
        names[1],
        names[2],
        names[0],
    ]
    assert len(plan.of(Task.DONE)) == 3


def test_a_full_disk_ends_the_batch_and_loses_nothing(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_scans(tmp_path / "in", 4)
    fsync, written = os.fsync, []

    def fill(descriptor: int) -> None:
        if threading.current_thread().name.startswith("write"):
            written.append(descriptor)
            if len(written) > 20:
                raise OSError(errno.ENOSPC, "No space left on device")
        fsync(descriptor)

    with monkeypatch.context() as full:
        full.setattr(os, "fsync", fill)
        with pytest.raises(OutputError, match="disk is full"):
            run_batch(tmp_path / "in", tmp_path / "out", toy)
    assert 1 <= len(case_folders(tmp_path / "out")) < 4
    assert hidden_leftovers(tmp_path / "out") == []
    done = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("case-*/report.json")}
    recorder, plan = run_batch(tmp_path / "in", tmp_path / "out", toy)
    assert len(plan.of(Task.DONE)) == 4
    assert {path: path.stat().st_mtime_ns for path in done} == done
    assert recorder.failures == {}


def test_a_scan_that_changes_while_it_is_read_fails(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_scan(tmp_path / "in" / "scan.nii.gz")
    read_case = local.read_case

    def read(case: Any, **named: Any) -> Any:
        scan = read_case(case, **named)
        with path.open("ab") as stream:
            stream.write(b"more")
        return scan

    monkeypatch.setattr(local, "read_case", read)
    recorder, _ = run_batch(tmp_path / "in", tmp_path / "out", toy)
    assert recorder.failures == {"scan.nii.gz": "unreadable"}
    assert case_folders(tmp_path / "out") == []


# Stopping


def test_a_stop_ends_after_the_case_and_the_next_run_goes_on(toy: Path, tmp_path: Path) -> None:
    names = write_scans(tmp_path / "in", 3)
    recorder = Recorder()

    def stop() -> bool:
        return any(isinstance(one, CaseStep) and one.step == "lesions" for one in recorder.events)

    run_batch(tmp_path / "in", tmp_path / "out", toy, observe=recorder, should_stop=stop)
    assert recorder.ends == {names[0]: Outcome.DONE}
    # The second was read ahead; that it was dropped is no crash of it.
    second, plan = run_batch(tmp_path / "in", tmp_path / "out", toy)
    assert list(second.ends) == names[1:]
    assert len(plan.of(Task.DONE)) == 3
    text = (tmp_path / "out" / JOURNAL).read_text(encoding="utf-8")
    events = [json.loads(line)["event"] for line in text.splitlines()]
    assert events.count("stopped") == 1
    assert events.count("done") == 3


def test_a_crash_makes_suspects_that_run_alone_and_are_given_up(toy: Path, tmp_path: Path) -> None:
    write_scans(tmp_path / "in", 2)
    out = tmp_path / "out"
    run_batch(tmp_path / "in", out, toy, selection=Selection(only=("patient1",)))
    # A process killed while the first case was at work leaves this behind.
    journal = Journal(out / JOURNAL)
    [settings] = {line["settings"] for line in lines_of(out) if "settings" in line}
    path = tmp_path / "in" / "patient0" / "scan.nii.gz"
    case = find_cases(tmp_path / "in", looker=Looker()).cases[0]
    journal.saw(case.stamp, "0" * 64, Origin(str(path)))
    journal.started("0" * 64, settings)
    assert _task(tmp_path, toy) is Task.ALONE
    for _ in range(2):
        journal.started("0" * 64, settings)
    assert _task(tmp_path, toy) is Task.FAILED
    recorder, _ = run_batch(tmp_path / "in", out, toy)
    assert recorder.events == []
    [row] = rows_of(out / "failures.csv")
    assert (row["case"], row["reason"]) == (case_name("0" * 64), "crashed")


def _task(tmp_path: Path, toy: Path) -> Task:
    plan = preview(
        tmp_path / "out",
        BatchSettings(segment=toy_options(toy)),
        cases=find_cases(tmp_path / "in", looker=Looker()).cases,
        selection=Selection(),
    )
    return plan.cases[0].task


def lines_of(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / JOURNAL).read_text("utf-8").splitlines()]


# Settings


def test_results_of_other_settings_are_kept_unless_told(toy: Path, tmp_path: Path) -> None:
    write_scans(tmp_path / "in", 1)
    out = tmp_path / "out"
    run_batch(tmp_path / "in", out, toy)
    with pytest.raises(OutputError, match="another recipe, options or version") as caught:
        run_batch(tmp_path / "in", out, toy, scales=(0.5, 1.0))
    assert "--overwrite" in caught.value.hint
    [name] = case_folders(out)
    assert report_of(out / name)["scales"] == [1.0]
    run_batch(tmp_path / "in", out, toy, scales=(0.5, 1.0), overwrite=True)
    assert case_folders(out) == [name]
    assert report_of(out / name)["scales"] == [0.5, 1.0]


def test_replaced_results_are_no_longer_those_of_the_settings_before(
    toy: Path, tmp_path: Path
) -> None:
    """Back with the first settings, the result in the folder is the other ones', and not done."""
    out = tmp_path / "out"
    write_scans(tmp_path / "in", 1)
    run_batch(tmp_path / "in", out, toy)
    run_batch(tmp_path / "in", out, toy, scales=(0.5, 1.0), overwrite=True)
    with pytest.raises(OutputError, match="another recipe, options or version"):
        run_batch(tmp_path / "in", out, toy)
    again, _ = run_batch(tmp_path / "in", out, toy, overwrite=True)
    assert set(again.ends.values()) == {Outcome.DONE}
    [name] = case_folders(out)
    assert report_of(out / name)["scales"] == [1.0]


def test_a_result_that_fell_between_two_settings_is_made_anew(toy: Path, tmp_path: Path) -> None:
    """Killed while results are replaced: which settings made the one in the folder is not known."""
    out = tmp_path / "out"
    write_scans(tmp_path / "in", 1)
    run_batch(tmp_path / "in", out, toy)
    journal = Journal(out / JOURNAL)
    [input_id] = journal.origins().values()
    journal.started(input_id, "others")
    with pytest.raises(OutputError, match="another recipe, options or version"):
        run_batch(tmp_path / "in", out, toy)
    again, _ = run_batch(tmp_path / "in", out, toy, overwrite=True)
    assert set(again.ends.values()) == {Outcome.DONE}


def test_a_result_in_the_way_of_a_copy_is_replaced_on_demand(toy: Path, tmp_path: Path) -> None:
    """Seen only when the copy is read: it fails, and --overwrite, as its hint says, is enough."""
    out, scales = tmp_path / "out", (0.5, 1.0)
    write_scan(tmp_path / "in" / "scan.nii.gz")
    run_batch(tmp_path / "in", out, toy)
    write_scan(tmp_path / "copy" / "scan.nii.gz")
    refused, _ = run_batch(tmp_path / "copy", out, toy, scales=scales)
    assert refused.failures == {"scan.nii.gz": "output"}
    # The result before is as good as it was.
    _, plan = run_batch(tmp_path / "in", out, toy)
    assert [planned.task for planned in plan.cases] == [Task.DONE]
    assert rows_of(out / "failures.csv") == []
    again, _ = run_batch(tmp_path / "copy", out, toy, scales=scales, overwrite=True)
    assert again.ends == {"scan.nii.gz": Outcome.DONE}


def test_a_failed_case_that_other_settings_did_counts_as_done(toy: Path, tmp_path: Path) -> None:
    """As one whose slices were resampled on purpose: no batch after that ends with failures."""
    files = write_ct_series(tmp_path / "in" / "series", Patient().scan(GEOMETRY), seed="1")
    files[len(files) // 2].unlink()
    out = tmp_path / "out"
    first, _ = run_batch(tmp_path / "in", out, toy)
    assert first.failures == {"series": "missing_slices"}
    run_batch(tmp_path / "in", out, toy, resample_irregular=True)
    again, plan = run_batch(tmp_path / "in", out, toy, selection=Selection(retry_failed=True))
    assert again.events == []
    assert [planned.task for planned in plan.cases] == [Task.DONE]
    assert rows_of(out / "failures.csv") == []
    assert [row["status"] for row in rows_of(out / "summary.csv")] == ["done"]


def test_a_damaged_result_is_listed_as_failed(toy: Path, tmp_path: Path) -> None:
    """It is told, and not passed over; it is made anew once its folder is gone."""
    out = tmp_path / "out"
    write_scans(tmp_path / "in", 1)
    run_batch(tmp_path / "in", out, toy)
    [name] = case_folders(out)
    (out / name / "report.json").write_text("{", encoding="utf-8")
    run_batch(tmp_path / "in", out, toy)
    [row] = rows_of(out / "failures.csv")
    assert (row["reason"], row["exit_code"]) == ("output", "6")
    assert "is damaged" in row["sentence"]
    shutil.rmtree(out / name)
    again, _ = run_batch(tmp_path / "in", out, toy)
    assert set(again.ends.values()) == {Outcome.DONE}
    assert [row["status"] for row in rows_of(out / "summary.csv")] == ["done"]


def test_a_wrong_name_fails_alone(toy: Path, tmp_path: Path) -> None:
    """The same bytes under a name of another format are another case."""
    path = write_scan(tmp_path / "in" / "b.nii.gz")
    for name in ("a.mha", "a.7z"):
        path.with_name(name).write_bytes(path.read_bytes())
    recorder, _ = run_batch(tmp_path / "in", tmp_path / "out", toy)
    assert recorder.failures == {"a.mha": "not_an_image", "a.7z": "not_an_image"}
    assert recorder.ends["b.nii.gz"] is Outcome.DONE


def test_only_and_limit(toy: Path, tmp_path: Path) -> None:
    write_scans(tmp_path / "in", 3)
    only, _ = run_batch(
        tmp_path / "in", tmp_path / "out", toy, selection=Selection(only=("patient[12]",))
    )
    assert set(only.ends) == {"patient1/scan.nii.gz", "patient2/scan.nii.gz"}
    limited, _ = run_batch(tmp_path / "in", tmp_path / "out2", toy, selection=Selection(limit=1))
    assert set(limited.ends) == {"patient0/scan.nii.gz"}


# The folder of results


def test_two_batches_on_one_folder(toy: Path, tmp_path: Path) -> None:
    write_scans(tmp_path / "in", 1)
    with (
        taken(tmp_path / "out"),
        pytest.raises(OutputError, match="in use by another batch") as one,
    ):
        run_batch(tmp_path / "in", tmp_path / "out", toy)
    assert str(os.getpid()) in one.value.message
    _, plan = run_batch(tmp_path / "in", tmp_path / "out", toy)
    assert len(plan.of(Task.DONE)) == 1


def test_a_folder_of_something_else_is_refused(toy: Path, tmp_path: Path) -> None:
    write_scans(tmp_path / "in", 1)
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.tex").write_text("years", encoding="utf-8")
    with pytest.raises(OutputError, match="no results of a batch"):
        run_batch(tmp_path / "in", tmp_path / "thesis", toy)
    with pytest.raises(OutputError, match="no results of a batch"):
        run_batch(tmp_path / "in", tmp_path / "in", toy)
    assert [path.name for path in (tmp_path / "thesis").iterdir()] == ["thesis.tex"]
    assert [path.name for path in (tmp_path / "in").iterdir()] == ["patient0"]


def test_results_inside_the_searched_folder_are_no_cases(toy: Path, tmp_path: Path) -> None:
    write_scans(tmp_path / "in", 2)
    _, plan = run_batch(tmp_path / "in", tmp_path / "in" / "out", toy)
    assert len(plan.cases) == 2
    second, plan = run_batch(tmp_path / "in", tmp_path / "elsewhere", toy)
    assert len(plan.cases) == 2
    assert len(second.ends) == 2


def test_what_a_killed_batch_left_is_removed(toy: Path, tmp_path: Path) -> None:
    write_scans(tmp_path / "in", 1)
    half = tmp_path / "out" / ".case-0123456789abcdef.partial-01234567"
    half.mkdir(parents=True)
    (half / "mask.nii.gz").write_bytes(b"half")
    run_batch(tmp_path / "in", tmp_path / "out", toy)
    assert not half.exists()
    [name] = case_folders(tmp_path / "out")
    assert {path.name for path in (tmp_path / "out" / name).iterdir()} == RESULT_FILES
