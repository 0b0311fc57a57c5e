"""The structures the program segments: label values, names, colors, SNOMED CT codes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Label(IntEnum):
    """Values of `mask.nii.gz`. Liver means liver without tumor and vessel voxels."""

    BACKGROUND = 0
    LIVER = 1
    TUMOR = 2
    VESSEL = 3


@dataclass(frozen=True, slots=True)
class Structure:
    """How one label is called and shown.

    Attributes:
        name: Name in reports and file names.
        color_rgb: Color 0..255, chosen to stay distinct for color-blind readers (Okabe-Ito).
        snomed_code: SNOMED CT code of the type.
        snomed_meaning: Its meaning, as in the pydicom concept dictionary.
    """

    name: str
    color_rgb: tuple[int, int, int]
    snomed_code: str
    snomed_meaning: str


STRUCTURES: dict[Label, Structure] = {
    Label.LIVER: Structure("liver", (0, 158, 115), "10200004", "Liver"),
    Label.TUMOR: Structure("tumor", (230, 159, 0), "52988006", "Lesion"),
    Label.VESSEL: Structure("vessel", (86, 180, 233), "59820001", "Blood vessel"),
}

CLASS_NAMES: tuple[str, ...] = ("background", "liver", "tumor", "vessel")
"""Class names in the order of their label values; recipes name their channels with these."""

SEGMENT_NUMERALS: tuple[str, ...] = ("I", "II", "III", "IV", "V", "VI", "VII", "VIII")
"""Couinaud's names of the liver's segments, in the order of their values 1 to 8 in a map."""

SEGMENT_CLASSES: tuple[str, ...] = tuple(f"segment_{number}" for number in range(1, 9))
"""Class names of the segments, in the order of their values."""
