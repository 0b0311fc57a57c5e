"""Label maps and their references to figures: one pair, or two folders of cases."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from livertumor_cli.errors import GeometryError, InputError, Reason
from livertumor_cli.io.atomic import write_files
from livertumor_cli.io.label_folders import (
    LabelFiles,
    find_label_files,
    label_files_of,
    read_labels,
)
from livertumor_cli.io.output_folder import OutputFolder, ResultFiles
from livertumor_cli.io.place import require_there
from livertumor_cli.measure.agreement_values import case_values, cohort_values
from livertumor_cli.measure.cohort import summarize
from livertumor_cli.measure.comparison import CaseAgreement, compare_case
from livertumor_cli.report.evaluation_report import DEFINITIONS, cases_csv, lesions_csv
from livertumor_cli.report.json_report import program_identity, report_text
from livertumor_cli.volume import LabelMap, text_name

Progress = Callable[[str, int, int], None]
"""Told (step, done, total)."""

EVALUATION_FILES = ResultFiles(
    proof="evaluation.json", names=frozenset({"evaluation.json", "cases.csv", "lesions.csv"})
)
"""What `write_evaluation` puts into the folder."""

_MOST_NAMES = 5


@dataclass(frozen=True, slots=True)
class CasePair:
    """One case to score.

    Attributes:
        name: What both sides call it; of two files that of the prediction.
        prediction: Where the predicted labels lie.
        reference: Where the reference labels lie.
    """

    name: str
    prediction: LabelFiles
    reference: LabelFiles


def find_pairs(prediction: Path, reference: Path, *, only_common: bool = False) -> list[CasePair]:
    """The cases to score: one of two label maps, or those of two folders, matched by name.

    Args:
        prediction: A label map, the folder of one result, or a folder of cases.
        reference: Likewise, of the same kind.
        only_common: Whether cases that only one folder has are left out.

    Raises:
        InputError: If a path is neither or missing, the two are of different kinds, or the folders
            hold different cases.
    """
    for path in (prediction, reference):
        require_there(path)
    sides = label_files_of(prediction), label_files_of(reference)
    if sides[0] is not None and sides[1] is not None:
        return [CasePair(sides[0].name, sides[0], sides[1])]
    if sides != (None, None):
        raise InputError(
            f"{prediction} and {reference} are not of one kind: one holds a single case.",
            reason=Reason.UNSUPPORTED_FORMAT,
            hint="Give two label maps, or two folders of cases.",
        )
    predicted, expected = find_label_files(prediction), find_label_files(reference)
    if not only_common:
        _require_same_cases(predicted, expected, folders=(prediction, reference))
    common = [name for name in predicted if name in expected]
    if not common:
        raise InputError(
            f"no case of {prediction} has a reference in {reference}.",
            reason=Reason.NOT_FOUND,
            hint=f"There: {_named(expected)}. Cases are matched by their names.",
        )
    return [CasePair(name, predicted[name], expected[name]) for name in common]


def evaluate(
    prediction: Path, reference: Path, *, only_common: bool = False, progress: Progress
) -> dict[str, Any]:
    """Score one pair of label maps, or two folders of cases one after the other.

    Args:
        prediction: See `find_pairs`.
        reference: Likewise.
        only_common: Likewise.
        progress: Told ("compare", done, total) in folders.

    Returns:
        The document of the case, or one with "cases" and "summary".

    Raises:
        InputError: As `find_pairs` and `compare_pair` do.
    """
    pairs = find_pairs(prediction, reference, only_common=only_common)
    if label_files_of(prediction) is not None:
        return case_document(pairs[0], compare_pair(pairs[0]))
    agreements = []
    for done, pair in enumerate(pairs):
        progress("compare", done, len(pairs))
        agreements.append(compare_pair(pair))
    return {
        "cases": [case_document(*one) for one in zip(pairs, agreements, strict=True)],
        "summary": cohort_values(summarize(agreements)),
    }


def compare_pair(pair: CasePair) -> CaseAgreement:
    """Read both sides of a case and compare them.

    Raises:
        InputError: If a file cannot be read or the grids differ; nothing is resampled.
    """
    predicted, expected = read_labels(pair.prediction), read_labels(pair.reference)
    return compare_label_maps(predicted, expected, case=pair.name)


def compare_label_maps(
    prediction: LabelMap, reference: LabelMap, *, case: str = ""
) -> CaseAgreement:
    """Compare two label maps in memory.

    Args:
        prediction: Values of `anatomy.Label`.
        reference: Likewise.
        case: Its name, for the refusal.

    Raises:
        InputError: If they lie on different grids, or on one whose axes are not at right angles.
    """
    _require_same_grid(prediction, reference, case=case)
    labels = (np.asarray(one.labels, dtype=np.uint8) for one in (prediction, reference))
    return compare_case(*labels, geometry=reference.geometry)


def case_document(pair: CasePair, agreement: CaseAgreement) -> dict[str, Any]:
    """Everything measured on one case, with its names."""
    return {
        "case": pair.name,
        "prediction": text_name(pair.prediction.labels),
        "reference": text_name(pair.reference.labels),
        **case_values(agreement),
    }


def write_evaluation(document: dict[str, Any], target: Path, *, overwrite: bool) -> None:
    """Write JSON and CSV into a folder that appears whole or not at all.

    Args:
        document: A case's document, or one with "cases".
        target: The folder.
        overwrite: Whether an earlier evaluation may be replaced.

    Raises:
        OutputError: If the folder exists or cannot be written.
    """
    cases = document.get("cases", [document])
    contents = {
        "evaluation.json": report_text(
            {"program": program_identity(), **document, "definitions": DEFINITIONS}
        ),
        "cases.csv": cases_csv(cases),
        "lesions.csv": lesions_csv(cases),
    }
    with OutputFolder(target, files=EVALUATION_FILES, overwrite=overwrite) as folder:
        write_files(folder, {name: text.encode("utf-8") for name, text in contents.items()})


def _require_same_cases(
    predicted: Mapping[str, LabelFiles],
    expected: Mapping[str, LabelFiles],
    *,
    folders: tuple[Path, Path],
) -> None:
    """A case that fails and is then left out would only make the figures better."""
    for names, others, missing, folder in (
        (expected, predicted, "prediction", folders[0]),
        (predicted, expected, "reference", folders[1]),
    ):
        alone = [name for name in names if name not in others]
        if alone:
            raise InputError(
                f"{folder} lacks the {missing} of {_named(alone)}.",
                reason=Reason.NOT_FOUND,
                hint="Cases are matched by their names; --common scores those in both folders.",
            )


def _named(names: Sequence[str] | Mapping[str, object]) -> str:
    """The first names of many."""
    listed = list(names)
    more = f" and {len(listed) - _MOST_NAMES} more" if len(listed) > _MOST_NAMES else ""
    return ", ".join(listed[:_MOST_NAMES]) + more


def _require_same_grid(prediction: LabelMap, reference: LabelMap, *, case: str) -> None:
    where = f" of {case}" if case else ""
    if not prediction.geometry.is_same_grid(reference.geometry):
        sizes = " and ".join(
            f"{grid.shape} at {tuple(round(size, 3) for size in grid.spacing_mm)} mm"
            for grid in (prediction.geometry, reference.geometry)
        )
        raise GeometryError(
            f"The two label maps{where} lie on different grids: {sizes} (z, y, x).",
            reason=Reason.GRIDS_DIFFER,
            hint="Compare masks of the same scan on its own grid; nothing is resampled here.",
        )
    if not reference.geometry.is_rectangular:
        raise GeometryError(
            f"The voxel axes of the label maps{where} do not stand at right angles.",
            reason=Reason.SHEARED,
            hint="Surface distances need a rectangular grid.",
        )
