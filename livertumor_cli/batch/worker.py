"""What a worker of a cluster does: one case at a time, from its files to its folder of results.

Only plain values go back. What must be the same everywhere (program, recipe, folders) is checked
before the first case.
"""

from __future__ import annotations

import json
import threading
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from livertumor_cli.batch.case import (
    BatchCase,
    case_name,
    has_changed,
    input_hash,
    read_case,
    stamped,
)
from livertumor_cli.batch.failure import CHANGED, Failure, failure_of, is_without_room
from livertumor_cli.batch.out_folder import holder_text
from livertumor_cli.batch.settings import BatchSettings
from livertumor_cli.case_files import write_case
from livertumor_cli.errors import ClusterError, InputError
from livertumor_cli.io.atomic import partial_name
from livertumor_cli.segment_setup import Networks, open_networks
from livertumor_cli.steps import measure_scan, run_networks

_SHARE = (
    "Workers need the folders of scans and results under the same paths as the computer that runs "
    "the batch, on a file system that all of them share."
)

_one_case = threading.Lock()
"""A worker that was started with several threads still does one case at a time."""

_open: dict[str, Networks] = {}
"""The networks used last; opening them takes longer than many a case."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What all cases of a run share.

    Attributes:
        out: Folder of results, absolute.
        holder: What stands in it under the lock: tells it from another folder of that path.
        sample: A file of some scan and its size in bytes, if there is one that can be read.
        settings: How cases are segmented and written.
        meaning: The settings as plain values, as the client sees recipe and program.
        topic: Under which steps are told; nothing is told where empty.
    """

    out: Path
    holder: str
    sample: tuple[Path, int] | None
    settings: BatchSettings
    meaning: dict[str, Any]
    topic: str = ""


@dataclass(frozen=True, slots=True)
class Identity:
    """What a worker sees of a case.

    Attributes:
        input_id: Hash of its content.
        stamp: Of its files. Another computer may see other times of change.
    """

    input_id: str
    stamp: str


@dataclass(frozen=True, slots=True)
class NoRoom:
    """The disk of the results is full or read-only, which ends the batch."""

    message: str
    hint: str


def check_worker(order: Order) -> Failure | None:
    """Whether this worker can do cases of an order: None, or what it lacks.

    Its networks are open afterwards.
    """
    try:
        _require_same_program(order)
        _require_input(order)
        _require_output(order)
        with _one_case:
            networks_for(order)
    except Exception as error:
        return failure_of(error)
    return None


def identify(case: BatchCase) -> Identity | Failure:
    """Read and hash the files of a case."""
    stamp = stamped(case).stamp
    try:
        return Identity(input_hash(case), stamp)
    except InputError as error:
        return failure_of(error)


def do_case(
    order: Order, case: BatchCase, identity: Identity, *, number: int
) -> int | Failure | NoRoom:
    """Read, segment, measure and write a case; returns how many lesions it has.

    Args:
        order: The run's.
        case: The case.
        identity: From `identify`, here or on a worker that sees the same files.
        number: Of the case in the run; steps are told with it, as paths may name patients.
    """

    def progress(step: str, _done: int, _total: int) -> None:
        if step != told[-1]:
            told.append(step)
            _tell(order.topic, number, step)

    told = [""]
    segment = order.settings.segment
    target = order.out / case_name(identity.input_id)
    with _one_case, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            networks = networks_for(order)
            progress("read", 0, 0)
            scan = read_case(case, options=segment)
            if has_changed(replace(case, stamp=identity.stamp)):
                raise CHANGED
            segmented = run_networks(
                scan, networks=networks, scales=segment.scales, progress=progress
            )
            progress("measure", 0, 0)
            result = measure_scan(segmented)
            progress("write", 0, 0)
            write_case(result, target, overwrite=True, pdf=order.settings.pdf)
        except Exception as error:
            failure = failure_of(error)
            if is_without_room(error):
                return NoRoom(failure.message, failure.hint)
            return failure
    return len(result.findings.lesions)


def networks_for(order: Order) -> Networks:
    """The networks of an order, opened unless they are.

    Raises:
        ModelError: If a recipe or file is missing, altered or unfit.
        BackendError: If the device or engine asked for cannot be had.
    """
    segment = order.settings.segment
    wishes = (segment.device, segment.engine, segment.precision, segment.threads)
    key = json.dumps([order.meaning["recipe_sha256"], *wishes])
    if key not in _open:
        # Before others are opened: two sets may not fit on one device.
        _open.clear()
        _open[key] = open_networks(segment)
    return _open[key]


def _require_same_program(order: Order) -> None:
    here = order.settings.meaning()
    for name, what in (("version", "livertumor"), ("recipe_sha256", "the recipe's text, SHA-256")):
        if here[name] != order.meaning[name]:
            raise ClusterError(
                f"It has another {what}: {here[name]} instead of {order.meaning[name]}.",
                hint="Install the same livertumor and the same recipe on every computer.",
            )


def _require_input(order: Order) -> None:
    if order.sample is None:
        return
    path, size = order.sample
    try:
        with path.open("rb") as stream:
            stream.read(1)
        seen = path.stat().st_size
    except OSError as error:
        words = error.strerror or error
        raise ClusterError(f"It cannot read {path}: {words}.", hint=_SHARE) from error
    if seen != size:
        raise ClusterError(f"It sees another file as {path}.", hint=_SHARE)


def _require_output(order: Order) -> None:
    try:
        seen = holder_text(order.out)
    except OSError as error:
        words = error.strerror or error
        raise ClusterError(f"It cannot read {order.out}: {words}.", hint=_SHARE) from error
    if seen != order.holder:
        raise ClusterError(f"It sees another folder as {order.out}.", hint=_SHARE)
    trial = partial_name(order.out / "trial")
    try:
        trial.mkdir()
        trial.rmdir()
    except OSError as error:
        words = error.strerror or error
        raise ClusterError(
            f"It cannot write to {order.out}: {words}.",
            hint="Workers need the right to make folders in it.",
        ) from error


def _tell(topic: str, number: int, step: str) -> None:
    if topic:
        from distributed import get_worker

        get_worker().log_event(topic, (number, step))
