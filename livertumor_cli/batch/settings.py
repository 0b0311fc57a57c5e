"""What a batch shall do with each case, and what of it decides whether a result is still valid."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

from livertumor_cli.recipes.recipe import RECIPE_FILE
from livertumor_cli.recipes.store import find_recipe
from livertumor_cli.segment_setup import SegmentOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSettings:
    """How every case is segmented and written.

    Attributes:
        segment: As for one scan.
        pdf: Whether `report.pdf` is written too.
        overwrite: Whether results of another recipe, options or version are replaced.
    """

    segment: SegmentOptions = field(default_factory=SegmentOptions)
    pdf: bool = False
    overwrite: bool = False

    def meaning(self) -> dict[str, Any]:
        """All that may change a result, as plain values.

        Device, engine and threads are not in it: a batch may go on upon another machine.

        Raises:
            ModelNotFoundError: If there is no such recipe.
        """
        recipe = find_recipe(self.segment.recipe)
        options = self.segment
        # The recipe's text holds the SHA-256 of its weights, which are checked when it is opened.
        text = (recipe.folder / RECIPE_FILE).read_bytes()
        return {
            "recipe": recipe.name,
            "recipe_sha256": hashlib.sha256(text).hexdigest(),
            "version": version("livertumor"),
            "precision": options.precision,
            "scales": options.scales,
            "resample_irregular": options.resample_irregular,
            "dicom": options.dicom,
            "seg_type": options.seg_type,
            "pdf": self.pdf,
        }


def settings_id(meaning: dict[str, Any]) -> str:
    """One short text for settings."""
    text = json.dumps(meaning, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:16]
