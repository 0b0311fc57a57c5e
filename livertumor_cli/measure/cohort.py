"""Agreement over many cases: means of what is defined, and figures of all cases together.

A score that does not exist in a case, such as a distance to an empty mask, is left out of its mean
and counted beside it; the LiTS code lets 9001 into the mean. Empty masks otherwise count as
`agreement` states it: a case in which neither side has a tumor has a tumor Dice of 1.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise

import numpy as np

from livertumor_cli.measure.agreement import OverlapScores, SurfaceScores
from livertumor_cli.measure.comparison import CaseAgreement, StructureAgreement
from livertumor_cli.measure.detection import Detection
from livertumor_cli.measure.lesion_agreement import (
    SIZE_LIMITS_MM,
    MatchedLesion,
    SizeClass,
    classes_by_size,
)

SCORES = ("dice", "jaccard", "voe", "rvd", "rvd_lits", "assd_mm", "rmsd_mm", "hd95_mm", "msd_mm")
"""What is averaged over cases and over matched lesions."""

STRUCTURES = ("liver", "tumor", "vessel")

NO_TUMOR = (0.0, 0.0)
"""Limits of the class of cases without a reference tumor."""


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean over the cases, or lesions, in which a score exists.

    Attributes:
        value: The mean; NaN where the score exists in none.
        defined: How many have the score.
        undefined: How many have not.
    """

    value: float
    defined: int
    undefined: int


@dataclass(frozen=True, slots=True)
class StructureSummary:
    """One structure over all cases whose reference labels it.

    Attributes:
        name: "liver", "tumor" or "vessel".
        cases: Number of those cases.
        dice_global: Dice of the voxels of all of them together; NaN where there is no voxel.
        means: By the names of SCORES.
    """

    name: str
    cases: int
    dice_global: float
    means: dict[str, Mean]


@dataclass(frozen=True, slots=True)
class DetectionSummary:
    """Lesions of all cases, counted together.

    Attributes:
        true_positives: Reference lesions found.
        false_positives: Predicted lesions that match none.
        false_negatives: Reference lesions not found.
        recall: Share of the reference lesions found; NaN without one.
        precision: Share of the predicted lesions that match; NaN without one.
    """

    true_positives: int
    false_positives: int
    false_negatives: int
    recall: float
    precision: float


@dataclass(frozen=True, slots=True)
class BurdenSummary:
    """Errors of the tumor burden, prediction minus reference, in percentage points.

    Attributes:
        rmse_percent: Root of their mean square.
        max_absolute_percent: The largest error whatever its sign.
        highest_percent: The largest overestimate, or least underestimate.
        lowest_percent: The reverse; the LiTS code reports this one, with the other sign, as
            maximum.
        defined: Cases with a liver on both sides.
        undefined: Cases without.
    """

    rmse_percent: float
    max_absolute_percent: float
    highest_percent: float
    lowest_percent: float
    defined: int
    undefined: int


@dataclass(frozen=True, slots=True)
class CaseClass:
    """Cases whose largest reference tumor has a longest axial diameter between two limits.

    Attributes:
        from_mm: Diameters from this on ...
        below_mm: ... and below this; both 0 for the cases without tumor.
        cases: How many.
        dice: Mean Dice by structure.
    """

    from_mm: float
    below_mm: float
    cases: int
    dice: dict[str, Mean]


@dataclass(frozen=True, slots=True)
class CohortAgreement:
    """Many cases against their references.

    Attributes:
        cases: How many.
        structures: Liver, tumor and vessel, as far as any reference has them.
        burden: Share of tumor in the liver.
        detection_plain: One-to-one matching of 26-connected lesions, IoU above 0.5.
        detection_lits: Matching of joined 6-connected lesions, IoU above 0.5.
        detection_lits_any: The same, where any common voxel is enough.
        matched_lesions: Means over the lesions that `detection_lits` matches, of all cases.
        lesions_by_size: Detection by the size of the lesions.
        cases_by_largest_tumor: Dice by the size of the largest tumor.
    """

    cases: int
    structures: tuple[StructureSummary, ...]
    burden: BurdenSummary
    detection_plain: DetectionSummary
    detection_lits: DetectionSummary
    detection_lits_any: DetectionSummary
    matched_lesions: dict[str, Mean]
    lesions_by_size: tuple[SizeClass, ...]
    cases_by_largest_tumor: tuple[CaseClass, ...]


