"""What other programs call liver, tumor and vessels."""

from __future__ import annotations

import re
from collections.abc import Sequence

from livertumor_cli.anatomy import CLASS_NAMES
from livertumor_cli.errors import ModelError

_WORDS: dict[str, frozenset[str]] = {
    "background": frozenset({"background", "bg", "other"}),
    "liver": frozenset({"liver", "liver parenchyma", "parenchyma", "whole liver"}),
    "tumor": frozenset(
        {
            *("tumor", "tumour", "lesion", "cancer", "metastasis", "hcc", "neoplasm"),
            *("tumors", "tumours", "lesions", "cancers", "metastases", "hepatic tumor"),
            *("liver tumor", "liver tumour", "liver lesion", "liver cancer", "hepatic lesion"),
            *("liver tumors", "liver tumours", "liver lesions", "hepatic tumour", "mass"),
        }
    ),
    "vessel": frozenset(
        {
            *("vessel", "vessels", "liver vessel", "liver vessels", "intrahepatic vessels"),
            *("hepatic vessel", "hepatic vessels", "portal vein", "hepatic vein"),
            *("hepatic veins", "portal and hepatic veins", "portal veins"),
        }
    ),
}


def class_of(label: str) -> str | None:
    """The class of `anatomy.CLASS_NAMES` that a label of another program means, if any."""
    words = " ".join(re.split(r"[\s_\-]+", label.strip().lower()))
    return next((name for name in CLASS_NAMES if words in _WORDS[name]), None)


def channel_classes(labels: Sequence[str], *, where: str) -> tuple[str, ...]:
    """The class of every channel; what is none of ours counts as background.

    Args:
        labels: Names of the channels in their order.
        where: File that names them.

    Raises:
        ModelError: If neither liver nor tumor nor vessels are among them.
    """
    classes = tuple(class_of(label) or CLASS_NAMES[0] for label in labels)
    if set(classes) <= {CLASS_NAMES[0]}:
        raise ModelError(
            f"{where} names neither liver nor tumor nor vessels, but: {', '.join(labels)}.",
            hint="Call the labels liver, tumor and vessel there.",
        )
    return classes
