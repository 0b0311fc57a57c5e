"""`livertumor batch`: what it prints, its exit codes, and that it survives being ended anyhow."""

from __future__ import annotations

import csv
import json
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from batch_runs import CaseStep, folder_of, rows_of, write_scan, write_scans
from rich.console import Console

from livertumor_cli.batch import local
from livertumor_cli.batch.case import case_name
from livertumor_cli.batch.events import CaseEnd, Outcome
from livertumor_cli.batch.failure import Failure
from livertumor_cli.batch.journal import JOURNAL
from livertumor_cli.batch.summary import SUMMARY_FILES
from livertumor_cli.cli import batch_progress
from livertumor_cli.cli import progress as cli_progress
from livertumor_cli.cli.app import run
from livertumor_cli.cli.batch_progress import Tally, show_batch

Batch = Callable[..., int]
Capture = pytest.CaptureFixture[str]

ENGINE = ("--engine", "onnxruntime", "--device", "cpu", "--threads", "1")


@pytest.fixture
def batch(toy: Path, tmp_path: Path) -> Batch:
    """`livertumor batch in -o out` with the toy recipe; returns the exit code."""

    def call(*more: str) -> int:
        places = (str(tmp_path / "in"), "-o", str(tmp_path / "out"))
        return run(["batch", *places, *ENGINE, "--recipe", str(toy), *more])

    return call


def test_it_writes_and_prints(batch: Batch, tmp_path: Path, capsys: Capture) -> None:
    names = write_scans(tmp_path / "in", 2)
    out = tmp_path / "out"
    assert batch() == 0
    printed, log = capsys.readouterr()
    assert printed.splitlines() == ["2 cases done, 0 failed, 0 left.", str(out)]
    assert all(f"{name} done as case-" in log for name in names)
    assert set(SUMMARY_FILES) <= {path.name for path in out.iterdir()}
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    assert (summary["done"], summary["failed"]) == (2, 0)
    page = (out / "index.html").read_text(encoding="utf-8")
    for name in names:
        case = folder_of(out, name).name
        assert f'href="{case}/report.html"' in page
        assert (out / case / "report.html").is_file()
    assert page.count("data:image/png;base64,") == 2
    assert "http" not in page


def test_failed_cases_are_exit_7(batch: Batch, tmp_path: Path, capsys: Capture) -> None:
    write_scans(tmp_path / "in", 1)
    (tmp_path / "in" / "bad.nii").write_bytes(b"junk")
    for _ in range(2):
        assert batch("-q") == 7
        printed, log = capsys.readouterr()
        assert printed == f"{tmp_path / 'out'}\n"
        assert log.startswith("Error: 1 of 2 cases failed.")
        assert "failures.csv" in log
    [row] = rows_of(tmp_path / "out" / "failures.csv")
    assert (row["reason"], row["exit_code"]) == ("not_an_image", "3")
    assert row["sentence"] == "bad.nii is no NIfTI file."
    (tmp_path / "in" / "bad.nii").unlink()
    assert batch("-q") == 0


def test_a_dry_run_touches_nothing(batch: Batch, tmp_path: Path, capsys: Capture) -> None:
    write_scans(tmp_path / "in", 2)
    (tmp_path / "in" / "notes.txt").write_text("text", encoding="utf-8")
    assert batch("--dry-run") == 0
    printed = capsys.readouterr().out
    assert not (tmp_path / "out").exists()
    assert "patient0/scan.nii.gz" in printed
    assert "2 run" in printed
    assert "1 files that are no images" in printed
    assert batch("-q", "--only", "patient1/*") == 0
    capsys.readouterr()
    assert batch("--dry-run", "--json", "-q") == 0
    plan = json.loads(capsys.readouterr().out)
    assert [case["task"] for case in plan["cases"]] == ["run", "done"]
    assert plan["passed_over"] == {"no_image": 1, "without_ct": 0, "results": 0}


def test_only_that_fits_no_case_is_refused(batch: Batch, tmp_path: Path, capsys: Capture) -> None:
    """A misspelled name must not look like a backlog that is done."""
    write_scans(tmp_path / "in", 2)
    for more in ((), ("--dry-run",)):
        assert batch("-q", "--only", "Patient1", "--only", "x*", *more) == 2
        assert "None of 2 cases fits 'Patient1', 'x*'." in capsys.readouterr().err
    assert batch("--dry-run", "--only", "x*", "--only", "patient1") == 0


def test_limit_does_some_at_a_time(batch: Batch, tmp_path: Path, capsys: Capture) -> None:
    write_scans(tmp_path / "in", 3)
    for done in (1, 2, 3):
        assert batch("--limit", "1", "-q") == 0
        assert len(list((tmp_path / "out").glob("case-*"))) == done


def test_json_is_the_summary(batch: Batch, tmp_path: Path, capsys: Capture) -> None:
    write_scans(tmp_path / "in", 1)
    assert batch("--json", "-q") == 0
    printed, log = capsys.readouterr()
    written = (tmp_path / "out" / "summary.json").read_text(encoding="utf-8")
    assert json.loads(printed) == json.loads(written)
    assert log == ""


