"""Help answers at once, and a scan is segmented where torch does not exist."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from toy_recipe import Patient, centered_grid, write_toy_recipe

from livertumor_cli.cli.app import COMMANDS
from livertumor_cli.io.formats import write_volume

HEAVY = {
    *("numpy", "scipy", "torch", "onnxruntime", "openvino", "SimpleITK", "nibabel", "pydicom"),
    "pynetdicom",
}

IMPORTED = """
import sys, json
from livertumor_cli.cli.app import run
code = run(json.loads(sys.argv[1]))
print(json.dumps([code, sorted({name.split(".")[0] for name in sys.modules})]), file=sys.stderr)
"""

WITHOUT_TORCH = (
    """
import sys
for name in ("torch", "safetensors", "onnx", "onnxscript"):
    sys.modules[name] = None  # an import of it fails
"""
    + IMPORTED
)


def run_python(code: str, *arguments: str) -> tuple[int, set[str], str]:
    """Exit code of a command line, the packages it imported, and its stdout."""
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    exit_code, modules = json.loads(done.stderr.splitlines()[-1])
    return exit_code, set(modules), done.stdout


@pytest.mark.parametrize("arguments", [["--help"], ["--version"]])
def test_the_group_imports_nothing_heavy(arguments: list[str]) -> None:
    code, modules, out = run_python(IMPORTED, *arguments)
    assert code == 0
    assert "livertumor" in out
    assert not modules & (HEAVY | {"rich"})


def test_help_leaves_out_what_only_commands_need() -> None:
    """Together they were a third of the time of `--help`."""
    code, modules, _ = run_python(IMPORTED, "--help")
    assert code == 0
    assert not modules & {"logging", "email"}  # importlib.metadata reads packages as mail


def test_no_command_needs_an_engine_for_its_help() -> None:
    code = IMPORTED.replace(
        "code = run(json.loads(sys.argv[1]))",
        "code = max(run([name, '--help']) for name in json.loads(sys.argv[1]))",
    )
    exit_code, modules, out = run_python(code, *COMMANDS)
    assert exit_code == 0
    assert out.count("Usage: livertumor") == len(COMMANDS)
    assert not modules & HEAVY


def test_segment_never_needs_torch(tmp_path: Path) -> None:
    write_toy_recipe(tmp_path / "toy")
    scan = Patient().scan(centered_grid((24, 40, 40), spacing_mm=(5, 3, 3)))
    write_volume(tmp_path / "scan.nii.gz", scan)
    code, modules, out = run_python(
        WITHOUT_TORCH,
        "segment",
        str(tmp_path / "scan.nii.gz"),
        *("--recipe", str(tmp_path / "toy")),
        *("--engine", "onnxruntime", "--device", "cpu", "--threads", "1", "--json"),
    )
    assert code == 0
    assert json.loads(out)["tumor"]["count"] == 1
    assert "openvino" not in modules
