"""The peak of a process is its own."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from livertumor_cli.process_memory import peak_memory_mb

TELL = "from livertumor_cli.process_memory import peak_memory_mb; print(peak_memory_mb())"


def test_what_was_held_and_let_go_still_counts() -> None:
    held = np.ones(300_000_000, dtype=np.uint8)
    assert int(held[::4096].sum()) > 0
    del held
    assert peak_memory_mb() > 300


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a child begins anew")
def test_a_child_does_not_inherit_the_peak_of_its_parent() -> None:
    held = np.ones(600_000_000, dtype=np.uint8)
    told = subprocess.run([sys.executable, "-c", TELL], capture_output=True, text=True, check=True)
    assert int(held[::4096].sum()) > 0
    assert float(told.stdout) < 300


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the name is not asked for")
def test_the_name_of_the_program_may_be_anything() -> None:
    code = (
        "import ctypes; "
        "ctypes.CDLL(None).prctl(15, 'l\u00e4sion'.encode('latin-1'), 0, 0, 0); " + TELL
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 10 < float(told.stdout) < 300
