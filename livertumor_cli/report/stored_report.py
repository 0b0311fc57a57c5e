"""What a program may rely on in a `report.json` that came back from disk."""

from __future__ import annotations

import textwrap
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from livertumor_cli.report.json_report import load_schema

_NEEDED = {
    "liver": ["volume_ml"],
    "tumor": ["volume_ml", "count", "candidate_target_ids", "candidate_target_sum_mm"],
}
_NEEDED_OF_LESIONS = ["id", "volume_ml", "longest_axial_diameter_mm", "volume_range_ml"]
"""Keys that a comparison reads."""

_LONGEST_WORDS = 120


def is_older_form(report: dict[str, Any]) -> bool:
    """Whether an early version wrote it, which chose no candidate targets.

    Args:
        report: Any JSON object.
    """
    tumor = report.get("tumor")
    return isinstance(tumor, dict) and "candidate_target_ids" not in tumor


def report_fault(report: dict[str, Any]) -> str:
    """Where a report does not have the form in which the program writes them; empty where it has.

    Every value that is there is checked. Of the keys only those that a comparison reads must be
    there, as reports of earlier 1.x forms have fewer and those of later ones more.

    Args:
        report: Any JSON object.
    """
    error = best_match(Draft202012Validator(_schema()).iter_errors(report))
    if error is not None:
        place = "/".join(map(str, error.absolute_path))
        return textwrap.shorten(f"{place}: {error.message}".removeprefix(": "), _LONGEST_WORDS)
    numbers = sorted(lesion["id"] for lesion in report["lesions"])
    if numbers != list(range(1, len(numbers) + 1)):
        return "lesions: their numbers are not 1, 2, 3 and so on"
    return ""


def _schema() -> dict[str, Any]:
    """The installed schema, with other keys required and none forbidden."""
    schema: dict[str, Any] = _open(load_schema())
    schema["required"] = [*_NEEDED, "lesions"]
    for name, keys in _NEEDED.items():
        schema["properties"][name]["required"] = keys
    schema["$defs"]["lesion"]["required"] = _NEEDED_OF_LESIONS
    return schema


def _open(part: Any) -> Any:
    if isinstance(part, list):
        return [_open(item) for item in part]
    if not isinstance(part, dict):
        return part
    kept = {key: _open(value) for key, value in part.items() if key != "required"}
    if kept.get("additionalProperties") is False:
        del kept["additionalProperties"]
    return kept
