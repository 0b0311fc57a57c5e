"""Results that cannot be written on standard output end in a sentence and exit code 6."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

FULL = Path("/dev/full")
COMMANDS = [["--help"], ["--version"], ["models", "list"], ["models", "list", "--json"]]
PROGRAM = [sys.executable, "-m", "livertumor_cli"]


@pytest.mark.skipif(not FULL.exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_full_disk_is_exit_6(words: list[str], unbuffered: str, encoding: str) -> None:
    setting = {"PYTHONIOENCODING": encoding, "PYTHONUNBUFFERED": unbuffered}
    with FULL.open("w", encoding="utf-8") as full:
        done = subprocess.run(
            [*PROGRAM, *words],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            env={**os.environ, **setting},
        )
    assert done.stderr.splitlines()[:1] == [
        "Error: standard output cannot be written: the disk is full."
    ]
    assert len(done.stderr.splitlines()) == 2
    assert done.stderr.splitlines()[1].startswith("Hint: ")
    assert done.returncode == 6


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_reader_who_leaves_is_told_nothing(words: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [*PROGRAM, *words], stdout=writing, stderr=subprocess.PIPE, text=True, check=False
        )
    finally:
        os.close(writing)
    if os.name == "posix":  # Windows does not tell a closed pipe from other faults
        assert done.stderr == ""
    assert "Traceback" not in done.stderr
    assert done.returncode != 0


def test_a_program_without_standard_output_runs() -> None:
    code = "import sys; sys.stdout = None; from livertumor_cli.cli.app import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "--version"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
