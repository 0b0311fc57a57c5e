"""Who tells the Couinaud segments of a liver that a mask draws: a network, a file, or nobody."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np

from livertumor_cli.anatomy import Label
from livertumor_cli.arrays import LabelArray
from livertumor_cli.errors import ConfigError, EmptyMaskError, ModelError
from livertumor_cli.file_digest import sha256_of
from livertumor_cli.inference.cascade import SMALLEST_LIVER_ML
from livertumor_cli.inference.drawn_liver import drawn_liver
from livertumor_cli.inference.segments import find_segments
from livertumor_cli.io.mask_in import read_segments
from livertumor_cli.io.place import require_there
from livertumor_cli.reading import Progress
from livertumor_cli.recipes.recipe import StageRole
from livertumor_cli.report.run_record import SegmentsBy
from livertumor_cli.segment_setup import ChosenNetworks, SegmentOptions, choose_networks
from livertumor_cli.stopwatch import StopWatch
from livertumor_cli.volume import Volume, text_name

NO_NETWORK = "The labels come from a file; no network ran."

LEAST_UNTOLD = 0.01
"""Share of the liver without a segment in a file that is worth a sentence: an outline that was
corrected leaves a rim of less."""

_WITHOUT = "--segments none measures without Couinaud segments."


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldSegments:
    """The segments, and what a report must say about where they come from.

    Attributes:
        labels: 1 to 8 in the liver, 0 elsewhere and where nobody tells, shape of the scan; None
            without a map.
        by: Who told them.
        origin: The same in words, to stand in the report's title; empty where nobody did.
        license: Of the weights.
        files: SHA-256 by name of the file that they come from.
        device: Of the network.
        engine: Of the network.
        precision: Of the network.
        flags: Sentences the reader must see.
    """

    labels: LabelArray | None = None
    by: SegmentsBy = SegmentsBy.NETWORK
    origin: str = ""
    license: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    device: str = ""
    engine: str = ""
    precision: str = ""
    flags: tuple[str, ...] = (NO_NETWORK,)


class SegmentsTeller(Protocol):
    """Tells the segments of a liver that was drawn before."""

    def tell(
        self, volume: Volume, labels: LabelArray, *, progress: Progress, watch: StopWatch
    ) -> ToldSegments:
        """The segments.

        Args:
            volume: The scan.
            labels: `anatomy.Label` values on its grid.
            progress: Told what is going on.
            watch: Books the steps.

        Raises:
            LiverTumorError: Of the class that fits, if they cannot be told.
        """
        ...


def choose_teller(source: SegmentsBy | Path | None, options: SegmentOptions) -> SegmentsTeller:
    """Find who tells the segments, before a scan that may take minutes to read.

    Args:
        source: The recipe's network, a file, or nobody.
        options: Recipe and device.

    Raises:
        ConfigError: If the recipe has no stage for the segments.
        ModelError: If the recipe is missing or damaged.
        BackendError: If the device asked for cannot be had.
        InputError: If there is no such file.
    """
    if source is None:
        return _Nobody()
    if isinstance(source, Path):
        require_there(source)
        return _File(source)
    try:
        chosen = choose_networks(options)
    except ModelError as error:
        raise _with_way_out(error) from error
    if not chosen.recipe.has_stage(StageRole.SEGMENTS):
        raise ConfigError(
            f"the recipe '{chosen.recipe.name}' has no stage that tells Couinaud segments.",
            hint=f"Choose another with --recipe; {_WITHOUT}",
        )
    return _Network(chosen)


@dataclass(frozen=True, slots=True)
class _Nobody:
    def tell(
        self, volume: Volume, labels: LabelArray, *, progress: Progress, watch: StopWatch
    ) -> ToldSegments:
        return ToldSegments()


@dataclass(frozen=True, slots=True)
class _File:
    path: Path

    def tell(
        self, volume: Volume, labels: LabelArray, *, progress: Progress, watch: StopWatch
    ) -> ToldSegments:
        placed = read_segments(self.path, scan=volume.geometry)
        segments = np.asarray(placed.label_map.labels, dtype=np.uint8)
        liver = labels > 0
        segments[~liver] = 0
        told, whole = np.count_nonzero(segments), np.count_nonzero(liver)
        name = text_name(self.path)
        if not told:
            raise EmptyMaskError(
                f"{name} has no segment inside the liver that the mask marks.",
                hint="Check that both were drawn on this scan.",
            )
        watch.lap("read")
        flags = ["The labels and the Couinaud segments come from files; no network ran."]
        if whole - told >= LEAST_UNTOLD * whole:
            untold = 100 * (whole - told) / whole
            flags.append(f"{untold:.0f} % of the liver have no segment in {name}.")
        if placed.note:
            flags.append(placed.note)
        return ToldSegments(
            labels=segments,
            by=SegmentsBy.FILE,
            origin="Couinaud segments read from a file",
            files={name: sha256_of(self.path)},
            flags=tuple(flags),
        )


@dataclass(frozen=True, slots=True)
class _Network:
    chosen: ChosenNetworks

    def tell(
        self, volume: Volume, labels: LabelArray, *, progress: Progress, watch: StopWatch
    ) -> ToldSegments:
        few = f"The mask has less than {SMALLEST_LIVER_ML:.0f} ml of liver: no Couinaud segments."
        alone_ml = np.count_nonzero(labels == Label.LIVER) * volume.geometry.voxel_ml
        if alone_ml < SMALLEST_LIVER_ML:
            return ToldSegments(flags=(NO_NETWORK, few))
        liver = drawn_liver(labels, volume.geometry)
        if np.count_nonzero(liver.mask) * liver.geometry.voxel_ml < SMALLEST_LIVER_ML:
            return ToldSegments(flags=(NO_NETWORK, few))
        recipe = self.chosen.recipe
        stage = recipe.stage(StageRole.SEGMENTS)
        progress("open networks", 0, 0)
        try:
            engine = self.chosen.open(only=(StageRole.SEGMENTS,)).engines[StageRole.SEGMENTS]
        except ModelError as error:
            raise _with_way_out(error) from error
        watch.lap("open_networks")
        step = partial(progress, "segments")
        segments = find_segments(volume, labels, liver=liver, network=(stage, engine), on_step=step)
        watch.lap("find_segments")
        name = f"{recipe.name} {recipe.version}"
        return ToldSegments(
            labels=segments,
            origin=f"Couinaud segments by the recipe {name}",
            license=recipe.license,
            files={stage.file: stage.sha256},
            device=str(engine.info.device),
            engine=engine.info.engine,
            precision=str(engine.info.precision),
            flags=(f"The labels come from a file; the recipe {name} told the Couinaud segments.",),
        )


def _with_way_out(error: ModelError) -> ModelError:
    """The same error, whose hint also says that the segments can be left out."""
    return type(error)(error.message, hint=f"{error.hint} {_WITHOUT}".strip())
