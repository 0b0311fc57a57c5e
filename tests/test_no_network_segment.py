"""A whole run of `segment`, from file to report, opens no socket."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from test_no_network import needs_openvino, run_guarded
from toy_recipe import Patient, centered_grid, write_toy_recipe

from livertumor_cli.io.dicom_ct import write_ct_series

GUARDED_SEGMENT = """
import sys

def forbid(event, arguments):
    if event.startswith("socket.") or event == "urllib.Request":
        raise AssertionError(f"{event} {arguments}")

sys.addaudithook(forbid)

from livertumor_cli.cli.app import run

sys.exit(run(["segment", *sys.argv[1:]]))
"""


@pytest.mark.parametrize("engine", ["onnxruntime", pytest.param("openvino", marks=needs_openvino)])
def test_segment_opens_no_socket(engine: str, tmp_path: Path) -> None:
    write_toy_recipe(tmp_path / "toy")
    scan = Patient().scan(centered_grid((24, 40, 40), spacing_mm=(5, 3, 3)))
    write_ct_series(tmp_path / "series", scan, seed="toy")
    done = run_guarded(
        GUARDED_SEGMENT,
        str(tmp_path / "series"),
        *("--recipe", str(tmp_path / "toy"), "--engine", engine),
        *("--device", "cpu", "--threads", "1", "--json"),
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["input"]["kind"] == "dicom"
    assert done.stderr == ""
