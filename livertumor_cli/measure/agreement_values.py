"""Agreement as plain values that JSON and CSV can hold."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from livertumor_cli.measure.cohort import CohortAgreement, Mean, scores_of
from livertumor_cli.measure.comparison import CaseAgreement, StructureAgreement
from livertumor_cli.measure.detection import Detection
from livertumor_cli.measure.lesion_agreement import SizeClass, classes_by_size


def case_values(agreement: CaseAgreement) -> dict[str, Any]:
    """Everything measured on one case, as plain values; None where a value does not exist."""
    return {
        "structures": {part.name: _structure(part) for part in agreement.structures},
        "burden_percent": {
            "prediction": _rounded(agreement.burden.prediction_percent, 3),
            "reference": _rounded(agreement.burden.reference_percent, 3),
            "error": _rounded(agreement.burden.error_percent, 3),
        },
        "detection": {
            "plain": _detection(agreement.detection_plain),
            "lits": _detection(agreement.detection_lits),
            "lits_any_overlap": _detection(agreement.detection_lits_any),
        },
        "lesions_by_size": [
            _size_class(one)
            for one in classes_by_size(agreement.lesions, agreement.predicted_lesions)
        ],
        "lesions": [_plain(asdict(lesion)) for lesion in agreement.lesions],
        "predicted_lesions": [_plain(asdict(lesion)) for lesion in agreement.predicted_lesions],
        "matched_lesions": [
            {
                "prediction_ids": list(one.prediction_ids),
                "reference_ids": list(one.reference_ids),
                **_plain(scores_of(one)),
            }
            for one in agreement.matched_lesions
        ],
    }


def cohort_values(cohort: CohortAgreement) -> dict[str, Any]:
    """Everything measured over many cases, as plain values; None where a value does not exist."""
    return {
        "cases": cohort.cases,
        "structures": {
            part.name: {
                "cases": part.cases,
                "dice_global": _rounded(part.dice_global, 4),
                "means": _means(part.means),
            }
            for part in cohort.structures
        },
        "burden_error_percent": _plain(asdict(cohort.burden)),
        "detection": {
            "plain": _plain(asdict(cohort.detection_plain)),
            "lits": _plain(asdict(cohort.detection_lits)),
            "lits_any_overlap": _plain(asdict(cohort.detection_lits_any)),
        },
        "matched_lesions": _means(cohort.matched_lesions),
        "lesions_by_size": [_size_class(one) for one in cohort.lesions_by_size],
        "cases_by_largest_tumor": [
            {
                "from_mm": one.from_mm,
                "below_mm": _rounded(one.below_mm, 2),
                "cases": one.cases,
                "dice": _means(one.dice),
            }
            for one in cohort.cases_by_largest_tumor
        ],
    }


def _structure(part: StructureAgreement) -> dict[str, float | None]:
    volumes = {"prediction_ml": part.prediction_ml, "reference_ml": part.reference_ml}
    return _plain({**scores_of(part), **volumes})


def _detection(detection: Detection) -> dict[str, Any]:
    return {
        "true_positives": detection.true_positives,
        "false_positives": detection.false_positives,
        "false_negatives": detection.false_negatives,
        "recall": _rounded(detection.recall, 4),
        "precision": _rounded(detection.precision, 4),
    }


def _size_class(one: SizeClass) -> dict[str, Any]:
    return _plain({**asdict(one), "recall": one.recall, "precision": one.precision})


def _means(means: Mapping[str, Mean]) -> dict[str, Any]:
    return {
        name: {
            "mean": _rounded(mean.value, 4),
            "defined": mean.defined,
            "undefined": mean.undefined,
        }
        for name, mean in means.items()
    }


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers with four decimals; None where a number does not exist."""
    return {
        name: _rounded(value, 4) if isinstance(value, float) else value
        for name, value in values.items()
    }


def _rounded(value: float, digits: int) -> float | None:
    return round(value, digits) if math.isfinite(value) else None
