"""A batch on workers: whom it trusts, what it does when they die. Workers here are pretended."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from batch_runs import Recorder, rows_of, run_batch, write_scan, write_scans
from toy_recipe import toy_options, write_toy_recipe

from livertumor_cli.batch import dask as dask_module
from livertumor_cli.batch import worker as worker_module
from livertumor_cli.batch.cluster import WorkerDiedError
from livertumor_cli.batch.events import CaseEnd, CaseStep, Outcome
from livertumor_cli.batch.journal import JOURNAL
from livertumor_cli.batch.out_folder import holder_text, taken
from livertumor_cli.batch.place import local_workers
from livertumor_cli.batch.plan import MOST_CRASHES, Selection, Task
from livertumor_cli.batch.settings import BatchSettings
from livertumor_cli.batch.worker import Order, check_worker, do_case, identify
from livertumor_cli.errors import BackendError, ClusterError, OutputError

PLACE = "tcp://pretended:8786"


@dataclass
class PretendedTask:
    value: Any = None
    is_done: bool = True
    is_lost: bool = False

    def done(self) -> bool:
        return self.is_done

    def add_done_callback(self, call: Callable[[Any], None]) -> None:
        if self.is_done:
            call(self)


@dataclass
class PretendedCluster:
    """Workers are names, and a task runs at once in this process unless its worker is to die."""

    present: set[str] = field(default_factory=lambda: {"one"})
    dies: Callable[[str, str, tuple[Any, ...]], bool] = lambda *_: False
    stays_known: bool = False
    unfit: set[str] = field(default_factory=set)
    given: list[tuple[str, str]] = field(default_factory=list)
    tell: Callable[[Any], None] = lambda _event: None

    def workers(self) -> set[str]:
        return set(self.present)

    def on_events(self, _topic: str, handler: Callable[[Any], None]) -> None:
        self.tell = handler

    def submit(self, address: str, function: Any, *arguments: Any, **named: Any) -> PretendedTask:
        self.given.append((address, function.__name__))
        if self.dies(address, function.__name__, arguments):
            if self.stays_known:
                return PretendedTask(is_lost=True)
            self.present.remove(address)
            self.present.add(f"{address}+")
            return PretendedTask(is_done=False)
        if function is check_worker and address in self.unfit:
            order, *_ = arguments
            return PretendedTask(function(replace(order, holder="another folder")))
        return PretendedTask(function(*arguments, **named))

    def answer(self, task: PretendedTask) -> Any:
        if task.is_lost:
            raise WorkerDiedError
        return task.value

    def forget(self, task: PretendedTask) -> None:
        assert not task.is_done


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> PretendedCluster:
    pretended = PretendedCluster()

    @contextmanager
    def connected(place: str) -> Iterator[PretendedCluster]:
        assert place == PLACE
        yield pretended

    monkeypatch.setattr(dask_module, "connected", connected)
    monkeypatch.setattr(dask_module, "_LOOK_S", 0.0)
    monkeypatch.setattr(dask_module, "_POLL_S", 0.01)
    monkeypatch.setattr(
        worker_module, "_tell", lambda _topic, number, step: pretended.tell((number, step))
    )
    return pretended


def on_dask(folder: Path, toy: Path, **more: Any) -> Any:
    return run_batch(folder / "in", folder / "out", toy, dask=PLACE, **more)


def journal_events(out: Path, name: str) -> int:
    lines = (out / JOURNAL).read_text(encoding="utf-8").splitlines()
    return sum(json.loads(line)["event"] == name for line in lines)


# Work


def test_cases_are_hashed_judged_and_done(
    cluster: PretendedCluster, toy: Path, tmp_path: Path
) -> None:
    path = write_scan(tmp_path / "in" / "a.nii.gz")
    (tmp_path / "in" / "b_copy.nii.gz").write_bytes(path.read_bytes())
    (tmp_path / "in" / "c_junk.nii.gz").write_bytes(b"junk")
    recorder, plan = on_dask(tmp_path, toy)
    assert recorder.ends == {
        "a.nii.gz": Outcome.DONE,
        "b_copy.nii.gz": Outcome.KNOWN,
        "c_junk.nii.gz": Outcome.FAILED,
    }
    assert recorder.failures == {"c_junk.nii.gz": "not_an_image"}
    assert [one.task for one in plan.cases] == [Task.DONE, Task.DONE, Task.FAILED]
    steps = [one.step for one in recorder.events if isinstance(one, CaseStep)]
    assert steps == ["read", "liver", "lesions", "measure", "write", "read"]
    [end] = [one for one in recorder.events if isinstance(one, CaseEnd) and one.lesions]
    assert end.lesions == 1
    cluster.given.clear()
    second, _ = on_dask(tmp_path, toy)
    assert (second.events, cluster.given) == ([], [])


def test_here_and_on_workers_go_on_with_each_other(
    cluster: PretendedCluster, toy: Path, tmp_path: Path
) -> None:
    names = write_scans(tmp_path / "in", 3)
    on_dask(tmp_path, toy, selection=Selection(limit=1))
    here, _ = run_batch(tmp_path / "in", tmp_path / "out", toy, selection=Selection(limit=1))
    assert list(here.ends) == [names[1]]
    last, plan = on_dask(tmp_path, toy)
    assert list(last.ends) == [names[2]]
    assert len(plan.of(Task.DONE)) == 3


def test_every_worker_has_one_task_at_a_time(
    cluster: PretendedCluster, toy: Path, tmp_path: Path
) -> None:
    write_scans(tmp_path / "in", 4)
    cluster.present = {"one", "two"}
    on_dask(tmp_path, toy)
    for name in ("one", "two"):
        kinds = [kind for address, kind in cluster.given if address == name]
        assert kinds == ["check_worker", *("identify", "do_case") * 2]


def test_a_stop_leaves_the_cases_that_wait(
    cluster: PretendedCluster, toy: Path, tmp_path: Path
) -> None:
    names = write_scans(tmp_path / "in", 3)
    recorder = Recorder()
    on_dask(tmp_path, toy, observe=recorder, should_stop=lambda: bool(recorder.ends))
    assert recorder.ends == {names[0]: Outcome.DONE}
    assert journal_events(tmp_path / "out", "started") == 1
    second, _ = on_dask(tmp_path, toy)
    assert list(second.ends) == names[1:]


def test_out_of_memory_beside_others_is_tried_alone(
    cluster: PretendedCluster, toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = write_scans(tmp_path / "in", 2)
    whole, calls = worker_module.run_networks, []

    def fail_once(*arguments: Any, **named: Any) -> Any:
        calls.append(named)
        if len(calls) == 1:
            raise BackendError("memory ran out.")
        return whole(*arguments, **named)

    monkeypatch.setattr(worker_module, "run_networks", fail_once)
    recorder, _ = on_dask(tmp_path, toy)
    ends = [(one.source, one.outcome) for one in recorder.events if isinstance(one, CaseEnd)]
    assert ends == [
        (names[0], Outcome.POSTPONED),
        (names[1], Outcome.DONE),
        (names[0], Outcome.DONE),
    ]


def test_a_full_disk_ends_the_batch_and_loses_nothing(
    cluster: PretendedCluster, toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_scans(tmp_path / "in", 2)

    def fill(*_arguments: Any, **_named: Any) -> Any:
        cause = OSError(28, "No space left on device")
        raise OutputError("the disk is full.", hint="Free some space.") from cause

    with monkeypatch.context() as full:
        full.setattr(worker_module, "write_case", fill)
        with pytest.raises(OutputError, match="disk is full"):
            on_dask(tmp_path, toy)
    assert rows_of(tmp_path / "out" / "failures.csv") == []
    recorder, plan = on_dask(tmp_path, toy)
    assert recorder.failures == {}
    assert len(plan.of(Task.DONE)) == 2


# Workers that die


@pytest.mark.parametrize("kind", ["check_worker", "identify", "do_case"])
@pytest.mark.parametrize("stays_known", [False, True])
def test_a_worker_that_dies_is_replaced_and_its_case_redone(
    cluster: PretendedCluster, toy: Path, tmp_path: Path, kind: str, stays_known: bool
) -> None:
    """Whether it comes back under another address, or before anybody saw that it was gone."""
    names = write_scans(tmp_path / "in", 2)
    deaths: list[str] = []

    def die_once(address: str, name: str, _arguments: Any) -> bool:
        if name == kind and not deaths:
            (tmp_path / "out" / ".case-0123.partial-01").mkdir()
            deaths.append(address)
            return True
        return False

    cluster.dies, cluster.stays_known = die_once, stays_known
    recorder, plan = on_dask(tmp_path, toy)
    assert recorder.ends == dict.fromkeys(names, Outcome.DONE)
    assert len(plan.of(Task.DONE)) == 2
    assert deaths == ["one"]
    assert not list((tmp_path / "out").glob(".*.partial-*"))
    assert journal_events(tmp_path / "out", "started") == 2 + (kind == "do_case")
    assert journal_events(tmp_path / "out", "done") == 2


@pytest.mark.parametrize("kind", ["identify", "do_case"])
def test_a_case_that_kills_its_workers_is_given_up(
    cluster: PretendedCluster, toy: Path, tmp_path: Path, kind: str
) -> None:
    names = write_scans(tmp_path / "in", 3)
    deaths = []

    def die_over_the_second(address: str, name: str, arguments: tuple[Any, ...]) -> bool:
        case = arguments[-1] if kind == "identify" else arguments[1] if len(arguments) > 1 else None
        if name == kind and case is not None and case.source == names[1]:
            deaths.append(address)
            return True
        return False

    cluster.dies = die_over_the_second
    recorder, plan = on_dask(tmp_path, toy)
    assert len(deaths) == MOST_CRASHES
    assert recorder.ends == {
        names[0]: Outcome.DONE,
        names[1]: Outcome.FAILED,
        names[2]: Outcome.DONE,
    }
    [row] = rows_of(tmp_path / "out" / "failures.csv")
    assert (row["source"].endswith(names[1]), row["reason"]) == (True, "crashed")
    assert len(plan.of(Task.FAILED)) == 1


def test_without_workers_the_batch_ends(
    cluster: PretendedCluster, toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_scans(tmp_path / "in", 1)
    monkeypatch.setattr(dask_module, "PATIENCE_S", 0.05)
    cluster.present = set()
    with pytest.raises(ClusterError, match="no worker"):
        on_dask(tmp_path, toy)


# Workers that cannot do it


def test_an_unfit_worker_gets_no_case(
    cluster: PretendedCluster, toy: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_scans(tmp_path / "in", 3)
    cluster.present, cluster.unfit = {"one", "two"}, {"one"}
    _, plan = on_dask(tmp_path, toy)
    assert len(plan.of(Task.DONE)) == 3
    assert [kind for address, kind in cluster.given if address == "one"] == ["check_worker"]
    assert "Worker one is left out: It sees another folder" in caplog.text


def test_without_a_fit_worker_the_batch_is_refused(
    cluster: PretendedCluster, toy: Path, tmp_path: Path
) -> None:
    write_scans(tmp_path / "in", 1)
    cluster.unfit = {"one"}
    with pytest.raises(ClusterError, match=r"No worker can take cases\. one: It sees") as caught:
        on_dask(tmp_path, toy)
    assert "same paths" in caught.value.hint
    assert journal_events(tmp_path / "out", "started") == 0


@pytest.fixture
def order(toy: Path, tmp_path: Path) -> Iterator[Order]:
    scan = write_scan(tmp_path / "in" / "scan.nii.gz")
    settings = BatchSettings(segment=toy_options(toy))
    with taken(tmp_path / "out"):
        yield Order(
            out=tmp_path / "out",
            holder=holder_text(tmp_path / "out"),
            sample=(scan, scan.stat().st_size),
            settings=settings,
            meaning=settings.meaning(),
        )


def test_a_fit_worker_leaves_nothing_behind(order: Order) -> None:
    before = set(order.out.iterdir())
    assert check_worker(order) is None
    assert check_worker(replace(order, sample=None)) is None
    assert set(order.out.iterdir()) == before


def test_what_a_worker_lacks_is_told(order: Order, tmp_path: Path) -> None:
    scan, size = order.sample or (Path(), 0)
    empty = tmp_path / "empty"
    empty.mkdir()
    lacking = {
        "cannot read": replace(order, sample=(tmp_path / "mnt" / "scan.nii.gz", size)),
        "sees another file as": replace(order, sample=(scan, size + 1)),
        f"cannot read {empty}": replace(order, out=empty),
        "sees another folder as": replace(order, holder="{}"),
        "another livertumor": replace(order, meaning=order.meaning | {"version": "9.9"}),
        "another the recipe": replace(order, meaning=order.meaning | {"recipe_sha256": "0"}),
    }
    for words, wrong in lacking.items():
        lack = check_worker(wrong)
        assert lack is not None, words
        assert words in lack.message
        assert lack.hint


def test_altered_weights_are_told(
    order: Order, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "_open", {})
    write_toy_recipe(tmp_path / "mine")
    settings = BatchSettings(segment=toy_options(tmp_path / "mine"))
    (tmp_path / "mine" / "lesion.onnx").write_bytes(b"other")
    lack = check_worker(replace(order, settings=settings, meaning=settings.meaning()))
    assert lack is not None
    assert (lack.reason, lack.exit_code) == ("model", 4)


# One worker


def test_networks_are_opened_once_for_a_recipe_and_options(
    order: Order, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []
    open_networks = worker_module.open_networks

    def count(options: Any) -> Any:
        opened.append(options)
        return open_networks(options)

    monkeypatch.setattr(worker_module, "open_networks", count)
    monkeypatch.setattr(worker_module, "_open", {})
    for _ in range(2):
        assert check_worker(order) is None
    assert len(opened) == 1
    other = replace(order.settings, segment=replace(order.settings.segment, threads=2))
    assert check_worker(replace(order, settings=other)) is None
    assert len(opened) == 2
    recipe = write_toy_recipe(tmp_path / "mine", margin_mm=9.0)
    mine = replace(order.settings, segment=toy_options(recipe.folder))
    assert check_worker(replace(order, settings=mine, meaning=mine.meaning())) is None
    assert len(opened) == 3
    assert len(worker_module._open) == 1  # one set at a time


def test_a_scan_that_changes_after_it_was_hashed_fails(order: Order, tmp_path: Path) -> None:
    from livertumor_cli.batch.discovery import find_cases
    from livertumor_cli.batch.look import Looker

    [case] = find_cases(tmp_path / "in", looker=Looker()).cases
    # Another computer may see other times: only what changed since it looked itself counts.
    identity = identify(replace(case, stamp="seen elsewhere"))
    assert not isinstance(identity, worker_module.Failure)
    assert do_case(order, replace(case, stamp="seen elsewhere"), identity, number=0) == 1
    write_scan(case.path, tumor_mm=8)
    failure = do_case(order, case, identity, number=0)
    assert isinstance(failure, worker_module.Failure)
    assert failure.reason == "unreadable"


# Words


@pytest.mark.parametrize(
    ("place", "count"),
    [("local:1", 1), ("local:16", 16), ("tcp://gpu7:8786", None), ("10.0.0.7:8786", None)],
)
def test_a_place_is_local_or_an_address(place: str, count: int | None) -> None:
    assert local_workers(place) == count


@pytest.mark.parametrize("place", ["local", "local:", "local:0", "local:999", "gpu7", "tcp://", ""])
def test_other_words_are_no_place(place: str) -> None:
    with pytest.raises(ValueError, match="local:N"):
        local_workers(place)
