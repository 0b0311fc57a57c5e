"""Agreement with references as tables for a terminal of 80 columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from livertumor_cli.cli.console import stdout_console
from livertumor_cli.cli.number_table import print_numbers

MOST_LESIONS = 25
"""What one screen holds beside the other numbers; JSON and CSV hold all."""

_LEGEND = (
    "Liver: with tumors and vessels. Distances of surfaces in mm; HD95 is the larger",
    "of the two directions.",
)


def print_case(case: Mapping[str, Any]) -> None:
    """Print scores of the structures, the reference lesions and what was found of them.

    Args:
        case: From `evaluation.evaluate`, of one pair.
    """
    from livertumor_cli.report.evaluation_report import CASE_COLUMNS, number, structure_cells

    rows = ((name, *structure_cells(scores)) for name, scores in case["structures"].items())
    _print_table(("", *CASE_COLUMNS), rows)
    _print_lines((*_LEGEND, ""))
    lesions = [
        (
            str(lesion["id"]),
            number(lesion["volume_ml"], 2),
            number(lesion["longest_axial_diameter_mm"], 1),
            number(100 * lesion["found_fraction"], 0),
            "yes" if lesion["is_found"] else "no",
        )
        for lesion in case["lesions"]
    ]
    if lesions:
        titles = ("Reference lesion", "Volume ml", "Longest mm", "Covered %", "Found")
        _print_table(titles, lesions[:MOST_LESIONS])
    else:
        _print_lines(["The reference has no tumor."])
    if len(lesions) > MOST_LESIONS:
        _print_lines([f"{len(lesions) - MOST_LESIONS} smaller lesions are in the JSON."])
    if "vessel" not in case["structures"]:
        _print_lines(["The reference labels no vessels; they count as liver."])
    burden = case["burden_percent"]
    _print_lines(
        [
            *_detection_lines(case["detection"]),
            f"Tumor burden: {number(burden['prediction'], 2)} % against "
            f"{number(burden['reference'], 2)} % in the reference.",
        ]
    )


def print_cohort(document: Mapping[str, Any]) -> None:
    """Print the cases, then the figures of all cases together.

    Args:
        document: From `evaluation.evaluate`, of two folders.
    """
    from livertumor_cli.report.evaluation_report import (
        CASE_COLUMNS,
        case_cells,
        mean_cells,
        number,
        size_cells,
    )

    summary = document["summary"]
    titles = ("Case", "Liver", "Tumor", "Vessel", "HD95", "Found", "False", "Burden")
    _print_table(titles, map(case_cells, document["cases"]))
    _print_lines(
        [
            "Dice; HD95 of tumor in mm; reference lesions found; predicted ones that match",
            "none; error of the tumor burden in percentage points.",
            "",
        ]
    )
    rows = (
        (f"{name} ({part['cases']})", *mean_cells(part))
        for name, part in summary["structures"].items()
    )
    _print_table(("Mean of cases", "Global", *CASE_COLUMNS), rows)
    _print_lines((*_LEGEND, "* does not exist in some cases, which are left out of the mean.", ""))
    sizes = ("Lesions", "Number", "Found", "Recall", "Cover %", "Pred.", "Right", "Precis.")
    _print_table(sizes, map(size_cells, summary["lesions_by_size"]))
    _print_lines(["By longest axial diameter; predicted lesions by their own.", ""])
    _print_largest(summary["cases_by_largest_tumor"])
    burden = summary["burden_error_percent"]
    _print_lines(
        [
            *_detection_lines(summary["detection"]),
            f"Tumor burden: RMSE {number(burden['rmse_percent'], 2)}, largest error "
            f"{number(burden['max_absolute_percent'], 2)} percentage points.",
        ]
    )
    if burden["undefined"]:
        cases = burden["defined"] + burden["undefined"]
        _print_lines([f"Of {burden['defined']} of {cases} cases; the others lack a liver."])


def _print_largest(groups: Sequence[Mapping[str, Any]]) -> None:
    from livertumor_cli.report.evaluation_report import STRUCTURES, number, size_words

    rows = (
        (
            size_words(one),
            str(one["cases"]),
            *(number(one["dice"][name]["mean"], 3) for name in STRUCTURES),
        )
        for one in groups
        if one["cases"]
    )
    _print_table(("Largest tumor", "Cases", "Liver", "Tumor", "Vessel"), rows)
    _print_lines(["Mean Dice by the largest tumor of the reference.", ""])


def _detection_lines(detection: Mapping[str, Any]) -> list[str]:
    from livertumor_cli.report.evaluation_report import number

    plain, lits = detection["plain"], detection["lits"]
    known = plain["true_positives"] + plain["false_negatives"]
    return [
        f"Lesions found: {plain['true_positives']} of {known}; "
        f"predicted lesions that match none: {plain['false_positives']} (IoU above 0.5).",
        f"Recall {number(plain['recall'], 3)}, precision {number(plain['precision'], 3)}; "
        f"by the LiTS rule {number(lits['recall'], 3)} and {number(lits['precision'], 3)}.",
    ]


def _print_table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    print_numbers(titles, list(rows), has_names=True)


def _print_lines(lines: Iterable[str]) -> None:
    from rich.text import Text

    for line in lines:
        stdout_console().print(Text(line))
