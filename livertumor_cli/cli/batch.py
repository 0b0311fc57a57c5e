"""`livertumor batch FOLDER`: every scan in a folder, resumed where it stopped."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from livertumor_cli.cli.batch_options import (
    FOLDER_HINT,
    batch_options,
    batch_settings,
    interruptible,
)
from livertumor_cli.cli.options import PATH

if TYPE_CHECKING:
    from livertumor_cli.batch.discovery import Found
    from livertumor_cli.batch.plan import BatchPlan, PlannedCase, Selection
    from livertumor_cli.batch.settings import BatchSettings


def parse_place(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    """Check 'tcp://host:8786' or 'local:4'.

    Raises:
        click.BadParameter: If it is neither.
        BackendError: If the extra 'dask' is not installed.
    """
    from livertumor_cli.batch.place import local_workers
    from livertumor_cli.cli.extras import require_extra

    if value is not None:
        try:
            local_workers(value)
        except ValueError as error:
            raise click.BadParameter(f"{error}") from error
        require_extra("dask")
    return value


@click.command()
@click.argument("folder", type=PATH)
@click.option("--dry-run", is_flag=True, help="Show what would be done, and do nothing.")
@click.option("--limit", type=click.IntRange(1), default=None, help="Run at most so many cases.")
@click.option(
    "--only",
    multiple=True,
    metavar="PATTERN",
    help="Only cases whose path in FOLDER fits, such as 'patient1/*'; may be given several times.",
)
@click.option("--retry-failed", is_flag=True, help="Run cases that failed before once more.")
@click.option(
    "--dask",
    callback=parse_place,
    default=None,
    metavar="ADDRESS|local:N",
    help="Run cases on the workers of a Dask scheduler, or on N worker processes of this computer.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the summary or plan as JSON.")
@batch_options
def batch(
    folder: Path,
    output: Path,
    dry_run: bool,
    limit: int | None,
    only: tuple[str, ...],
    retry_failed: bool,
    dask: str | None,
    as_json: bool,
    quiet: bool,
    progress: str,
    **options: Any,
) -> None:
    """Segment every scan in FOLDER; a case that fails harms no other.

    Cases are volume files and DICOM studies wherever their files lie, also in zips. The same
    command again does only what is missing. Each case gets a folder as of 'segment' in the folder
    after -o, and index.html there lists all of them.

    Example: livertumor batch studies/ -o results/
    """
    from livertumor_cli.batch.batch import preview
    from livertumor_cli.batch.plan import Selection
    from livertumor_cli.cli.batch_progress import told_to_programs

    is_json = progress == "json"
    with told_to_programs(is_json):
        settings = batch_settings(**options)
        selection = Selection(only, limit, retry_failed)
        found = search(folder, out=output, quiet=quiet or is_json)
        if dry_run:
            plan = preview(output, settings, cases=found.cases, selection=selection)
            show_plan(plan, found, as_json=as_json)
            return
        run_and_sum_up(
            found,
            output,
            settings=settings,
            selection=selection,
            dask=dask,
            quiet=quiet,
            is_json=is_json,
            as_json=as_json,
        )


def search(folder: Path, *, out: Path, quiet: bool) -> Found:
    """Find the cases.

    Raises:
        InputError: If there is none, or no such folder.
    """
    from livertumor_cli.batch.discovery import find_cases
    from livertumor_cli.batch.look import Looker
    from livertumor_cli.errors import InputError, Reason
    from livertumor_cli.io.place import require_folder

    require_folder(folder, hint=FOLDER_HINT)
    if not quiet:
        click.echo(f"Searching {folder}", err=True)
    found = find_cases(folder, leave_out=out, looker=Looker())
    if not found.cases:
        raise InputError(
            f"{folder} holds no CT scan.",
            reason=Reason.NOT_AN_IMAGE,
            hint=FOLDER_HINT,
        )
    return found


def run_and_sum_up(
    found: Found,
    out: Path,
    *,
    settings: BatchSettings,
    selection: Selection,
    dask: str | None,
    quiet: bool,
    is_json: bool,
    as_json: bool,
) -> None:
    """Run what is to be run, write the tables, and print how it went."""
    from livertumor_cli.batch.batch import open_batch
    from livertumor_cli.batch.plan import Selection
    from livertumor_cli.cli.app import EXIT_INTERRUPTED
    from livertumor_cli.cli.batch_progress import show_batch, tell_stopped
    from livertumor_cli.errors import OutputError

    with interruptible(out) as stop, open_batch(out, settings) as opened:
        opened.dask = dask
        plan = opened.plan(found.cases, selection)
        total = len(plan.to_run)
        try:
            with show_batch(total=total, quiet=quiet, as_json=is_json) as observe:
                opened.run(plan, observe=observe, should_stop=stop)
            opened.forget_replaced(found.cases)
        except OutputError:
            with suppress(OutputError):
                opened.sum_up()
            raise
        summary = opened.sum_up()
        after = opened.plan([one.case for one in plan.cases], Selection())
        is_stopped = stop() and bool(after.to_run)
    show_summary(summary, after, out=out, as_json=as_json, quiet=quiet)
    if is_stopped:
        tell_stopped("Stopped; the same command goes on from there.", as_json=is_json)
        click.get_current_context().exit(EXIT_INTERRUPTED)
    refuse_failures(after, out)


def show_plan(plan: BatchPlan, found: Found, *, as_json: bool) -> None:
    """The plan as rows, or as JSON."""
    from livertumor_cli.batch.case import case_name
    from livertumor_cli.cli.batch_progress import printable
    from livertumor_cli.cli.console import write_json
    from livertumor_cli.cli.rows import megabytes

    counts = Counter(str(planned.task) for planned in plan.cases)
    aside = {"no_image": found.ignored, "without_ct": found.without_ct, "results": found.results}
    if as_json:
        cases = [
            {
                "source": planned.case.source,
                "study_uid": planned.case.study_uid,
                "files": planned.case.count,
                "size_bytes": planned.case.size_bytes,
                "task": str(planned.task),
                "case": case_name(planned.input_id) if planned.input_id else None,
                "reason": planned.failure.reason if planned.failure else None,
            }
            for planned in plan.cases
        ]
        write_json({"counts": counts, "passed_over": aside, "cases": cases})
        return
    tasks = [_task_text(planned) for planned in plan.cases]
    width = max(map(len, tasks))
    for planned, task in zip(plan.cases, tasks, strict=True):
        case = planned.case
        size = f"{case.count} files" if case.count > 1 else "1 file"
        place = printable(case.source)
        click.echo(f"{task:<{width}} {megabytes(case.size_bytes):>10} {size:>11}  {place}")
    click.echo(", ".join(f"{count} {task}" for task, count in counts.items()))
    click.echo(
        f"Passed over: {aside['no_image']} files that are no images, {aside['without_ct']} studies "
        f"without CT, {aside['results']} folders of results."
    )


def _task_text(planned: PlannedCase) -> str:
    return f"{planned.task} ({planned.failure.reason})" if planned.failure else planned.task


def show_summary(
    summary: dict[str, Any], plan: BatchPlan, *, out: Path, as_json: bool, quiet: bool
) -> None:
    """Counts and the folder, or the summary as JSON."""
    from livertumor_cli.batch.plan import Task
    from livertumor_cli.cli.console import write_json

    if as_json:
        write_json(summary)
        return
    if not quiet:
        done, failed = len(plan.of(Task.DONE)), len(plan.of(Task.FAILED))
        left = len(plan.cases) - done - failed
        cases = "1 case" if done == 1 else f"{done} cases"
        click.echo(f"{cases} done, {failed} failed, {left} left.")
    click.echo(str(out))


def refuse_failures(plan: BatchPlan, out: Path) -> None:
    """End with exit code 7 if cases have failed.

    Raises:
        BatchError: If so.
    """
    from livertumor_cli.batch.plan import Task
    from livertumor_cli.errors import BatchError

    failed = len(plan.of(Task.FAILED))
    if failed:
        raise BatchError(
            f"{failed} of {len(plan.cases)} cases failed.",
            hint=f"{out / 'failures.csv'} says why; --retry-failed runs them once more.",
        )
