"""A predicted label map against a reference label map of the same scan."""

from __future__ import annotations

from dataclasses import dataclass

from scipy import ndimage

from livertumor_cli.anatomy import Label
from livertumor_cli.arrays import BoolArray, InstanceArray, LabelArray
from livertumor_cli.geometry import Geometry
from livertumor_cli.measure.agreement import (
    OverlapScores,
    SurfaceScores,
    overlap,
    surface_distances,
)
from livertumor_cli.measure.components import (
    LESION_CONNECTIVITY,
    SCORING_CONNECTIVITY,
    number_lesions,
)
from livertumor_cli.measure.detection import (
    Detection,
    Matching,
    SizeRecall,
    detect_lesions,
    found_fractions,
    recall_by_size,
)
from livertumor_cli.measure.diameters import axial_diameters
from livertumor_cli.measure.volumetry import volume_ml


@dataclass(frozen=True, slots=True)
class StructureAgreement:
    """Agreement on one structure.

    Attributes:
        name: "liver" (all labels from 1 on), "tumor" or "vessel".
        overlap: Scores by voxel counts.
        surface: Distances of the surfaces.
    """

    name: str
    overlap: OverlapScores
    surface: SurfaceScores


@dataclass(frozen=True, slots=True)
class ReferenceLesion:
    """One 26-connected lesion of the reference.

    Attributes:
        id: 1, 2, ... in order of falling volume.
        volume_ml: Its volume.
        longest_axial_diameter_mm: Its longest diameter in an axial slice.
        found_fraction: Share of its voxels that the predicted tumor covers.
        is_found: Whether it matches a predicted lesion one-to-one.
    """

    id: int
    volume_ml: float
    longest_axial_diameter_mm: float
    found_fraction: float
    is_found: bool


@dataclass(frozen=True, slots=True)
class CaseAgreement:
    """A predicted label map against its reference.

    Attributes:
        structures: Liver, tumor and, if the reference has it, vessel.
        lesions: Reference lesions, largest first.
        detection_plain: One-to-one matching of 26-connected lesions.
        detection_lits: Matching of joined 6-connected lesions, as the LiTS challenge intends.
        recall_by_size: Of the one-to-one matching.
    """

    structures: tuple[StructureAgreement, ...]
    lesions: tuple[ReferenceLesion, ...]
    detection_plain: Detection
    detection_lits: Detection
    recall_by_size: tuple[SizeRecall, ...]


def compare_case(
    prediction: LabelArray, reference: LabelArray, *, geometry: Geometry
) -> CaseAgreement:
    """Compare two label maps on the same grid.

    Args:
        prediction: Values of `anatomy.Label`, shape (z, y, x).
        reference: Likewise, same shape.
        geometry: The rectangular grid of both.

    Raises:
        ValueError: If the shapes differ.
    """
    if not prediction.shape == reference.shape == geometry.shape:
        raise ValueError(f"shapes differ: {prediction.shape}, {reference.shape}, {geometry.shape}")
    tumor, reference_tumor = prediction == Label.TUMOR, reference == Label.TUMOR
    pairs = {"liver": (prediction > 0, reference > 0), "tumor": (tumor, reference_tumor)}
    if (vessel := reference == Label.VESSEL).any():
        pairs["vessel"] = (prediction == Label.VESSEL, vessel)
    lesions, plain = _detect(tumor, reference_tumor, Matching.PLAIN, LESION_CONNECTIVITY)
    _, lits = _detect(tumor, reference_tumor, Matching.LITS, SCORING_CONNECTIVITY)
    listed = _reference_lesions(tumor, lesions, plain, geometry)
    diameters_mm = [lesion.longest_axial_diameter_mm for lesion in listed]
    return CaseAgreement(
        structures=tuple(
            StructureAgreement(
                name,
                overlap(predicted, expected),
                surface_distances(predicted, expected, spacing_mm=geometry.spacing_mm),
            )
            for name, (predicted, expected) in pairs.items()
        ),
        lesions=listed,
        detection_plain=plain,
        detection_lits=lits,
        recall_by_size=recall_by_size(plain, diameters_mm),
    )


def _detect(
    tumor: BoolArray, reference_tumor: BoolArray, matching: Matching, connectivity: int
) -> tuple[InstanceArray, Detection]:
    """The numbered reference lesions, and which of them were found."""
    lesions = number_lesions(reference_tumor, connectivity=connectivity)
    predicted = number_lesions(tumor, connectivity=connectivity)
    return lesions, detect_lesions(predicted, lesions, matching=matching)


def _reference_lesions(
    tumor: BoolArray, lesions: InstanceArray, detection: Detection, geometry: Geometry
) -> tuple[ReferenceLesion, ...]:
    listed = []
    fractions = found_fractions(tumor, lesions)
    for index, (z, y, x) in enumerate(ndimage.find_objects(lesions)):
        mask = lesions[z, y, x] == index + 1
        grid = geometry.cropped((z, y, x))
        listed.append(
            ReferenceLesion(
                id=index + 1,
                volume_ml=volume_ml(mask, geometry=grid),
                longest_axial_diameter_mm=axial_diameters(mask, geometry=grid).longest.length_mm,
                found_fraction=fractions[index],
                is_found=detection.found[index],
            )
        )
    return tuple(listed)
