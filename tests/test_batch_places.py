"""Tables tell of the cases that lie in a place now, and of those that were taken away."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
from batch_runs import rows_of, run_batch, write_scan

from livertumor_cli.batch.case import BatchCase
from livertumor_cli.batch.journal import Origin
from livertumor_cli.batch.places import replaced

ROOT = Path("/scans").absolute()


def place(name: str, uid: str = "") -> Origin:
    return Origin(str(ROOT / name), uid)


FOUND = (
    BatchCase(
        path=ROOT / "a.zip" / "p1",
        source="",
        files=(ROOT / "a.zip",),
        members=("p1/1",),
        study_uid="1",
    ),
    BatchCase(
        path=ROOT / "p2",
        source="",
        files=(ROOT / "p2" / "s1" / "1", ROOT / "p2" / "s2" / "1"),
        study_uid="2",
    ),
    BatchCase(path=ROOT / "b.nii", source="", files=(ROOT / "b.nii",)),
)


@pytest.mark.parametrize(
    "origin",
    [
        place("a.zip"),  # could not be opened
        place("a.zip", "1"),  # held one study only
        place("p2/s1", "2"),  # had one series only
        place("p2"),  # might not be entered
        place("p2/s2"),  # held a damaged file
    ],
)
def test_what_belongs_to_another_case_by_now_is_replaced(origin: Origin) -> None:
    assert replaced([origin], FOUND) == [origin]


@pytest.mark.parametrize(
    "origin",
    [
        place("a.zip/p1", "1"),
        place("p2", "2"),
        place("b.nii"),
        place("gone.nii"),
        place("p3", "3"),
        place("copies/p2", "2"),
        place("gone.zip/p1"),
    ],
)
def test_what_is_there_or_was_taken_away_stays(origin: Origin) -> None:
    assert replaced([origin], FOUND) == []


def test_a_zip_that_was_copied_again_is_no_failure_any_more(toy: Path, tmp_path: Path) -> None:
    target = tmp_path / "in" / "scans.zip"
    for number in range(2):
        write_scan(tmp_path / "a" / f"{number}.nii.gz", tumor_mm=9.0 + number)
    target.parent.mkdir()
    target.write_bytes(b"PK")
    (tmp_path / "in" / "moved.nii").write_bytes(b"junk")
    run_batch(tmp_path / "in", tmp_path / "out", toy)
    failures = tmp_path / "out" / "failures.csv"
    assert {Path(row["source"]).name for row in rows_of(failures)} == {"scans.zip", "moved.nii"}
    with zipfile.ZipFile(target, "w") as archive:
        for path in (tmp_path / "a").iterdir():
            archive.write(path, path.name)
    (tmp_path / "in" / "moved.nii").unlink()
    run_batch(tmp_path / "in", tmp_path / "out", toy)
    assert {Path(row["source"]).name for row in rows_of(failures)} == {"moved.nii"}
    assert len(rows_of(tmp_path / "out" / "summary.csv")) == 3