def test_json_progress_is_for_programs(batch: Batch, tmp_path: Path, capsys: Capture) -> None:
    write_scans(tmp_path / "in", 2)
    assert batch("--progress", "json") == 0
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    ends = [line for line in lines if line["event"] == "end"]
    assert [(line["ended"], line["failed"], line["total"]) for line in ends] == [
        (1, 0, 2),
        (2, 0, 2),
    ]
    assert [line["outcome"] for line in ends] == ["done", "done"]
    steps = {line["step"] for line in lines if line["event"] == "step"}
    assert steps == {"read", "liver", "lesions", "measure", "write"}


def test_programs_can_parse_the_error_at_the_end(
    batch: Batch, tmp_path: Path, capsys: Capture
) -> None:
    (tmp_path / "in").mkdir()
    assert batch("--progress", "json") == 3
    [line] = [json.loads(text) for text in capsys.readouterr().err.splitlines()]
    assert (line["event"], line["exit_code"]) == ("error", 3)
    (tmp_path / "in" / "=1.mha").write_bytes(b"no image")
    assert batch("--progress", "json") == 7
    *_, last = [json.loads(text) for text in capsys.readouterr().err.splitlines()]
    assert (last["message"], last["exit_code"]) == ("1 of 1 cases failed.", 7)
    # A name that a spreadsheet would take for a formula.
    assert ",'=1.mha is neither" in (tmp_path / "out" / "failures.csv").read_text(encoding="utf-8")


def test_the_tables_tell_recipes_apart(batch: Batch, toy: Path, tmp_path: Path) -> None:
    """A folder may hold results of several recipes, where each case was done with one."""
    write_scans(tmp_path / "in", 2)
    assert batch("-q", "--only", "patient0") == 0
    newer = tmp_path / "newer"
    shutil.copytree(toy, newer)
    text = (newer / "recipe.toml").read_text(encoding="utf-8")
    newer.joinpath("recipe.toml").write_text(
        text.replace('version = "1.0"', 'version = "2.0"', 1), encoding="utf-8"
    )
    assert batch("-q", "--only", "patient1", "--recipe", str(newer)) == 0
    with (tmp_path / "out" / "summary.csv").open(encoding="utf-8", newline="") as stream:
        assert sorted(row["recipe"] for row in csv.DictReader(stream)) == ["toy 1.0", "toy 2.0"]
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert "recipes toy 1.0, toy 2.0" in page


