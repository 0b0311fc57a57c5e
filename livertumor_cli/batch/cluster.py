"""A Dask cluster as a batch sees it: workers that come and go, each with one task at a time.

The only file that knows how Dask is spoken to. Tasks are handed to a worker by its address and not
left to the scheduler: a worker is checked before its first case, and a case whose worker died is
counted in the journal before another one gets it.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import dask
from distributed import CancelledError, Client, KilledWorker, Nanny, Scheduler, SpecCluster
from distributed.security import Security
from distributed.system import MEMORY_LIMIT

from livertumor_cli.batch.failure import failure_of
from livertumor_cli.batch.place import local_workers
from livertumor_cli.engine.cuda import count_gpus
from livertumor_cli.errors import ClusterError

CONNECT_TIMEOUT_S = 10
_GATHER_TIMEOUT_S = 30

_LOCAL_HOST = "127.0.0.1"
_LOCAL_CONFIG = {
    "distributed.worker.multiprocessing-method": "spawn",
    # These judge memory by what Dask itself keeps, which here is nothing.
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.profile.enabled": False,
}

# What these say of workers that come, end and die is said again, for users, by the batch.
_QUIET = logging.CRITICAL
for _name in ("", ".client"):
    logging.getLogger(f"distributed{_name}").setLevel(_QUIET)


class WorkerDiedError(Exception):
    """A task has no answer, as its worker is gone."""


class Cluster:
    """A connection to a scheduler.

    Args:
        client: Connected.
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    def workers(self) -> set[str]:
        """Addresses of the workers there are now.

        Raises:
            ClusterError: If the scheduler is gone.
        """
        try:
            return set(self._client.nthreads())
        except (OSError, RuntimeError, CancelledError) as error:
            raise ClusterError(
                "The Dask scheduler does not answer any more.",
                hint="Start it again; the same command goes on from there.",
            ) from error

    def submit(
        self, address: str, function: Callable[..., Any], *arguments: Any, **named: Any
    ) -> Any:
        """Give a worker something to do; returns a task for `answer`."""
        return self._client.submit(
            function,
            *arguments,
            **named,
            key=f"livertumor-{os.urandom(8).hex()}",
            workers=[address],
            allow_other_workers=False,
            pure=False,
        )

    def on_events(self, topic: str, handler: Callable[[Any], None]) -> None:
        """Call a handler, from another thread, with all that workers log under a topic."""
        self._client.subscribe_topic(topic, lambda event: handler(event[1]))

    def answer(self, task: Any) -> Any:
        """What a task that is done returned; a Failure if it raised.

        Raises:
            WorkerDiedError: If its worker died, or was forgotten by the scheduler.
        """
        try:
            return task.result(timeout=_GATHER_TIMEOUT_S)
        except (KilledWorker, CancelledError, TimeoutError) as error:
            raise WorkerDiedError from error
        except Exception as error:
            return failure_of(error)

    def forget(self, task: Any) -> None:
        """Let nobody do a task any more."""
        task.cancel(force=True, reason="its worker is gone")


@contextmanager
def connected(place: str) -> Iterator[Cluster]:
    """Connect to a scheduler, or start one with workers on this computer.

    Args:
        place: Address of a scheduler, or local:N for N workers.

    Raises:
        ClusterError: If no scheduler answers.
    """
    count = local_workers(place)
    with ExitStack() as stack:
        address, security = place, None
        if count is not None:
            address, security = stack.enter_context(_local_cluster(count))
        yield Cluster(stack.enter_context(_client(address, security=security)))


@contextmanager
def _client(address: str, *, security: Security | None) -> Iterator[Client]:
    try:
        client = Client(
            address,
            timeout=CONNECT_TIMEOUT_S,
            security=security,
            name="livertumor",
            set_as_default=False,
        )
    except (OSError, ValueError) as error:
        raise ClusterError(
            f"No Dask scheduler answers at {address}.",
            hint="Start one with 'dask scheduler', and give the address that it prints.",
        ) from error
    try:
        yield client
    finally:
        client.close()


@contextmanager
def _local_cluster(count: int) -> Iterator[tuple[str, Security]]:
    """A scheduler in this process and workers as processes of their own, which end with it.

    Whoever reaches a scheduler can run programs with its user's rights: it listens to this computer
    only, and keys made for this run keep other users of it out.
    """
    security = Security.temporary()
    common = {"host": _LOCAL_HOST, "protocol": "tls://", "security": security}
    with dask.config.set(_LOCAL_CONFIG):
        cluster = SpecCluster(
            scheduler={
                "cls": Scheduler,
                "options": {
                    **common,
                    "port": 0,
                    "dashboard": False,
                    "dashboard_address": f"{_LOCAL_HOST}:0",
                },
            },
            workers={number: _worker_spec(number, count, common) for number in range(count)},
            security=security,
            silence_logs=_QUIET,
        )
        try:
            yield cluster.scheduler_address, security
        finally:
            cluster.close()


def _worker_spec(number: int, count: int, common: dict[str, Any]) -> dict[str, Any]:
    return {
        "cls": Nanny,
        "options": {
            **common,
            "nthreads": 1,
            "memory_limit": MEMORY_LIMIT // count,
            "env": _gpu_for(number),
            "preload": __name__,
            "silence_logs": _QUIET,
        },
    }


def _gpu_for(number: int) -> dict[str, str]:
    """Which of several GPUs a worker sees."""
    count = count_gpus()
    if count < 2:
        return {}
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = visible.split(",") if visible else [str(index) for index in range(count)]
    return {"CUDA_VISIBLE_DEVICES": names[number % len(names)]}


def dask_setup(_worker: Any) -> None:
    """Called by Dask in each local worker as it starts: Ctrl-C is for the client to answer."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
