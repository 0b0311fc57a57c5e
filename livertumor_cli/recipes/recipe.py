"""A recipe: a paper's cascade as data, read from `recipe.toml` and written back by the exporter."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from livertumor_cli.anatomy import SEGMENT_CLASSES
from livertumor_cli.errors import ModelNotFoundError, RecipeError
from livertumor_cli.recipes.stage import (
    Activation,
    CpuPrecision,
    CudaPrecision,
    Fusion,
    Normalization,
    Stage,
    StageRole,
    Weighting,
)
from livertumor_cli.recipes.stage_table import read_stage, stage_table
from livertumor_cli.recipes.table import Table, toml_lines

__all__ = [
    "RECIPE_FILE",
    "SCHEMA",
    "Activation",
    "CpuPrecision",
    "CudaPrecision",
    "Fusion",
    "Normalization",
    "Recipe",
    "Scores",
    "Stage",
    "StageRole",
    "Weighting",
    "load_recipe",
    "parse_recipe",
    "to_toml",
]

SCHEMA = 1
"""Version of the file's form; a reader refuses every other."""

RECIPE_FILE = "recipe.toml"

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_TEXT_KEYS = ("name", "title", "version", "citation", "training_data", "license")
_REQUIRED_KEYS = ("schema", *_TEXT_KEYS, "liver_box_margin_mm", "stages")
_OPTIONAL_KEYS = ("scores", "authors")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Figures and the data they were measured on.

    Attributes:
        on: The data, for people; empty where nothing was measured.
        values: Name of the figure to its value.
    """

    on: str = ""
    values: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A cascade of one to four stages and where it comes from.

    Attributes:
        folder: Folder that holds `recipe.toml` and the ONNX files.
        name: Lower-case letters, digits and hyphens; what `--recipe` takes.
        title: One line for people.
        version: Version of the weights.
        citation: Paper to cite.
        training_data: Data the weights were trained on.
        license: License of the weights.
        liver_box_margin_mm: Added to the liver box on every side.
        stages: In the order in which they run.
        scores: What was measured with these weights.
        authors: What the paper reports.
    """

    folder: Path
    name: str
    title: str
    version: str
    citation: str
    training_data: str
    license: str
    liver_box_margin_mm: float
    stages: tuple[Stage, ...]
    scores: Scores = field(default_factory=Scores)
    authors: Scores = field(default_factory=Scores)

    def has_stage(self, role: StageRole | str) -> bool:
        """Whether the cascade has that stage."""
        return any(stage.name == role for stage in self.stages)

    def stage(self, role: StageRole | str) -> Stage:
        """The stage of that role.

        Raises:
            KeyError: If the cascade has none; `has_stage` tells before.
        """
        for stage in self.stages:
            if stage.name == role:
                return stage
        raise KeyError(f"the recipe {self.name} has no {role} stage")

    @property
    def opinions(self) -> tuple[Stage, ...]:
        """The stages that look for lesions: one, or two whose answers are averaged."""
        roles = (StageRole.LESION, StageRole.SECOND_OPINION)
        return tuple(stage for stage in self.stages if stage.name in roles)

    def with_stage(self, stage: Stage) -> Recipe:
        """The recipe with a stage at its place in the cascade, instead of any of that role.

        What was measured holds for the stages that it was measured with: a change drops it.

        Args:
            stage: The stage; whether it fits those beside it is not checked.
        """
        others = (other for other in self.stages if other.name != stage.name)
        order = list(StageRole)
        stages = tuple(sorted([*others, stage], key=lambda one: order.index(one.name)))
        scores = self.scores if stages == self.stages else Scores()
        return replace(self, stages=stages, scores=scores)

    def stage_path(self, stage: Stage) -> Path:
        """Path of a stage's ONNX file."""
        return self.folder / stage.file


def load_recipe(folder: Path) -> Recipe:
    """Read `recipe.toml` of a folder; the weights beside it are neither opened nor checked.

    Args:
        folder: Folder of the recipe.

    Raises:
        ModelNotFoundError: If the folder holds no readable `recipe.toml`.
        RecipeError: If the file is no TOML, a key is unknown or missing, or a value cannot be.
    """
    path = folder / RECIPE_FILE
    try:
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        raise ModelNotFoundError(
            f"{path} cannot be read: {error.strerror}.",
            hint=f"A recipe is a folder with {RECIPE_FILE} and its ONNX files.",
        ) from error
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path} is not a TOML file: {error}.") from error
    return parse_recipe(text, folder=folder)


def parse_recipe(text: str, *, folder: Path) -> Recipe:
    """A recipe from the text of its `recipe.toml`.

    Args:
        text: The file's content.
        folder: Folder that the recipe is for.

    Raises:
        RecipeError: If the text is no TOML, a key is unknown or missing, or a value cannot be.
    """
    path = folder / RECIPE_FILE
    try:
        values = tomllib.loads(text)
    except ValueError as error:
        raise RecipeError(f"{path} is not a TOML file: {error}.") from error
    return _read_recipe(values, folder=folder, where=str(path))