def test_an_empty_folder_is_refused(batch: Batch, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "in").mkdir()
    assert batch("-q") == 3
    assert "holds no CT scan" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_missing_recipe_is_refused_before_any_work(tmp_path: Path, capsys: Capture) -> None:
    write_scans(tmp_path / "in", 1)
    places = [str(tmp_path / "in"), "-o", str(tmp_path / "out")]
    assert run(["batch", *places, "--recipe", "nowhere", "-q"]) == 4
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("option", "key"),
    [
        (("--scales", "0.5,1"), "scales"),
        (("--precision", "f32"), "precision"),
        (("--resample-irregular",), "resample_irregular"),
        (("--dicom", "none"), "dicom"),
        (("--seg-type", "labelmap"), "seg_type"),
        (("--pdf",), "pdf"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_option_that_changes_results_is_in_the_journal(
    batch: Batch, tmp_path: Path, option: tuple[str, ...], key: str
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "bad.nii").write_bytes(b"junk")
    meanings = []
    for more in ((), option):
        batch("-q", *more)
        text = (tmp_path / "out" / JOURNAL).read_text(encoding="utf-8")
        lines = [json.loads(line) for line in text.splitlines()]
        meanings = [line["meaning"] for line in lines if line["event"] == "settings"]
    plain, changed = meanings
    assert {name for name in plain if plain[name] != changed[name]} == {key}


# Ended anyhow


def test_one_interrupt_ends_after_the_case(
    batch: Batch, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = write_scans(tmp_path / "in", 3)
    whole = local.run_networks

    def interrupt(*arguments: Any, **named: Any) -> Any:
        signal.raise_signal(signal.SIGINT)
        return whole(*arguments, **named)

    with monkeypatch.context() as once:
        once.setattr(local, "run_networks", interrupt)
        assert batch() == 130
    printed, log = capsys.readouterr()
    assert "1 case done, 0 failed, 2 left." in printed
    assert f"1/3 {names[0]} done" in log
    assert "the same command goes on" in log
    assert batch() == 0
    assert f"2/2 {names[2]} done" in capsys.readouterr().err


DRIVER = """
import json, signal, sys
from livertumor_cli.batch import local
from livertumor_cli.cli.app import main

if sys.argv.pop(1) == "interrupt":
    def interrupt(*arguments, **named):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    local.run_networks = interrupt
main()
"""


def start(mode: str, toy: Path, folder: Path) -> subprocess.Popen[str]:
    places = ("batch", str(folder / "in"), "-o", str(folder / "out"), "--recipe", str(toy))
    return subprocess.Popen(
        [sys.executable, "-c", DRIVER, mode, *places, *ENGINE, "--progress", "json"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )


def test_two_interrupts_end_at_once(batch: Batch, toy: Path, tmp_path: Path) -> None:
    write_scans(tmp_path / "in", 2)
    with start("interrupt", toy, tmp_path) as process:
        log = process.communicate(timeout=300)[1]
    assert process.returncode == 130, log
    assert "Traceback" not in log
    assert list((tmp_path / "out").glob("*case-*")) == []
    assert batch("-q") == 0


@pytest.mark.parametrize(("step", "number"), [("lesions", 1), ("write", 0), ("write", 1)])
def test_a_killed_batch_goes_on(
    batch: Batch, toy: Path, tmp_path: Path, step: str, number: int
) -> None:
    names = write_scans(tmp_path / "in", 3)
    out = tmp_path / "out"
    with start("run", toy, tmp_path) as process:
        assert process.stderr is not None
        for line in process.stderr:
            event = json.loads(line)
            if event.get("step") == step and event["source"] == names[number]:
                process.kill()
                break
        # Windows frees files only when the process is gone.
        process.stderr.read()
    reports = {path: path.stat().st_mtime_ns for path in out.glob("case-*/report.json")}
    assert {path.parent for path in reports} == set(out.glob("case-*"))  # whole, or not there
    noted = done_cases(out)
    assert noted <= {path.parent.name for path in reports}
    assert batch("-q") == 0
    assert list(out.glob(".*.partial-*")) == []
    assert len(list(out.glob("case-*/report.json"))) == 3
    assert done_cases(out) == {path.name for path in out.glob("case-*")}
    for path, changed_ns in reports.items():
        # One whose end could not be noted any more is done again, and no other.
        assert path.parent.name not in noted or path.stat().st_mtime_ns == changed_ns


def done_cases(out: Path) -> set[str]:
    """The folders that the journal calls done; each may be so once only."""
    lines = []
    for text in (out / JOURNAL).read_text(encoding="utf-8").splitlines():
        with suppress(ValueError):
            lines.append(json.loads(text))
    done = [case_name(line["input"]) for line in lines if line["event"] == "done"]
    assert len(set(done)) == len(done)
    return set(done)


# Progress


def end(source: str, outcome: Outcome = Outcome.DONE, failure: Failure | None = None) -> CaseEnd:
    return CaseEnd(source, "case-1", outcome, 2.0, 1, failure)


def test_the_time_left_is_that_of_the_cases_left() -> None:
    now = [100.0]
    tally = Tally(4, clock=lambda: now[0])
    assert tally.left_s is None
    now[0] = 130.0
    tally.add(end("a"))
    assert tally.left_s == 90
    tally.add(end("b", Outcome.FAILED))  # takes no time, and tells nothing of the others
    assert tally.left_s == 60
    tally.add(end("c", Outcome.POSTPONED))
    assert tally.count == "2/4"


def test_a_log_has_a_line_per_case(capsys: Capture) -> None:
    failure = Failure("truncated", 3, "a.nii is cut off.")
    with show_batch(total=2, quiet=False, as_json=False) as observe:
        for done in range(5):
            observe(CaseStep("a", "liver", done, 5))
        observe(end("a", Outcome.FAILED, failure))
        observe(end("b\x1b[2Jc"))
    lines = [line.partition("] ")[2] for line in capsys.readouterr().err.splitlines()]
    assert lines == [
        "a is segmented",
        "1/2 a failed (truncated): a.nii is cut off.",
        "2/2 b?[2Jc done as case-1, 1 lesion, 2.0 s",
    ]


def test_a_terminal_has_bars(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setattr(batch_progress.sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr(
        cli_progress,
        "stderr_console",
        lambda: Console(file=sys.stderr, force_terminal=True, width=100),
    )
    with show_batch(total=2, quiet=False, as_json=False) as observe:
        threads = [
            threading.Thread(target=observe, args=(CaseStep("a", "lesions", 1, 2),)),
            threading.Thread(target=observe, args=(end("a"),)),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    shown = capsys.readouterr().err
    assert "Cases" in shown
    assert "1/2" in shown
    assert "Segmenting liver, tumors, vessels" in shown


def test_a_watched_folder_and_a_batch_share_results(
    batch: Batch, toy: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_scans(tmp_path / "in", 1)
    late = tmp_path / "in" / "late" / "scan.nii.gz"
    whole, calls = local.run_networks, []

    def count(*arguments: Any, **named: Any) -> Any:
        calls.append(named)
        if len(calls) == 1:
            write_scan(late, tumor_mm=17)
        else:
            signal.raise_signal(signal.SIGINT)
        return whole(*arguments, **named)

    monkeypatch.setattr(local, "run_networks", count)
    places = ["watch", str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--recipe", str(toy)]
    assert run([*places, *ENGINE, "--every", "0.1", "--settle", "0.3"]) == 0
    assert len(calls) == 2
    assert batch("-q") == 0
    assert len(calls) == 2
    assert len(rows_of(tmp_path / "out" / "summary.csv")) == 2
