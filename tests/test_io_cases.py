"""The collection of real scans and faults beside a developer's checkout, if it is there."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from livertumor_cli.cli.app import run

FOLDER = Path(__file__).resolve().parents[2] / "shared" / "io_cases"
CASES: list[dict[str, Any]] = (
    json.loads((FOLDER / "cases.json").read_text(encoding="utf-8"))["cases"]
    if (FOLDER / "cases.json").is_file()
    else []
)


@pytest.fixture(scope="module")
def judge() -> ModuleType:
    """The collection's own comparison."""
    spec = importlib.util.spec_from_file_location("run_io", FOLDER / "run_io.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.skipif(not CASES, reason="the collection ../shared/io_cases is not there")
@pytest.mark.parametrize("case", CASES or [{}], ids=lambda case: case.get("name", "none"))
def test_case(case: dict[str, Any], judge: ModuleType, capsys):
    code = run(["inspect", str(FOLDER / case["path"]), "--json"])
    document = json.loads(capsys.readouterr().out)
    passed, got = judge.judge(case, document, code)
    assert passed, got
    assert code == (0 if document["status"] == "ok" else 3)


RESAMPLED = [case for case in CASES if case.get("resample_irregular")]


@pytest.mark.skipif(not CASES, reason="the collection ../shared/io_cases is not there")
@pytest.mark.parametrize("case", RESAMPLED or [{}], ids=lambda case: case.get("name", "none"))
def test_irregular_case(case: dict[str, Any], judge: ModuleType, capsys, tmp_path: Path):
    scan, wanted = str(FOLDER / case["path"]), case["resample_irregular"]
    code = run(["inspect", scan, "--json", wanted["flag"]])
    document = json.loads(capsys.readouterr().out)
    if code:
        assert judge.reason_ok({"may_refuse": wanted.get("may_refuse")}, document["reason"])
        return
    assert judge.check_resampled(wanted, document) == []
    out = tmp_path / "out.nii.gz"
    assert run(["convert", scan, str(out), wanted["flag"]]) == 0
    assert judge.check_voxels(str(out), wanted["probes_lps_hu"], False, 0) == []


@pytest.mark.skipif(not CASES, reason="the collection ../shared/io_cases is not there")
@pytest.mark.parametrize("case", CASES or [{}], ids=lambda case: case.get("name", "none"))
def test_series_says_what_inspect_takes(case: dict[str, Any], capsys):
    path = str(FOLDER / case["path"])
    code = run(["series", path, "--json"])
    printed = capsys.readouterr()
    if code:
        assert code == 3
        assert printed.err.startswith("Error: ")
        return
    listed = json.loads(printed.out)
    taken = [row["uid"] for row in listed["series"] if row["taken"]]
    assert len(taken) <= 1
    if run(["inspect", path, "--json"]) == 0:
        assert [json.loads(capsys.readouterr().out)["series_uid"] or None] == taken
