"""Two folders of results to their comparison."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from livertumor_cli.errors import EmptyMaskError, InputError, Reason
from livertumor_cli.io.atomic import write_files
from livertumor_cli.io.label_maps import read_label_map
from livertumor_cli.io.output_folder import OutputFolder, ResultFiles
from livertumor_cli.io.place import require_folder
from livertumor_cli.measure.components import number_tumors
from livertumor_cli.measure.follow_up import align_livers, match_lesions
from livertumor_cli.report.follow_up_report import (
    build_comparison,
    comparison_csv,
    comparison_html,
)
from livertumor_cli.report.json_report import report_text
from livertumor_cli.report.stored_report import is_older_form, report_fault
from livertumor_cli.volume import LabelMap

COMPARISON_FILES = ResultFiles(
    proof="compare.json", names=frozenset({"compare.json", "compare.csv", "compare.html"})
)
"""What `write_comparison` puts into the folder."""

_HINT = "Give the folders that 'livertumor segment' or 'livertumor measure' wrote."


def compare_results(baseline: Path, follow_up: Path) -> dict[str, Any]:
    """Align two results, match their lesions and list what changed.

    Args:
        baseline: Folder of the earlier scan's results.
        follow_up: Folder of the later one's.

    Raises:
        InputError: If a folder holds no whole result of this program.
    """
    reports, maps = zip(*(_read(folder) for folder in (baseline, follow_up)), strict=True)
    labels = [np.asarray(label_map.labels) for label_map in maps]
    geometries = (maps[0].geometry, maps[1].geometry)
    alignment = align_livers(labels[0] > 0, labels[1] > 0, geometries=geometries)
    # Numbers follow from the mask alone, so they are those of the reports.
    lesions = [number_tumors(part) for part in labels]
    for folder, numbers, report in zip((baseline, follow_up), lesions, reports, strict=True):
        if int(numbers.max()) != len(report["lesions"]):
            raise _no_result(folder, "its mask and its report.json do not belong together")
    pairs = match_lesions(lesions[0], lesions[1], geometries=geometries, alignment=alignment)
    return build_comparison(
        reports[0],
        reports[1],
        pairs=pairs,
        residual_mm=alignment.residual_mm,
        rotation_degrees=alignment.rotation_degrees,
    )


def write_comparison(comparison: dict[str, Any], target: Path, *, overwrite: bool) -> None:
    """Write JSON, CSV and HTML into a folder that appears whole or not at all.

    Args:
        comparison: From `compare_results`.
        target: The folder.
        overwrite: Whether an earlier comparison may be replaced.

    Raises:
        OutputError: If the folder exists or cannot be written.
    """
    with OutputFolder(target, files=COMPARISON_FILES, overwrite=overwrite) as folder:
        contents = {
            "compare.json": report_text(comparison),
            "compare.csv": comparison_csv(comparison),
            "compare.html": comparison_html(comparison),
        }
        write_files(folder, {name: text.encode("utf-8") for name, text in contents.items()})


def _read(folder: Path) -> tuple[dict[str, Any], LabelMap]:
    report = _read_report(folder)
    mask = folder / "mask.nii.gz"
    if not mask.is_file():
        raise _no_result(folder, "it has no mask.nii.gz")
    label_map = read_label_map(mask)
    if not np.any(label_map.labels):
        raise EmptyMaskError(f"The mask in {folder} has no labeled voxel.")
    return report, label_map


def _read_report(folder: Path) -> dict[str, Any]:
    require_folder(folder, hint=_HINT)
    try:
        text = (folder / "report.json").read_text(encoding="utf-8")
        report = json.loads(text, parse_constant=_refuse_constant)
    except (OSError, ValueError, RecursionError) as error:
        raise _no_result(folder, "it has no readable report.json") from error
    if not isinstance(report, dict) or not str(report.get("schema_version")).startswith("1."):
        raise _no_result(folder, "its report.json is of another form")
    if is_older_form(report):
        raise _no_result(folder, "an older version wrote it; measure its mask again")
    fault = report_fault(report)
    if fault:
        raise _no_result(folder, f"its report.json was changed: {fault}")
    return report


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")


def _no_result(folder: Path, why: str) -> InputError:
    return InputError(
        f"{folder} holds no result that can be compared: {why}.",
        reason=Reason.UNSUPPORTED_FORMAT,
        hint=_HINT,
    )