def to_toml(recipe: Recipe) -> str:
    """A recipe as the text of `recipe.toml`; reading it gives the same recipe."""
    top: dict[str, object] = {"schema": SCHEMA}
    top.update({key: getattr(recipe, key) for key in _TEXT_KEYS})
    top["liver_box_margin_mm"] = recipe.liver_box_margin_mm
    lines = toml_lines(top)
    for heading, scores in (("scores", recipe.scores), ("authors", recipe.authors)):
        if scores.on:
            lines += ["", f"[{heading}]", *toml_lines({"on": scores.on, **scores.values})]
    for stage in recipe.stages:
        lines += ["", "[[stages]]", *toml_lines(stage_table(stage))]
        if stage.thresholds:
            lines += ["", "[stages.thresholds]", *toml_lines(stage.thresholds)]
    return "\n".join(lines) + "\n"


def _read_recipe(values: Mapping[str, object], *, folder: Path, where: str) -> Recipe:
    _check_schema(values, where)
    table = Table(values, where=where, required=_REQUIRED_KEYS, optional=_OPTIONAL_KEYS)
    texts = {key: table.text(key) for key in _TEXT_KEYS}
    if not _NAME.fullmatch(texts["name"]):
        raise table.fault(
            f"'name' is {texts['name']!r}", hint="Use lower-case letters, digits and hyphens."
        )
    margin_mm = table.number("liver_box_margin_mm")
    if margin_mm < 0:
        raise table.fault(f"'liver_box_margin_mm' must be 0 or more, not {margin_mm}")
    return Recipe(
        folder=folder,
        **texts,
        liver_box_margin_mm=margin_mm,
        stages=_read_stages(table),
        scores=_read_scores(table, "scores"),
        authors=_read_scores(table, "authors"),
    )


def _check_schema(values: Mapping[str, object], where: str) -> None:
    # Before the keys: a newer form is expected to have keys unknown here.
    schema = values.get("schema", SCHEMA)
    if schema != SCHEMA or isinstance(schema, bool):
        raise RecipeError(
            f"{where}: 'schema' is {schema!r}, and this version reads {SCHEMA}.",
            hint="Update livertumor, or write the recipe in the older form.",
        )


def _read_scores(table: Table, key: str) -> Scores:
    if not table.has(key):
        return Scores()
    values = table.tables_of(key)
    names = [name for name in values if name != "on"]
    inner = Table(values, where=f"{table.where}: [{key}]", required=["on"], optional=names)
    return Scores(on=inner.text("on"), values={name: inner.number(name) for name in names})


def _read_stages(table: Table) -> tuple[Stage, ...]:
    raw = table.raw("stages")
    if not isinstance(raw, list) or not all(isinstance(values, dict) for values in raw):
        raise table.fault("'stages' must be [[stages]] tables")
    stages = tuple(
        read_stage(values, where=f"{table.where}: [[stages]] {number}")
        for number, values in enumerate(raw, start=1)
    )
    _check_order(table, stages)
    return stages


_LAST = (StageRole.SECOND_OPINION, StageRole.SEGMENTS)
"""Stages that may follow the lesion stage, in this order."""


def _check_order(table: Table, stages: tuple[Stage, ...]) -> None:
    """Every stage must find what it needs of those before it."""
    roles = [stage.name for stage in stages]
    first = [role for role in roles if role not in _LAST]
    last = [role for role in _LAST if role in roles]
    if roles != [*first, *last] or first not in (
        [StageRole.LIVER, StageRole.LESION],
        [StageRole.LESION],
    ):
        raise table.fault(
            f"the stages are: {', '.join(roles) or 'none'}",
            hint="Give 'liver' and then 'lesion', or 'lesion' alone; 'second_opinion' and then "
            "'segments' may follow.",
        )
    if "liver" not in stages[0].classes:
        stage = "the liver stage" if len(first) > 1 else "a lesion stage that stands alone"
        raise table.fault(f"{stage} must have the class 'liver'")
    if roles[0] is StageRole.LIVER and stages[0].surroundings_mm is not None:
        raise table.fault("'surroundings_mm' needs a stage before it, whose liver it means")
    if StageRole.SECOND_OPINION in roles:
        _check_opinions(table, *stages[len(first) - 1 : len(first) + 1])
    if roles[-1] is StageRole.SEGMENTS:
        _check_segments(table, stages[-1])


def _check_opinions(table: Table, lesion: Stage, second: Stage) -> None:
    """Two answers can be averaged where they mean the same by background."""
    for stage in (lesion, second):
        if "liver" not in stage.classes:
            raise table.fault(f"the {stage.name} stage must have the class 'liver', to be averaged")
    unknown = [name for name in second.structures if name not in lesion.structures]
    if unknown:
        raise table.fault(f"the second opinion tells '{unknown[0]}', the lesion stage does not")
    if second.thresholds:
        raise table.fault(
            "the second opinion has 'thresholds'",
            hint="Those of the lesion stage hold for the average of both.",
        )


def _check_segments(table: Table, stage: Stage) -> None:
    """The likeliest of all eight segments is taken: thresholds would never be looked at."""
    missing = [name for name in SEGMENT_CLASSES if name not in stage.classes]
    if missing:
        raise table.fault(f"the segments stage lacks the class '{missing[0]}'")
    if stage.thresholds:
        raise table.fault("the segments stage has 'thresholds', and takes the likeliest segment")
