"""A predicted label map against a reference label map of the same scan."""

from __future__ import annotations

import math
from dataclasses import dataclass

from livertumor_cli.anatomy import Label
from livertumor_cli.arrays import BoolArray, LabelArray
from livertumor_cli.geometry import Geometry, bounding_box
from livertumor_cli.measure.agreement import (
    OverlapScores,
    SurfaceScores,
    overlap,
    surface_distances,
)
from livertumor_cli.measure.components import SCORING_CONNECTIVITY, number_lesions
from livertumor_cli.measure.detection import DETECTION_IOU, Detection, Matching, detect_lesions
from livertumor_cli.measure.lesion_agreement import (
    MatchedLesion,
    PredictedLesion,
    ReferenceLesion,
    list_predicted_lesions,
    list_reference_lesions,
    score_matches,
)


@dataclass(frozen=True, slots=True)
class StructureAgreement:
    """Agreement on one structure.

    Attributes:
        name: "liver" (all labels from 1 on), "tumor" or "vessel".
        overlap: Scores by voxel counts.
        surface: Distances of the surfaces.
        prediction_ml: Volume in the prediction.
        reference_ml: Volume in the reference.
    """

    name: str
    overlap: OverlapScores
    surface: SurfaceScores
    prediction_ml: float
    reference_ml: float


@dataclass(frozen=True, slots=True)
class Burden:
    """Tumor in percent of the liver, tumors and vessels included; NaN where there is no liver.

    Attributes:
        prediction_percent: Of the prediction.
        reference_percent: Of the reference.
    """

    prediction_percent: float
    reference_percent: float

    @property
    def error_percent(self) -> float:
        """Prediction minus reference, in percentage points; the LiTS code has the other sign."""
        return self.prediction_percent - self.reference_percent


@dataclass(frozen=True, slots=True)
class CaseAgreement:
    """A predicted label map against its reference.

    Attributes:
        structures: Liver, tumor and, if the reference has it, vessel.
        burden: Share of tumor in the liver.
        lesions: Reference lesions, largest first.
        predicted_lesions: Predicted lesions, largest first.
        detection_plain: One-to-one matching of 26-connected lesions.
        detection_lits: Matching of joined 6-connected lesions, as the LiTS challenge intends.
        detection_lits_any: The same where any common voxel is enough.
        matched_lesions: Agreement of the lesions that `detection_lits` matches.
    """

    structures: tuple[StructureAgreement, ...]
    burden: Burden
    lesions: tuple[ReferenceLesion, ...]
    predicted_lesions: tuple[PredictedLesion, ...]
    detection_plain: Detection
    detection_lits: Detection
    detection_lits_any: Detection
    matched_lesions: tuple[MatchedLesion, ...]


def compare_case(
    prediction: LabelArray, reference: LabelArray, *, geometry: Geometry
) -> CaseAgreement:
    """Compare two label maps on the same grid.

    A structure that the reference does not label at all cannot be told from one that is not there.
    For vessels it is the former: they are left out, and count as liver on both sides. For tumors
    it is the latter.

    Args:
        prediction: Values of `anatomy.Label`, shape (z, y, x).
        reference: Likewise, same shape.
        geometry: The rectangular grid of both.

    Raises:
        InputError: If tumors fall into more pieces than can be numbered.
        ValueError: If the shapes differ.
    """
    if not prediction.shape == reference.shape == geometry.shape:
        raise ValueError(f"shapes differ: {prediction.shape}, {reference.shape}, {geometry.shape}")
    # Beyond what either labels there is nothing to compare.
    box = bounding_box((prediction > 0) | (reference > 0))
    if box is not None:
        prediction, reference, geometry = prediction[box], reference[box], geometry.cropped(box)
    structures = _compare_structures(prediction, reference, geometry)
    volumes_ml = {part.name: (part.prediction_ml, part.reference_ml) for part in structures}
    burdens = (
        100 * tumor / liver if liver else math.nan
        for tumor, liver in zip(volumes_ml["tumor"], volumes_ml["liver"], strict=True)
    )
    tumors = prediction == Label.TUMOR, reference == Label.TUMOR
    return _with_lesions(structures, Burden(*burdens), tumors, geometry)


def _compare_structures(
    prediction: LabelArray, reference: LabelArray, geometry: Geometry
) -> tuple[StructureAgreement, ...]:
    pairs = {
        "liver": (prediction > 0, reference > 0),
        "tumor": (prediction == Label.TUMOR, reference == Label.TUMOR),
    }
    if (vessel := reference == Label.VESSEL).any():
        pairs["vessel"] = (prediction == Label.VESSEL, vessel)
    structures = []
    for name, masks in pairs.items():
        scores = overlap(*masks)
        structures.append(
            StructureAgreement(
                name,
                scores,
                surface_distances(*masks, spacing_mm=geometry.spacing_mm),
                scores.prediction_voxels * geometry.voxel_ml,
                scores.reference_voxels * geometry.voxel_ml,
            )
        )
    return tuple(structures)


def _with_lesions(
    structures: tuple[StructureAgreement, ...],
    burden: Burden,
    tumors: tuple[BoolArray, BoolArray],
    geometry: Geometry,
) -> CaseAgreement:
    """The whole agreement; tumors are the predicted mask and the reference's."""
    predicted, reference = (number_lesions(mask) for mask in tumors)
    plain = detect_lesions(predicted, reference, matching=Matching.PLAIN)
    listed = list_reference_lesions(tumors[0], reference, detection=plain, geometry=geometry)
    drawn = list_predicted_lesions(predicted, detection=plain, geometry=geometry)
    predicted, reference = (
        number_lesions(mask, connectivity=SCORING_CONNECTIVITY) for mask in tumors
    )
    lits, lits_any = (
        detect_lesions(predicted, reference, matching=Matching.LITS, iou=iou)
        for iou in (DETECTION_IOU, 0.0)
    )
    return CaseAgreement(
        structures=structures,
        burden=burden,
        lesions=listed,
        predicted_lesions=drawn,
        detection_plain=plain,
        detection_lits=lits,
        detection_lits_any=lits_any,
        matched_lesions=score_matches(predicted, reference, detection=lits, geometry=geometry),
    )