def summarize(cases: Sequence[CaseAgreement]) -> CohortAgreement:
    """Bring the agreement of many cases together.

    Args:
        cases: At least one.

    Raises:
        ValueError: If there is none.
    """
    if not cases:
        raise ValueError("there is no case")
    return CohortAgreement(
        cases=len(cases),
        structures=_structures(cases),
        burden=_burden([case.burden.error_percent for case in cases]),
        detection_plain=_detection([case.detection_plain for case in cases]),
        detection_lits=_detection([case.detection_lits for case in cases]),
        detection_lits_any=_detection([case.detection_lits_any for case in cases]),
        matched_lesions=_means([one for case in cases for one in case.matched_lesions]),
        lesions_by_size=classes_by_size(
            [lesion for case in cases for lesion in case.lesions],
            [lesion for case in cases for lesion in case.predicted_lesions],
        ),
        cases_by_largest_tumor=_by_largest_tumor(cases),
    )


def scores_of(part: StructureAgreement | MatchedLesion) -> dict[str, float]:
    """The scores of SCORES by name."""
    values: dict[str, float] = {}
    for scores, kind in ((part.overlap, OverlapScores), (part.surface, SurfaceScores)):
        values.update({field.name: getattr(scores, field.name) for field in fields(kind)})
    return {name: values[name] for name in SCORES}


def mean_of_defined(values: Iterable[float]) -> Mean:
    """Mean of the values that are numbers, and how many are and are not."""
    array = np.array(list(values), dtype=np.float64)
    known = array[~np.isnan(array)]
    value = float(known.mean()) if known.size else math.nan
    return Mean(value, int(known.size), int(array.size - known.size))


def _means(parts: Sequence[StructureAgreement | MatchedLesion]) -> dict[str, Mean]:
    rows = [scores_of(part) for part in parts]
    return {name: mean_of_defined(row[name] for row in rows) for name in SCORES}


def _structures(cases: Sequence[CaseAgreement]) -> tuple[StructureSummary, ...]:
    summaries = []
    for name in STRUCTURES:
        parts = [part for case in cases for part in case.structures if part.name == name]
        if not parts:
            continue
        common = sum(part.overlap.common_voxels for part in parts)
        both = sum(part.overlap.prediction_voxels + part.overlap.reference_voxels for part in parts)
        dice = 2 * common / both if both else math.nan
        summaries.append(StructureSummary(name, len(parts), dice, _means(parts)))
    return tuple(summaries)


def _burden(errors_percent: Sequence[float]) -> BurdenSummary:
    errors = np.array(errors_percent, dtype=np.float64)
    known = errors[~np.isnan(errors)]
    if not known.size:
        return BurdenSummary(math.nan, math.nan, math.nan, math.nan, 0, int(errors.size))
    return BurdenSummary(
        rmse_percent=float(np.sqrt(np.mean(known**2))),
        max_absolute_percent=float(np.abs(known).max()),
        highest_percent=float(known.max()),
        lowest_percent=float(known.min()),
        defined=int(known.size),
        undefined=int(errors.size - known.size),
    )


def _detection(detections: Sequence[Detection]) -> DetectionSummary:
    # Strung together they are one detection, and recall and precision need no second definition.
    whole = Detection(
        found=tuple(found for one in detections for found in one.found),
        right=tuple(right for one in detections for right in one.right),
    )
    return DetectionSummary(
        whole.true_positives,
        whole.false_positives,
        whole.false_negatives,
        whole.recall,
        whole.precision,
    )


def _by_largest_tumor(cases: Sequence[CaseAgreement]) -> tuple[CaseClass, ...]:
    groups = []
    for limits in (NO_TUMOR, *pairwise(SIZE_LIMITS_MM)):
        chosen = [case for case in cases if _class_of(case) == limits]
        dice = {
            name: mean_of_defined(
                part.overlap.dice
                for case in chosen
                for part in case.structures
                if part.name == name
            )
            for name in STRUCTURES
        }
        groups.append(CaseClass(*limits, len(chosen), dice))
    return tuple(groups)


def _class_of(case: CaseAgreement) -> tuple[float, float]:
    """The limits between which the largest reference tumor lies."""
    if not case.lesions:
        return NO_TUMOR
    size_mm = max(lesion.longest_axial_diameter_mm for lesion in case.lesions)
    return next((low, high) for low, high in pairwise(SIZE_LIMITS_MM) if low <= size_mm < high)
