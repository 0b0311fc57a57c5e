"""A case is taken once it has not changed for a while."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import pytest
from batch_runs import Recorder, run_batch, write_scans
from toy_recipe import toy_options

from livertumor_cli.batch.batch import open_batch
from livertumor_cli.batch.case import BatchCase
from livertumor_cli.batch.look import Kind, Looker, stamp_of
from livertumor_cli.batch.settings import BatchSettings
from livertumor_cli.batch.watch import Settling, watch_folder
from livertumor_cli.errors import OutputError


def case(name: str, stamp: str) -> BatchCase:
    return BatchCase(path=Path(name), source=name, files=(Path(name),), stamp=stamp)


def test_a_case_is_taken_when_it_has_settled() -> None:
    settling = Settling(10.0)
    one, other = case("a", "1"), case("b", "1")
    assert settling.settled([one], now_s=0) == []
    assert settling.settled([one, other], now_s=9) == []
    assert settling.settled([one, other], now_s=10) == [one]
    assert settling.settled([one, other], now_s=19) == [one, other]


def test_a_case_that_grows_waits_again() -> None:
    settling = Settling(10.0)
    settling.settled([case("a", "1")], now_s=0)
    grown = case("a", "2")
    assert settling.settled([grown], now_s=9.5) == []
    assert settling.settled([grown], now_s=19) == []
    assert settling.settled([grown], now_s=19.5) == [grown]


def test_a_case_that_came_back_waits_again() -> None:
    settling = Settling(10.0)
    settling.settled([case("a", "1")], now_s=0)
    settling.settled([], now_s=5)
    assert settling.settled([case("a", "1")], now_s=11) == []


def test_files_are_looked_into_once(tmp_path: Path) -> None:
    path = tmp_path / "slice.dcm"
    path.write_bytes(b"")
    looker, stamp = Looker(), stamp_of(path)
    assert looker.look(path, stamp).kind is Kind.DAMAGED
    path.write_bytes(b"\0" * 128 + b"DICM")
    assert looker.look(path, stamp).kind is Kind.DAMAGED  # as it seems unchanged
    path.with_name("notes.txt").write_bytes(b"text")
    assert looker.look(path.with_name("notes.txt"), (4, 1)).kind is Kind.OTHER
    looker.keep_only([])
    path.unlink()
    path.with_suffix(".nii").write_bytes(b"")
    assert looker.look(path.with_suffix(".nii"), (0, 1)).kind is Kind.VOLUME


def test_results_in_the_way_are_refused_before_a_new_case_comes(toy: Path, tmp_path: Path) -> None:
    """Else the watch would end hours later, over a case that has nothing to do with them."""
    write_scans(tmp_path / "in", 1)
    run_batch(tmp_path / "in", tmp_path / "out", toy)
    others = BatchSettings(segment=toy_options(toy, scales=(0.5, 1.0)))
    asked = count()
    with (
        open_batch(tmp_path / "out", others) as batch,
        pytest.raises(OutputError, match="another recipe, options or version"),
    ):
        watch_folder(
            batch,
            tmp_path / "in",
            every_s=0.0,
            settle_s=0.0,
            observe=Recorder(),
            should_stop=lambda: next(asked) > 3,
        )
