"""Which structure a named segment shows: segments of other programs carry codes and free names."""

from __future__ import annotations

import re
import unicodedata
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

_WORDS: dict[Label, dict[str, tuple[str, ...]]] = {
    Label.TUMOR: {
        "English": (
            *("tumor", "tumour", "lesion", "neoplas", "metasta", "mass", "nodul"),
            *("cancer", "carcino", " hcc "),
        ),
        "German": ("lasion", "laesion", "raumforderung", "herd ", "herde ", "karzinom", "krebs"),
        "French": ("tumeur",),
        "Spanish": (" masa ", " masas "),
        "Italian": ("cancro",),
        "Portuguese": ("lesao", "lesoes"),
        "Dutch": ("lesie", "laesie", "uitzaaiing", "kanker"),
    },
    Label.VESSEL: {
        "English": ("vessel", "vein", "artery", "arteries"),
        "German": ("gefass", "gefaess", "vene ", "venen ", "pfortader", "arterie ", "arterien "),
        "French": ("vaisseau", "artere"),
        "Spanish": (" vaso ", " vasos ", " vena ", " venas ", " arteria ", " arterias "),
        "Italian": (" vasi ", " vene "),
        "Portuguese": (" veia ", " veias "),
        "Dutch": ("bloedvat", " vat ", "vaten ", "ader ", "aders ", "slagader"),
    },
    Label.LIVER: {
        "English": ("liver",),
        "German": ("leber",),
        "French": (" foie ",),
        "Spanish": ("higado",),
        "Italian": ("fegato",),
        "Portuguese": ("figado",),
        "Dutch": ("lever",),
        "Latin": (" hepar ",),
    },
}
"""In names of segments without such a code; in this order, as a liver lesion is no liver. As
`_plain` writes them: a space is the border of a word. A language lacks what one above it has."""

_WITHOUT = re.compile(r" (?:without|w o|excluding|minus|ohne|sans|sin|senza|sem|zonder) ")
"""What follows is what a segment does not show, as in "liver without tumor"."""

_CAVA = re.compile(r" (?:ven\w+|vein\w*|veia|holle) cav[ae] | holle ader | cav\w+ vein |hohlvene")
"""No vessel of the liver, whose volume would grow by it."""

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
        shown = _named(_plain(text))
        if shown is not None:
            return shown
    raise UnsupportedFormatError(
        f"{file_name} has segment {number} ({called[0] or 'no name'}), which is neither liver, "
        "tumor nor vessel.",
        reason=Reason.UNSUPPORTED_FORMAT,
        hint="Export liver, tumors and vessels only, and name their segments so.",
    )


def _named(name: str) -> Label | None:
    """The structure of a plain name; None where it is none, or a vessel outside the liver."""
    shown = _WITHOUT.split(name)[0] + " "
    for label, languages in _WORDS.items():
        if any(word in shown for words in languages.values() for word in words):
            return None if label is Label.VESSEL and _CAVA.search(shown) else label
    return None


def _plain(text: str) -> str:
    """Small letters without accents, one space between words and one at either end."""
    letters = unicodedata.normalize("NFKD", text.casefold())
    kept = (letter for letter in letters if not unicodedata.combining(letter))
    words = "".join(letter if letter.isalpha() else " " for letter in kept).split()
    return f" {' '.join(words)} "
