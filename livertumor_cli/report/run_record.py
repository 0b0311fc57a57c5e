"""What a run hands to the report besides the scan and the findings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class SegmentsBy(StrEnum):
    """Who told the Couinaud segments."""

    NETWORK = "network"
    FILE = "file"


@dataclass(frozen=True, slots=True)
class RecipeIdentity:
    """Which recipe made a result.

    Attributes:
        name: Name of the recipe, such as "uca-net".
        version: Its version.
        title: Its one-line title.
        license: License of its weights.
        files: SHA-256 (hexadecimal) of each weight file by file name.
    """

    name: str
    version: str
    title: str
    license: str
    files: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunRecord:
    """How a result was made.

    Attributes:
        recipe: The recipe and its weight files.
        device: What the networks ran on, such as "cuda" or "cpu".
        engine: Name and version of the inference engine.
        precision: Arithmetic of the networks, such as "fp32" or "bf16".
        scales: Scales whose results were averaged.
        timings_s: Seconds by stage, in the order they ran.
        peak_memory_mb: Largest memory use of the process in MB; None if not known.
        flags: Sentences the reader of the result must see.
        labels_from_file: Whether liver, tumors and vessels were read, and drawn by no network here.
        segments_by: Who told the Couinaud segments, where there are any.
    """

    recipe: RecipeIdentity
    device: str
    engine: str
    precision: str
    scales: tuple[float, ...] = (1.0,)
    timings_s: Mapping[str, float] = field(default_factory=dict)
    peak_memory_mb: float | None = None
    flags: tuple[str, ...] = ()
    labels_from_file: bool = False
    segments_by: SegmentsBy = SegmentsBy.NETWORK
