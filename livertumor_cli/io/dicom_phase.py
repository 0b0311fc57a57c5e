"""Contrast phase and kernel of a CT series, from the words that scanners and people write."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum


class Phase(StrEnum):
    """When after the contrast agent a series was taken, the best for a liver first."""

    PORTAL = "portal"
    CONTRAST = "contrast"
    UNSTATED = ""
    DELAYED = "delayed"
    ARTERIAL = "arterial"
    NATIVE = "native"

    @property
    def rank(self) -> int:
        """0 for the phase the networks were made for, more for those that show less."""
        return list(Phase).index(self)


class Kernel(StrEnum):
    """How a reconstruction kernel treats noise and edges, the best for a liver first."""

    SOFT = "soft"
    UNKNOWN = ""
    SHARP = "sharp"

    @property
    def rank(self) -> int:
        """0 for soft tissue, 2 for lung and bone."""
        return list(Kernel).index(self)


@dataclass(frozen=True, slots=True)
class About:
    """What the files of a series say about it in words.

    Attributes:
        number: SeriesNumber; None if there is none.
        description: SeriesDescription.
        protocol: ProtocolName, often of the whole study.
        agent: ContrastBolusAgent.
        delay_s: Seconds from the start of the injection to the image; None if not stated.
        kernel: ConvolutionKernel.
        image_type: ImageType and frame type, upper case.
        acquisition: AcquisitionNumber; None if there is none.
    """

    number: int | None = None
    description: str = ""
    protocol: str = ""
    agent: str = ""
    delay_s: float | None = None
    kernel: str = ""
    image_type: frozenset[str] = frozenset()
    acquisition: int | None = None


_NOT_CONTRAST = (
    r"non? (contrast|enhanced)|non(contrast|enhanced)|un ?enhanced|without|w o|wo (contrast|iv)|"
    r"nati[vf]\w*|pre ?contr\w*|precontrast|plain|nc|nect|ncct|"
    r"(ohne|sans|senza|sin|zonder|bez) (km|kontrast\w*|contrast\w*|iv|inj\w*|mdc)|blanco|basale"
)
_PHASE_WORDS = {
    Phase.NATIVE: _NOT_CONTRAST,
    Phase.ARTERIAL: r"art|arteri\w*|hap|aortal?|angio\w*|cta",
    Phase.PORTAL: (
        r"port|porta|portal\w*|porto\w*|pv|pvp|pve|hvp|"
        r"ven|veno\w*|venös\w*|venoes\w*|vein\w*|venen\w*"
    ),
    Phase.DELAYED: (
        r"delay\w*|late|tardi\w*|spät\w*|spaet\w*|equil\w*|gleichgewicht\w*|"
        r"excret\w*|urogra\w*|nephro\w*|washout"
    ),
}
_NO_AGENT = {"no", "none", "nein", "keine", "aucun", "nessuno"}
_ORAL_AGENT = {"oral", "po", "water", "rectal"}
"""In the gut, not in the vessels."""

_DELAYS_S = ((15, 50, Phase.ARTERIAL), (50, 110, Phase.PORTAL), (110, 1800, Phase.DELAYED))

_SOFT_NAMES = r"soft\w*|stan?d\w*|detail|body|abd\w*|[abc]|fc(0?\d|1\d)"
_SHARP_NAMES = r"lung\w*|bone\w*|edge|ultra|hd|chest|[defly]|y[a-e]|fc([3589]\d)"
_SHARP_WORDS = r"lung\w*|bone\w*|knochen\w*|lunge\w*|poumon\w*|osso\w*|polmon\w*|pulm\w*"
_SHARP_FROM = 48
"""Siemens numbers its kernels by sharpness: B30, Br40 and I31 are soft, B60 and Br59 are not."""


def phase_of(about: About) -> Phase:
    """The contrast phase a series states.

    The series' own words count most, then the time since the injection, then the contrast agent
    and the protocol, which often speaks of the whole study.

    Args:
        about: What its files say.
    """
    own = _phase_in(about.description)
    if own is not None:
        return own
    if about.delay_s is not None:
        return _phase_at(about.delay_s)
    for text in (about.agent, about.protocol):
        found = _phase_in(text)
        if found is not None:
            return found
    words = set(_words(about.agent).split())
    if words & _NO_AGENT:
        return Phase.NATIVE
    return Phase.CONTRAST if words - _ORAL_AGENT else Phase.UNSTATED


def _phase_in(text: str) -> Phase | None:
    """The phase a text names; None if it names none, CONTRAST if it names several."""
    words = _words(text)
    # "late arterial" is arterial, "late portal" portal: the word only moves them a little.
    words = re.sub(r"\b(late|early|spät\w*|früh\w*) (?=art|port|ven)", "", words)
    found = [
        phase for phase, pattern in _PHASE_WORDS.items() if re.search(rf"\b({pattern})\b", words)
    ]
    if len(found) > 1:
        return Phase.CONTRAST
    if found:
        return found[0]
    seconds = re.search(r"\b(\d{2,3}) (s|sec|sek|secs|seconds)\b", words)
    return _phase_at(float(seconds[1])) if seconds else None


def _phase_at(delay_s: float) -> Phase:
    for low, high, phase in _DELAYS_S:
        if low <= delay_s < high:
            return phase
    return Phase.CONTRAST


def kernel_of(about: About) -> Kernel:
    """Whether a series was reconstructed for soft tissue or for lung and bone.

    Args:
        about: What its files say.
    """
    name = about.kernel.split("\\")[0].strip().lower()
    numbered = re.match(r"[bdhijuqt][a-z]?(\d\d)", name)
    if numbered:
        return Kernel.SHARP if int(numbered[1]) >= _SHARP_FROM else Kernel.SOFT
    if re.fullmatch(_SHARP_NAMES, name):
        return Kernel.SHARP
    if re.fullmatch(_SOFT_NAMES, name):
        return Kernel.SOFT
    if re.search(rf"\b({_SHARP_WORDS})\b", _words(about.description)):
        return Kernel.SHARP
    return Kernel.UNKNOWN


def _words(text: str) -> str:
    """Lower-case words and numbers with single spaces: 'PV_5mm' becomes 'pv 5 mm'."""
    return " ".join(re.findall(r"[^\W\d_]+|\d+", text.lower()))
