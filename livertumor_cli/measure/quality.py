"""What a reader must know about scan and result before trusting the numbers, as sentences."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from livertumor_cli.anatomy import Label
from livertumor_cli.arrays import LabelArray
from livertumor_cli.findings import CaseFindings
from livertumor_cli.geometry import Geometry, bounding_box
from livertumor_cli.measure.phase import phase_sentence

THICK_SLICE_MM = 5.0
"""RECIST 1.1 measures on slices of at most this thickness."""

PLAUSIBLE_LIVER_ML = (500.0, 4000.0)
"""Livers of adults; outside it the mask, the voxel size or the patient is unusual."""

MOST_TUMOR = 0.5
"""Share of the liver above which tumor is rare, and swapped labels are likelier."""

SMALLEST_PIECE_ML = 1.0
"""Smaller pieces of liver are crumbs of its outline."""

LOW_PROBABILITY = 0.6
"""Mean tumor probability below which a lesion is hardly more likely than not."""

REDUCED_PRECISIONS = ("bf16", "fp16")

_NAMED = 10


@dataclass(frozen=True, slots=True)
class Pieces:
    """The 6-connected pieces of liver, tumor and vessel together.

    Attributes:
        count: Pieces of at least SMALLEST_PIECE_ML.
        tumor_outside_ml: Tumor in pieces without a voxel of liver.
    """

    count: int
    tumor_outside_ml: float


def quality_flags(
    findings: CaseFindings, labels: LabelArray, *, geometry: Geometry, precision: str = ""
) -> tuple[str, ...]:
    """Sentences on what is unusual; none where nothing is.

    Args:
        findings: The measurements.
        labels: Values of `anatomy.Label`, shape (z, y, x).
        geometry: Grid of the labels.
        precision: Arithmetic of the networks, such as "f32" or "bf16"; empty if none ran.
    """
    pieces = pieces_of(labels, geometry=geometry)
    return (
        *_slice_flags(geometry),
        *_liver_flags(findings, labels, pieces),
        *_outside_flags(pieces),
        *_phase_flags(findings),
        *_probability_flags(findings),
        *_precision_flags(precision),
    )


def _slice_flags(geometry: Geometry) -> list[str]:
    thickest_mm = max(geometry.spacing_mm)
    if thickest_mm <= THICK_SLICE_MM:
        return []
    return [f"Slices lie {thickest_mm:.1f} mm apart: small lesions can be missed."]


def _liver_flags(findings: CaseFindings, labels: LabelArray, pieces: Pieces) -> list[str]:
    """Cut off, of unusual size, or in pieces."""
    flags = []
    faces = [labels.take(end, axis=axis) for axis in range(3) for end in (0, -1)]
    is_cut = any((face > 0).any() for face in faces)
    if is_cut:
        flags.append("The liver reaches the border of the scan: volumes are lower bounds.")
    volume_ml = findings.liver_volume_ml
    lowest, highest = PLAUSIBLE_LIVER_ML
    if volume_ml > highest or (volume_ml < lowest and not is_cut):
        flags.append(
            f"A liver of {volume_ml:.0f} ml is unusual ({lowest:.0f} to {highest:.0f} ml): "
            "check the mask."
        )
    if findings.tumor_volume_ml > MOST_TUMOR * volume_ml:
        flags.append(
            f"Tumors take {100 * findings.tumor_volume_ml / volume_ml:.0f} % of the liver: check "
            "that tumor and liver were not labeled the other way round."
        )
    if pieces.count > 1:
        flags.append(
            f"The liver mask has {pieces.count} pieces of at least {SMALLEST_PIECE_ML:.0f} ml: "
            "check it."
        )
    return flags


def _outside_flags(pieces: Pieces) -> list[str]:
    """Tumors that no voxel of liver joins, as masks drawn by hand may have."""
    outside_ml = pieces.tumor_outside_ml
    if not outside_ml:
        return []
    return [f"{outside_ml:.2f} ml of tumor lie outside the liver's label: check the mask."]


def pieces_of(labels: LabelArray, *, geometry: Geometry) -> Pieces:
    """Into how many pieces a liver falls, and how much tumor lies in pieces of its own.

    Args:
        labels: Values of `anatomy.Label`, shape (z, y, x).
        geometry: Grid of the labels.
    """
    box = bounding_box(labels)
    if box is None:
        return Pieces(0, 0.0)
    inner = labels[box]
    components, count = ndimage.label(inner > 0)
    if count == 1 and Label.LIVER in inner:
        return Pieces(1, 0.0)  # nearly always: nothing to count
    kinds = len(Label)
    pairs = np.bincount((components * kinds + inner).ravel(), minlength=(1 + count) * kinds)
    voxels = pairs.reshape(1 + count, kinds)[1:]  # of each piece and label
    large = voxels.sum(axis=1) * geometry.voxel_ml >= SMALLEST_PIECE_ML
    alone = voxels[voxels[:, Label.LIVER] == 0, Label.TUMOR]
    return Pieces(
        count=1 if count == 1 else int(large.sum()),
        tumor_outside_ml=float(alone.sum()) * geometry.voxel_ml,
    )


def _phase_flags(findings: CaseFindings) -> list[str]:
    sentence = phase_sentence(findings)
    return [] if sentence is None else [sentence]


def _probability_flags(findings: CaseFindings) -> list[str]:
    doubtful = [
        str(lesion.id)
        for lesion in findings.lesions
        if lesion.mean_probability is not None and lesion.mean_probability < LOW_PROBABILITY
    ]
    if not doubtful:
        return []
    names = ", ".join(doubtful[:_NAMED])
    more = f" and {len(doubtful) - _NAMED} more" if len(doubtful) > _NAMED else ""
    return [f"Mean tumor probability below {LOW_PROBABILITY:.1f} in lesion {names}{more}."]


def _precision_flags(precision: str) -> list[str]:
    used = [name for name in REDUCED_PRECISIONS if name in precision]
    if not used:
        return []
    return [
        f"The networks ran in {' and '.join(used)}; --precision f32 computes in full precision."
    ]
