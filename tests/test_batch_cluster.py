"""A batch on a real Dask scheduler with workers as processes of their own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from batch_runs import Event, Recorder, folder_of, report_of, rows_of, run_batch, write_scan
from batch_runs import write_scans as write_small_scans
from toy_recipe import Patient, centered_grid, write_toy_recipe

from livertumor_cli.batch import cluster as cluster_module
from livertumor_cli.batch import dask as dask_module
from livertumor_cli.batch.cluster import connected
from livertumor_cli.batch.events import CaseEnd, CaseStep, Outcome
from livertumor_cli.batch.journal import JOURNAL
from livertumor_cli.batch.plan import MOST_CRASHES, Task
from livertumor_cli.cli.app import run
from livertumor_cli.errors import ClusterError
from livertumor_cli.io.dicom_ct import write_ct_series
from livertumor_cli.io.formats import write_volume
from livertumor_cli.volume import Volume

pytestmark = pytest.mark.filterwarnings("ignore:::distributed")

ENGINE = ("--engine", "onnxruntime", "--device", "cpu", "--threads", "1")
WAIT_S = 240


@dataclass
class Processes:
    """A scheduler and its workers, as an administrator starts them."""

    folder: Path
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def file(self) -> Path:
        return self.folder / "scheduler.json"

    @property
    def address(self) -> str:
        address: str = json.loads(self.file.read_text(encoding="utf-8"))["address"]
        return address

    def start(self, program: str, *words: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", f"distributed.cli.dask_{program}"]
        place = ["--scheduler-file", str(self.file), "--host", "127.0.0.1", "--no-dashboard"]
        log = (self.folder / f"{program}{len(self.started)}.log").open("wb")
        with log:
            process = subprocess.Popen([*command, *place, *words], stdout=log, stderr=log)
        self.started.append(process)
        return process

    def start_worker(self) -> subprocess.Popen[bytes]:
        scratch = ("--local-directory", str(self.folder / "scratch"))
        return self.start("worker", "--nthreads", "1", "--no-nanny", *scratch)

    def stop(self) -> None:
        for process in reversed(self.started):
            process.kill()
            process.wait()


def wait_until(is_so: Any) -> None:
    end_s = time.monotonic() + WAIT_S
    while not is_so():
        assert time.monotonic() < end_s
        time.sleep(0.1)


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    """A scheduler and two workers."""
    pair = Processes(tmp_path_factory.mktemp("dask"))
    try:
        pair.start("scheduler", "--port", "0")
        wait_until(lambda: pair.file.is_file() and pair.file.stat().st_size)
        pair.start_worker()
        pair.start_worker()
        with connected(pair.address) as cluster:
            wait_until(lambda: len(cluster.workers()) == 2)
        yield pair
    finally:
        pair.stop()


def write_scans(folder: Path, count: int) -> list[str]:
    """Scans that take a second or two, so that something can happen meanwhile."""
    names = [f"patient{number}/scan.nii.gz" for number in range(count)]
    geometry = centered_grid((96, 96, 96), spacing_mm=(1.6, 1.6, 1.6))
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True)
        body = {"liver": Patient().liver, "tumor": None} if number else {}
        write_volume(folder / name, Patient(**body).scan(geometry, edge_mm=4.0 + number))
    return names


def same_files(one: Path, other: Path) -> set[str]:
    """Names of the files of two results, which must be the same byte for byte.

    Reports tell seconds and memory; DICOM objects have numbers and times of their making.
    """
    names = {path.relative_to(one).as_posix() for path in one.rglob("*") if path.is_file()}
    assert names == {
        path.relative_to(other).as_posix() for path in other.rglob("*") if path.is_file()
    }
    for name in names:
        if name not in ("report.json", "report.html") and not name.endswith(".dcm"):
            assert (one / name).read_bytes() == (other / name).read_bytes(), name
    reports = [report_of(folder) for folder in (one, other)]
    for report in reports:
        del report["timings_s"], report["peak_memory_mb"]
    assert reports[0] == reports[1]
    return names


def test_results_are_those_of_the_local_run(
    processes: Processes, toy: Path, tmp_path: Path
) -> None:
    write_scan(tmp_path / "in" / "a" / "scan.nii.gz")
    write_scan(tmp_path / "in" / "b" / "none.nii.gz", tumor=None, vessel=None)
    write_ct_series(
        tmp_path / "in" / "c" / "series",
        Patient().scan(centered_grid((36, 48, 48), spacing_mm=(3.5, 2.5, 2.5))),
        seed="c",
    )
    (tmp_path / "in" / "junk.nii").write_bytes(b"junk")
    here, _ = run_batch(tmp_path / "in", tmp_path / "here", toy)
    there, _ = run_batch(tmp_path / "in", tmp_path / "there", toy, dask=processes.address)
    assert there.ends == here.ends
    assert there.failures == here.failures == {"junk.nii": "not_an_image"}
    for source in ("a/scan.nii.gz", "b/none.nii.gz", "c/series"):
        names = same_files(
            folder_of(tmp_path / "here", source), folder_of(tmp_path / "there", source)
        )
        assert "mask.nii.gz" in names
        assert ("segmentation.dcm" in names) == (source == "c/series")
    for name in ("summary.csv", "failures.csv", "sources.csv", "index.html"):
        tables = [(tmp_path / where / name).read_text("utf-8") for where in ("here", "there")]
        # The table has a column of seconds.
        plain = [re.sub(r"\d+\.\d+", "", table) for table in tables]
        assert plain[0] == plain[1], name


def test_workers_load_each_model_once(processes: Processes, tmp_path: Path) -> None:
    """The second batch finds no weights on the disk, and needs none."""
    recipe = write_toy_recipe(tmp_path / "mine", margin_mm=11.0)
    names = write_small_scans(tmp_path / "in", 4)
    for out in ("one", "two"):
        recorder, _ = run_batch(
            tmp_path / "in", tmp_path / out, recipe.folder, dask=processes.address
        )
        assert recorder.ends == dict.fromkeys(names, Outcome.DONE)
        for path in recipe.folder.glob("*.onnx"):
            path.unlink()


def test_a_killed_worker_is_missed_and_its_case_redone(
    processes: Processes, toy: Path, tmp_path: Path
) -> None:
    """Both workers are killed over their first case; one that comes later does it all."""
    names = write_scans(tmp_path / "in", 3)
    victims = processes.started[1:]
    seen: list[str] = []

    def kill(event: Event) -> None:
        if isinstance(event, CaseStep) and event.step == "liver":
            seen.append(event.source)
            if len(seen) == 1:
                for victim in victims:
                    victim.kill()
                processes.start_worker()

    recorder, plan = run_batch(
        tmp_path / "in", tmp_path / "out", toy, dask=processes.address, observe=Recorder(kill)
    )
    assert recorder.ends == dict.fromkeys(names, Outcome.DONE)
    assert len(plan.of(Task.DONE)) == 3
    assert len(seen) > 3 or len(set(seen)) < len(seen)
    assert (
        not list((tmp_path / "out").glob(".*")) or rows_of(tmp_path / "out" / "failures.csv") == []
    )
    run_batch(tmp_path / "in", tmp_path / "here", toy)
    for name in names:
        same_files(folder_of(tmp_path / "here", name), folder_of(tmp_path / "out", name))


def test_a_folder_that_no_worker_sees_is_refused(
    processes: Processes, toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_small_scans(tmp_path / "in", 2)
    mine = tmp_path / "mounted here only" / "scan.nii.gz"
    monkeypatch.setattr(dask_module, "_sample", lambda _cases: (mine, 5))
    with pytest.raises(ClusterError, match=r"No worker can take cases\. tcp://.*It cannot read"):
        run_batch(tmp_path / "in", tmp_path / "out", toy, dask=processes.address)
    assert not list((tmp_path / "out").glob("case-*"))


def test_a_scheduler_that_does_not_answer_is_refused(
    toy: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_small_scans(tmp_path / "in", 1)
    monkeypatch.setattr(cluster_module, "CONNECT_TIMEOUT_S", 1)
    places = [str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--recipe", str(toy)]
    assert run(["batch", *places, *ENGINE, "-q", "--dask", "tcp://127.0.0.1:9"]) == 5
    log = capsys.readouterr().err
    assert log.startswith("Error: No Dask scheduler answers at tcp://127.0.0.1:9.")
    assert len(log.splitlines()) == 2
    assert run(["batch", *places, *ENGINE, "-q", "--dask", "somewhere"]) == 2


def test_a_scheduler_that_is_gone_ends_the_batch(toy: Path, tmp_path: Path) -> None:
    write_scans(tmp_path / "in", 2)
    alone = Processes(tmp_path)
    try:
        scheduler = alone.start("scheduler", "--port", "0")
        wait_until(lambda: alone.file.is_file() and alone.file.stat().st_size)
        alone.start_worker()

        def kill(event: Event) -> None:
            if isinstance(event, CaseStep) and event.step == "liver":
                scheduler.kill()

        with pytest.raises(ClusterError, match="scheduler"):
            run_batch(
                tmp_path / "in", tmp_path / "out", toy, dask=alone.address, observe=Recorder(kill)
            )
    finally:
        alone.stop()
    _, plan = run_batch(tmp_path / "in", tmp_path / "out", toy)
    assert len(plan.of(Task.DONE)) == 2


# Workers of this computer


def local_processes() -> list[psutil.Process]:
    """Workers that this process has started."""
    children = psutil.Process().children(recursive=True)
    return [child for child in children if is_worker(child)]


def is_worker(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return "spawn_main" in " ".join(process.cmdline())
    return False


def test_local_workers_hear_nobody_outside_and_are_gone_afterwards() -> None:
    with connected("local:2") as cluster:
        assert len(cluster.workers()) == 2
        assert all(address.startswith("tls://127.0.0.1:") for address in cluster.workers())
        ours = [psutil.Process(), *local_processes()]
        assert len(ours) == 3
        heard = {
            connection.laddr.ip
            for process in ours
            for connection in process.net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        }
        assert heard == {"127.0.0.1"}
    assert local_processes() == []


@pytest.mark.slow
def test_local_workers_are_replaced_and_a_deadly_case_is_given_up(
    toy: Path, tmp_path: Path
) -> None:
    names = write_scans(tmp_path / "in", 3)

    def kill(event: Event) -> None:
        if isinstance(event, CaseStep) and (event.source, event.step) == (names[1], "liver"):
            for worker in local_processes():
                worker.kill()

    recorder, _ = run_batch(
        tmp_path / "in", tmp_path / "out", toy, dask="local:1", observe=Recorder(kill)
    )
    assert recorder.ends == {
        names[0]: Outcome.DONE,
        names[1]: Outcome.FAILED,
        names[2]: Outcome.DONE,
    }
    assert recorder.failures == {names[1]: "crashed"}
    lines = (tmp_path / "out" / JOURNAL).read_text(encoding="utf-8").splitlines()
    started = [json.loads(line)["event"] for line in lines].count("started")
    assert started == 2 + MOST_CRASHES


@pytest.mark.slow
def test_a_case_that_exhausts_its_share_of_memory_harms_no_other(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_module, "MEMORY_LIMIT", 700_000_000)
    names = write_small_scans(tmp_path / "in", 2)
    huge = centered_grid((480, 384, 384), spacing_mm=(0.4, 0.5, 0.5))
    hu = np.full(huge.shape, -1000, np.int16)
    hu[100:400, 60:320, 60:320] = 100
    write_volume(tmp_path / "in" / "patient0" / "huge.nii.gz", Volume(hu, huge))
    recorder, _ = run_batch(tmp_path / "in", tmp_path / "out", toy, dask="local:1")
    assert recorder.failures == {"patient0/huge.nii.gz": "crashed"}
    assert [recorder.ends[name] for name in names] == [Outcome.DONE, Outcome.DONE]
    assert not list((tmp_path / "out").glob(".*.partial-*"))


def start(toy: Path, folder: Path) -> subprocess.Popen[str]:
    places = ("batch", str(folder / "in"), "-o", str(folder / "out"), "--recipe", str(toy))
    program = "from livertumor_cli.cli.app import main; main()"
    return subprocess.Popen(
        [
            sys.executable,
            "-c",
            program,
            *places,
            *ENGINE,
            "--progress",
            "json",
            "--dask",
            "local:2",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        start_new_session=True,
    )


def until_step(process: subprocess.Popen[str], step: str) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("{") and json.loads(line).get("step") == step:
            return
    raise AssertionError(f"no case came to the step {step}")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="a group of processes is told otherwise there")
def test_ctrl_c_in_a_terminal_ends_after_the_cases_at_work(toy: Path, tmp_path: Path) -> None:
    """The terminal tells client and workers: these must go on with what they have."""
    write_scans(tmp_path / "in", 4)
    with start(toy, tmp_path) as process:
        until_step(process, "liver")
        os.killpg(process.pid, signal.SIGINT)
        log = process.communicate(timeout=WAIT_S)[1]
    assert process.returncode == 130, log
    assert "Traceback" not in log
    done = list((tmp_path / "out").glob("case-*/report.json"))
    assert 1 <= len(done) <= 2
    assert list((tmp_path / "out").glob(".*.partial-*")) == []
    recorder, plan = run_batch(tmp_path / "in", tmp_path / "out", toy)
    assert len([one for one in recorder.events if isinstance(one, CaseEnd)]) == 4 - len(done)
    assert len(plan.of(Task.DONE)) == 4


@pytest.mark.slow
def test_workers_end_with_a_client_that_is_killed(toy: Path, tmp_path: Path) -> None:
    write_scans(tmp_path / "in", 3)
    with start(toy, tmp_path) as process:
        until_step(process, "liver")
        children = psutil.Process(process.pid).children(recursive=True)
        workers = [child for child in children if is_worker(child)]
        assert len(workers) == 2
        process.kill()
        wait_until(lambda: not any(worker.is_running() for worker in workers))
    _, plan = run_batch(tmp_path / "in", tmp_path / "out", toy)
    assert len(plan.of(Task.DONE)) == 3
    assert list((tmp_path / "out").glob(".*.partial-*")) == []
