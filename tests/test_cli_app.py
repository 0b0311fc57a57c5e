"""The command group: help, version, exit codes, and where errors go."""

from __future__ import annotations

import importlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import click
import pytest
from toy_recipe import Patient, centered_grid, write_toy_recipe

from livertumor_cli.cli import app as app_module
from livertumor_cli.cli.app import COMMANDS, EXIT_INTERRUPTED, app, run
from livertumor_cli.errors import LiverTumorError, NoLiverError, OutputError
from livertumor_cli.io.formats import write_volume

Capture = pytest.CaptureFixture[str]


def error_classes(base: type[LiverTumorError] = LiverTumorError) -> Iterator[type[LiverTumorError]]:
    yield base
    for inner in base.__subclasses__():
        yield from error_classes(inner)


def test_help_lists_every_command_and_exit_code(capsys: Capture) -> None:
    assert run(["--help"]) == 0
    out = capsys.readouterr().out
    for name, text in COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(text)}$", out, re.MULTILINE)
    codes = {0, EXIT_INTERRUPTED} | {error.exit_code for error in error_classes()}
    listed = out.partition("Exit codes:")[2].partition("Options:")[0]
    assert {int(code) for code in re.findall(r"\b\d+\b", listed)} == codes


def test_every_command_is_its_file(capsys: Capture) -> None:
    for name in COMMANDS:
        module = importlib.import_module(f"livertumor_cli.cli.{name}")
        assert isinstance(getattr(module, name), click.Command)
        assert run([name, "-h"]) == 0
        assert capsys.readouterr().out.startswith(f"Usage: livertumor {name}")


def test_version(capsys: Capture) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"livertumor {version('livertumor')}\n"


@pytest.mark.parametrize(
    "arguments", [["segmnt"], ["--quick"], ["segment"], ["segment", "a", "b"], ["segment", "--x"]]
)
def test_wrong_usage_is_exit_2(arguments: list[str], capsys: Capture) -> None:
    assert run(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "Error: " in err
    assert "Traceback" not in err


def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Make `doctor` raise an error."""

    @click.command()
    def doctor() -> None:
        raise error

    module = importlib.import_module("livertumor_cli.cli.doctor")
    monkeypatch.setattr(module, "doctor", doctor)


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (NoLiverError("no liver.", hint="Look again."), 3, "Error: no liver.\nHint: Look again.\n"),
        (OutputError("the disk is full."), 6, "Error: the disk is full.\n"),
        (LiverTumorError("something."), 1, "Error: something.\n"),
        (MemoryError(), 5, "Error: the machine ran out of memory.\nHint: "),
        (KeyboardInterrupt(), 130, "Interrupted"),
    ],
)
def test_errors_become_a_sentence_and_a_code(
    error: BaseException, code: int, words: str, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    failing(monkeypatch, error)
    assert run(["doctor"]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.lstrip("\n").startswith(words)


def test_mistakes_of_the_program_are_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        run(["doctor"])


def test_main_leaves_with_the_code_of_run(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(sys, "argv", ["livertumor", "segmnt"])
    try:
        with pytest.raises(SystemExit) as left:
            app_module.main()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert left.value.code == 2


def test_the_group_names_itself() -> None:
    assert app.name == "app" or app.name is None
    done = subprocess.run(
        [sys.executable, "-m", "livertumor_cli", "--version"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("livertumor ")


@pytest.mark.parametrize("more", [["--json"], ["--quiet"], []])
def test_letters_that_the_terminal_lacks_end_no_run(tmp_path: Path, more: list[str]) -> None:
    write_toy_recipe(tmp_path / "toy")
    scan = tmp_path / "Bauch-Übersicht-腹部.nii"
    write_volume(scan, Patient().scan(centered_grid((24, 40, 40), spacing_mm=(5, 3, 3))))
    recipe = ["--recipe", str(tmp_path / "toy"), "--engine", "onnxruntime", "--threads", "1"]
    done = subprocess.run(
        [sys.executable, "-m", "livertumor_cli", "segment", str(scan), *recipe, *more],
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )
    assert done.returncode == 0, done.stderr
    if "--json" in more:
        assert json.loads(done.stdout)["input"]["file_name"] == scan.name


@pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_run_and_leaves_nothing(number: signal.Signals, tmp_path: Path) -> None:
    write_toy_recipe(tmp_path / "toy", patch=(4, 4, 4))
    write_volume(tmp_path / "scan.nii", Patient().scan(centered_grid()))
    command = [sys.executable, "-m", "livertumor_cli", "segment", str(tmp_path / "scan.nii")]
    command += ["--recipe", str(tmp_path / "toy"), "--engine", "onnxruntime", "--threads", "1"]
    process = subprocess.Popen(
        [*command, "--scales", "3"],  # hundreds of thousands of windows
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "Segmenting" in line:
            break
    time.sleep(0.1)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert out == ""
    assert err.strip() == "Interrupted; no half-written file is left."
    assert {path.name for path in tmp_path.iterdir()} == {"toy", "scan.nii"}
