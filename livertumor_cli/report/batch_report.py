"""Many cases on one page and in tables. Nothing here names a file or a patient but what it says."""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined

from livertumor_cli.report.drawing import thumbnail
from livertumor_cli.report.json_report import DISCLAIMER
from livertumor_cli.report.tables import cell

FORM_VERSION = "1.0"

SUMMARY_COLUMNS = (
    "case",
    "status",
    "reason",
    "exit_code",
    "liver_volume_ml",
    "tumor_volume_ml",
    "tumor_burden_percent",
    "lesion_count",
    "largest_diameter_mm",
    "candidate_target_sum_mm",
    "seconds",
    "recipe",
    "device",
    "precision",
    "flag_count",
)
FAILURE_COLUMNS = ("case", "source", "study_uid", "reason", "exit_code", "sentence", "hint")
SOURCE_COLUMNS = ("case", "source", "study_uid", "status")

_PRIVATE = ("sentence", "hint")
"""Sentences may name files and folders."""

_THUMBNAIL_PX = 90

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def done_row(name: str, report: Mapping[str, Any]) -> dict[str, Any]:
    """A case with a result.

    Args:
        name: Of its folder.
        report: From `build_report`.
    """
    tumor = report["tumor"]
    return {
        "case": name,
        "status": "done",
        "reason": None,
        "exit_code": 0,
        "liver_volume_ml": report["liver"]["volume_ml"],
        "tumor_volume_ml": tumor["volume_ml"],
        "tumor_burden_percent": tumor["burden_percent"],
        "lesion_count": tumor["count"],
        "largest_diameter_mm": tumor["largest_diameter_mm"],
        "candidate_target_sum_mm": tumor["candidate_target_sum_mm"],
        "seconds": round(sum(report["timings_s"].values()), 1),
        "recipe": f"{report['recipe']['name']} {report['recipe']['version']}",
        "device": report["device"],
        "precision": report["precision"],
        "flag_count": len(report["flags"]),
        "flags": list(report["flags"]),
    }


def failed_row(
    name: str, *, reason: str, exit_code: int, sentence: str, hint: str
) -> dict[str, Any]:
    """A case without a result; what it could not give is None."""
    row: dict[str, Any] = dict.fromkeys(SUMMARY_COLUMNS)
    ended = {"case": name, "status": "failed", "reason": reason, "exit_code": exit_code}
    return row | ended | {"flags": [], "sentence": sentence, "hint": hint}


def build_summary(
    rows: Sequence[Mapping[str, Any]], *, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """The content of `summary.json`.

    Args:
        rows: From `done_row` and `failed_row`.
        settings: Of the last run.
    """
    cases = [{name: row[name] for name in row if name not in _PRIVATE} for row in rows]
    return {
        "form_version": FORM_VERSION,
        "program": {"name": "livertumor", "version": version("livertumor")},
        "disclaimer": DISCLAIMER,
        "settings": dict(settings),
        "done": sum(row["status"] == "done" for row in rows),
        "failed": sum(row["status"] == "failed" for row in rows),
        "cases": cases,
    }


def rows_csv(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """Rows with commas and decimal dots; a name that is no valid text has its bytes escaped.

    Text that a spreadsheet would take for a formula, as file names may begin, gets an apostrophe.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_harmless(row[name]) for name in columns])
    return text.getvalue().encode("utf-8", "backslashreplace").decode("utf-8")


def _harmless(value: Any) -> Any:
    if isinstance(value, str) and value.startswith(_FORMULA_STARTS):
        return f"'{value}"
    return "" if value is None else value


def batch_page(summary: Mapping[str, Any], pictures: Mapping[str, bytes | None]) -> str:
    """All cases in one HTML file that needs nothing else, with links to their reports.

    Args:
        summary: From `build_summary`.
        pictures: A PNG of each case, where there is one.
    """
    environment = Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined
    )
    source = files("livertumor_cli.report").joinpath("batch.html.j2").read_text("utf-8")
    done = [one for one in summary["cases"] if one["status"] == "done"]
    return environment.from_string(source).render(
        summary=summary,
        # A folder may hold results of several, each case of one.
        recipes=sorted({one["recipe"] for one in done}) or [summary["settings"]["recipe"]],
        done=[_shown(one, pictures.get(one["case"])) for one in done],
        failed=[one for one in summary["cases"] if one["status"] == "failed"],
    )


def _shown(row: Mapping[str, Any], picture: bytes | None) -> dict[str, Any]:
    return {
        "case": row["case"],
        "picture": _inline(picture) if picture else "",
        "cells": (
            cell(row["liver_volume_ml"], 0),
            cell(row["tumor_volume_ml"], 1),
            cell(row["tumor_burden_percent"], 1),
            str(row["lesion_count"]),
            cell(row["largest_diameter_mm"], 1),
            cell(row["candidate_target_sum_mm"], 1),
        ),
        "flags": row["flags"],
    }


def _inline(png: bytes) -> str:
    small = thumbnail(png, height_px=_THUMBNAIL_PX)
    return "data:image/png;base64," + base64.b64encode(small).decode("ascii")
