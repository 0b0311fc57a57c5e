"""No engine opens a socket while it loads a model and runs it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from livertumor_cli.engine.engine import EngineKind
from livertumor_cli.engine.openvino_engine import is_openvino_installed

GUARDED_RUN = """
import sys

# An audit hook sees every socket of the process, also one made by C code through the module.
def forbid(event, arguments):
    if event.startswith("socket."):
        raise AssertionError(f"{event} {arguments}")

sys.addaudithook(forbid)

from livertumor_cli.engine.engine import Device, EngineKind
from livertumor_cli.engine.probe import probe

result = probe(EngineKind(sys.argv[1]), Device.CPU)
assert result.works, result.fault
"""


def run_guarded(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    # In its own process: an audit hook cannot be taken off again, and the import must be seen.
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )


needs_openvino = pytest.mark.skipif(
    not is_openvino_installed(), reason="OpenVINO is for x86-64 processors"
)


@pytest.mark.parametrize(
    "kind",
    [EngineKind.ONNXRUNTIME, pytest.param(EngineKind.OPENVINO, marks=needs_openvino)],
)
def test_an_engine_loads_and_runs_without_a_socket(kind: EngineKind) -> None:
    done = run_guarded(GUARDED_RUN, str(kind))
    assert done.returncode == 0, done.stderr


def test_the_guard_would_see_a_socket() -> None:
    guard, _, _ = GUARDED_RUN.partition("from livertumor_cli")
    code = guard + "import socket; socket.socket()"
    done = run_guarded(code)
    assert done.returncode != 0
    assert "socket." in done.stderr
