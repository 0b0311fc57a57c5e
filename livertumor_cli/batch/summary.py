"""Tables and a page over all cases of a folder of results, made from their reports."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from livertumor_cli.batch.case import case_name
from livertumor_cli.batch.failure import CRASHED, Failure
from livertumor_cli.batch.journal import Journal, Status
from livertumor_cli.batch.plan import MOST_CRASHES, has_result
from livertumor_cli.batch.settings import settings_id
from livertumor_cli.case_files import REPORT
from livertumor_cli.errors import OutputError
from livertumor_cli.io.atomic import write_text
from livertumor_cli.report.batch_report import (
    FAILURE_COLUMNS,
    SOURCE_COLUMNS,
    SUMMARY_COLUMNS,
    batch_page,
    build_summary,
    done_row,
    failed_row,
    rows_csv,
)
from livertumor_cli.report.pages import FIGURES

SUMMARY_FILES = ("summary.csv", "summary.json", "index.html", "failures.csv", "sources.csv")

_PICTURE = "overview_axial.png"

_LOG = logging.getLogger(__name__)


def write_summary(out: Path, journal: Journal, *, settings: dict[str, Any]) -> dict[str, Any]:
    """Write `summary.csv`, `summary.json`, `index.html`, `failures.csv` and `sources.csv`.

    Only the last two name files and folders, and with them perhaps patients.

    Args:
        out: Folder of results.
        journal: Of it.
        settings: Of the last run, as plain values.

    Returns:
        The content of `summary.json`.

    Raises:
        OutputError: If one cannot be written.
    """
    sources = _source_rows(journal)
    rows = [
        row
        for input_id in dict.fromkeys(journal.origins().values())
        if (row := _row(out, journal, input_id, settings_id(settings))) is not None
    ]
    rows.sort(key=lambda row: str(row["case"]))
    status = {row["case"]: row["status"] for row in rows}
    sources = [{**row, "status": status.get(row["case"], "open")} for row in sources]
    by_case = {row["case"]: row for row in rows}
    failures = [
        {**row, **by_case[row["case"]]} for row in sources if row["status"] == Status.FAILED
    ]
    summary = build_summary(rows, settings=settings)
    pictures = {row["case"]: _picture(out / row["case"]) for row in rows}
    write_text(out / "summary.json", json.dumps(summary, indent=2, allow_nan=False) + "\n")
    write_text(out / "summary.csv", rows_csv(rows, SUMMARY_COLUMNS))
    write_text(out / "failures.csv", rows_csv(failures, FAILURE_COLUMNS))
    write_text(out / "sources.csv", rows_csv(sources, SOURCE_COLUMNS))
    write_text(out / "index.html", batch_page(summary, pictures))
    return summary


def _source_rows(journal: Journal) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = [
        {"case": case_name(input_id), "source": origin.source, "study_uid": origin.study_uid}
        for origin, input_id in journal.origins().items()
    ]
    return sorted(rows, key=lambda row: (row["source"], row["study_uid"]))


def _row(out: Path, journal: Journal, input_id: str, settings: str) -> dict[str, Any] | None:
    """One case as it ended; None if it has not.

    A result that counts as done in this run does so here, even if other settings failed since.
    """
    name, entry = case_name(input_id), journal.last_end(input_id)
    if has_result(journal, input_id, settings, out=out):
        entry = journal.entry(input_id, settings)
    failure = entry.failure
    if entry.crashes >= MOST_CRASHES:
        failure = CRASHED
    if failure is not None:
        return _failed_row(name, failure)
    if entry.status is not Status.DONE:
        return None
    try:
        report = json.loads((out / name / REPORT).read_text(encoding="utf-8"))
        return done_row(name, report)
    except OSError as error:
        _LOG.warning("The report of %s cannot be read, so it is left out: %s", name, error)
        return None
    except (ValueError, KeyError, TypeError):
        failure = _damaged(name)
        _LOG.warning("%s %s", failure.message, failure.hint)
        return _failed_row(name, failure)


def _failed_row(name: str, failure: Failure) -> dict[str, Any]:
    return failed_row(
        name,
        reason=failure.reason,
        exit_code=failure.exit_code,
        sentence=failure.message,
        hint=failure.hint,
    )


def _damaged(name: str) -> Failure:
    """A result that something else than the program changed, so that it is not replaced."""
    return Failure(
        "output",
        OutputError.exit_code,
        f"The result is there, but {name}/{REPORT} is damaged.",
        f"Remove the folder {name}: the same command then makes it anew.",
    )


def _picture(folder: Path) -> bytes | None:
    try:
        return (folder / FIGURES / _PICTURE).read_bytes()
    except OSError:
        return None
