"""Which structure a named segment shows: segments of other programs carry codes and free names."""

from __future__ import annotations

from collections.abc import Iterable

from livertumor_cli.anatomy import STRUCTURES, Label
from livertumor_cli.errors import Reason, UnsupportedFormatError

_CODES: dict[Label, frozenset[str]] = {
    Label.LIVER: frozenset({STRUCTURES[Label.LIVER].snomed_code, "T-62000"}),
    Label.TUMOR: frozenset(
        {
            STRUCTURES[Label.TUMOR].snomed_code,
            *("108369006", "4147007", "86049000", "14799000", "M-01100", "M-03000", "M-8FFFF"),
        }
    ),
    Label.VESSEL: frozenset(
        {STRUCTURES[Label.VESSEL].snomed_code, "8993003", "32764006", "76015000", "T-40000"}
    ),
}
"""Codes of the type of a segment: SNOMED CT, and the older codes that some programs write."""

_WORDS: dict[Label, tuple[str, ...]] = {
    Label.TUMOR: ("tumor", "tumour", "lesion", "neoplasm", "metasta", "mass"),
    Label.VESSEL: ("vessel", "vein", "artery"),
    Label.LIVER: ("liver",),
}
"""In names of segments without such a code; in this order, as a liver lesion is no liver."""

PAINTED = (Label.LIVER, Label.VESSEL, Label.TUMOR)
"""Where segments overlap the later ones win: a liver is often drawn with all that is in it."""


def segment_label(code: str, names: Iterable[str], *, number: int, file_name: str) -> Label:
    """What a segment shows, by its code, else by its names.

    Args:
        code: Code of its type; may be empty or of no structure here.
        names: What it is called, the most specific first; the first is shown if it tells nothing.
        number: Of the segment, as its file counts.
        file_name: Of the file.

    Raises:
        UnsupportedFormatError: If neither tells.
    """
    for label, codes in _CODES.items():
        if code in codes:
            return label
    called = list(names)
    for text in called:
        for label, words in _WORDS.items():
            if any(word in text.lower() for word in words):
                return label
    raise UnsupportedFormatError(
        f"{file_name} has segment {number} ({called[0] or 'no name'}), which is neither liver, "
        "tumor nor vessel.",
        reason=Reason.UNSUPPORTED_FORMAT,
        hint="Export liver, tumors and vessels only, and name their segments so.",
    )
