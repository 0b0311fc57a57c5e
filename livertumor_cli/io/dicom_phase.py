"""Contrast phase and kernel of a CT series, from the words that scanners and people write."""

from __future__ import annotations

import re
import unicodedata
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


_CONTRAST_NAMES = r"(contrast\w*|kontrast\w*|km|iv|inj\w*|mdc|pdc)"
_NOT_CONTRAST = (
    r"non? (contrast|enhanced)|non(contrast|enhanced)|un ?enhanced|without|w o|wo (contrast|iv)|"
    r"nati[vf]\w*|pre ?contr\w*|precontrast|plain|nc|vnc|nect|ncct|cminus|"
    rf"(ohne|sans|senza|sin|sem|zonder|bez|utan|uden|uten) {_CONTRAST_NAMES}|blanco|basale|"
    r"натив\w*|\w*(平扫|平掃|单纯|單純|単純|非造影)\w*"
)
_WITH_CONTRAST = (
    rf"(with|w|mit|avec|con|com|met|med|post) {_CONTRAST_NAMES}|post ?contr\w*|enhanced|cect|cplus|"
    r"\w*(造影|增强|增強)\w*"
)
_C_PLUS = r"(?<![^\W_])(C ?\+|\+ ?C(?![^\W_]))"
_C_MINUS = r"(?<![^\W_])C[-\u2212](?![^\W_])"
"""Short for with and without contrast agent; the signs are lost among words."""

_PHASE_WORDS = {
    Phase.NATIVE: _NOT_CONTRAST,
    Phase.ARTERIAL: (
        r"art|arteri\w*|artar\w*|hap|aortal?|angio\w*|cta|tetnic\w*|артери\w*|"
        r"\w*(动脉|動脈)\w*"
    ),
    Phase.PORTAL: (
        r"port|porta|portaal|portal\w*|porto\w*|pv|pvp|pve|hvp|"
        r"ven|veno\w*|venøs\w*|venoes\w*|vein\w*|veneu\w*|venen\w*|zyln\w*|wrotn\w*|"
        r"портал\w*|веноз\w*|\w*(门脉|門脈|静脉|静脈|靜脈)\w*"
    ),
    Phase.DELAYED: (
        r"delay\w*|late|tardi\w*|spat\w*|spaet\w*|equil\w*|gleichgewicht\w*|"
        r"excret\w*|urogra\w*|nephro\w*|nefro\w*|washout|"
        r"отсроч\w*|\w*(平衡|延迟|延遲|遅延|遲延)\w*"
    ),
}
"""In the languages that scanners are named in, without accents; Han words within longer ones."""

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
    injected = words - _ORAL_AGENT or re.search(
        rf"\b({_WITH_CONTRAST})\b", _words(about.description)
    )
    return Phase.CONTRAST if injected else Phase.UNSTATED


def _phase_in(text: str) -> Phase | None:
    """The phase a text names; None if it names none, CONTRAST if it names several."""
    words = _words(text)
    # "late arterial" is arterial, "late portal" portal: the word only moves them a little.
    words = re.sub(r"\b(late|early|spat\w*|fruh\w*) (?=art|port|ven)", "", words)
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
    """Lower-case words and numbers with single spaces, without accents.

    'PV_5mm' becomes 'pv 5 mm', and the 'C-' and '+C' of contrast agents become words.
    """
    text = re.sub(_C_PLUS, " cplus ", text, flags=re.IGNORECASE)
    # 'C-/C+' speaks of a study of both.
    minus = "" if " cplus " in text else " cminus "
    text = re.sub(_C_MINUS, minus, text, flags=re.IGNORECASE)
    plain = re.sub(r"[\u0300-\u036f]", "", unicodedata.normalize("NFKD", text.lower()))
    return " ".join(re.findall(r"[^\W\d_]+|\d+", plain))
