"""A network that another program trained, as a stage of a recipe.

The network's own habits go into the ONNX file, so that a recipe need not know them: how its axes
run, what its input numbers are, and which of its channels mean what. Inside the file a patch is
brought to the network's intensities and axes, and its output back.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from livertumor_cli.anatomy import CLASS_NAMES
from livertumor_cli.errors import ConfigError
from livertumor_cli.export.onnx_export import write_onnx
from livertumor_cli.export.stage_export import ExportedStage, proven, workplace
from livertumor_cli.export.to_recipe import LIVER_BOX_MARGIN_MM, NOT_STATED, require_place
from livertumor_cli.file_digest import sha256_of
from livertumor_cli.geometry import Spacing
from livertumor_cli.io.atomic import write_text
from livertumor_cli.recipes.recipe import (
    RECIPE_FILE,
    Activation,
    Fusion,
    Normalization,
    Recipe,
    Stage,
    StageRole,
    Weighting,
    load_recipe,
    parse_recipe,
    to_toml,
)

PATIENT_AXES = "SPL"
"""Where z, y, x of a recipe's patches point."""

_OPPOSITE = dict(zip("SIPALR", "ISAPRL", strict=True))

_REGION_THRESHOLD = 0.5
"""From here on a structure that a sigmoid judges by itself is taken, whatever it lies in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignNetwork:
    """A network with everything that must be true of its input and output.

    Attributes:
        network: Maps (1, 1, ...) to logits (1, channels, ...) along its own axes.
        name: Name of its class.
        axes: Where its spatial axes point, such as "SPL" or "RAS".
        spacing_mm: Voxel size along z, y, x.
        patch: Voxels along z, y, x.
        overlap: Share of a window that its neighbor also covers.
        weighting: Weights inside a window.
        hu_window: HU between which its input is clipped.
        range: What the ends of the window are to the network.
        channels: Class of each of its channels; several may have the same.
        activation: What turns its logits into probabilities.
        training_data: What it was trained on, as far as its files say.
        license: License of the weights, likewise.
    """

    network: nn.Module
    name: str
    axes: str
    spacing_mm: Spacing
    patch: tuple[int, int, int]
    overlap: float
    weighting: Weighting
    hu_window: tuple[float, float]
    range: tuple[float, float]
    channels: tuple[str, ...]
    activation: Activation
    training_data: str = NOT_STATED
    license: str = NOT_STATED

    @property
    def classes(self) -> tuple[str, ...]:
        """Classes of the recipe's stage in the order of their label values."""
        is_softmax = self.activation is Activation.SOFTMAX
        names = CLASS_NAMES if is_softmax else CLASS_NAMES[1:]
        return tuple(name for name in names if name in self.channels)


class AdaptedNetwork(nn.Module):
    """A foreign network that takes and gives what a recipe's stage does.

    Takes (1, 1, z, y, x) with the window as 0..1, along the patient's axes; gives (1, classes, z,
    y, x). Of several channels with one class the largest counts, so that the class that wins is
    that of the winning channel.
    """

    def __init__(self, foreign: ForeignNetwork) -> None:
        super().__init__()
        self.network = foreign.network
        low, high = foreign.range
        self.offset, self.gain = low, high - low
        letters = [place_of(letter) for letter in foreign.axes]
        # Dimensions of the batch that are the network's first, second and third axis.
        self.order = [2 + place for place, _ in letters]
        self.flips = [2 + place for place, is_turned in letters if is_turned]
        self.back = [2 + self.order.index(2 + place) for place in range(3)]
        self.groups = [
            [index for index, name in enumerate(foreign.channels) if name == wanted]
            for wanted in foreign.classes
        ]

    def forward(self, image: Tensor) -> Tensor:
        """Logits of the recipe's classes."""
        scaled = image * self.gain + self.offset
        turned = torch.flip(scaled, self.flips) if self.flips else scaled
        logits = self.network(turned.permute(0, 1, *self.order))
        upright = logits.permute(0, 1, *self.back)
        upright = torch.flip(upright, self.flips) if self.flips else upright
        return torch.cat(
            [upright[:, group].amax(dim=1, keepdim=True) for group in self.groups], dim=1
        )


def place_of(letter: str) -> tuple[int, bool]:
    """Which of z, y, x an axis follows, and whether it runs the other way."""
    if letter in PATIENT_AXES:
        return PATIENT_AXES.index(letter), False
    return PATIENT_AXES.index(_OPPOSITE[letter]), True


def along_patient(values: Sequence[float], axes: str) -> tuple[float, float, float]:
    """What belongs to the network's axes, in the order z, y, x.

    Args:
        values: One for each of the network's axes.
        axes: Where these point.

    Raises:
        ValueError: If there are not three.
    """
    by_place = {place_of(letter)[0]: one for letter, one in zip(axes, values, strict=True)}
    return by_place[0], by_place[1], by_place[2]


def require_axes(axes: str) -> str:
    """Three letters of which each names another direction, in upper case.

    Raises:
        ConfigError: If they are not.
    """
    letters = axes.upper()
    if len(letters) != 3 or not set(letters) <= set(_OPPOSITE):
        raise ConfigError(f"'{axes}' names no axes: give three letters such as LPS or RAS.")
    if {place for place, _ in map(place_of, letters)} != {0, 1, 2}:
        raise ConfigError(f"'{axes}' names one axis twice: give three such as LPS or RAS.")
    return letters


def export_foreign(
    foreign: ForeignNetwork,
    folder: Path,
    *,
    role: StageRole = StageRole.LESION,
    patch: tuple[int, int, int] | None = None,
    half_weights: bool = False,
) -> ExportedStage:
    """Export a foreign network into a recipe's folder, where it replaces an older file.

    Args:
        foreign: The network; it is brought to float32.
        folder: The recipe's folder; made where it is missing.
        role: Which stage it becomes.
        patch: Input size z, y, x; its own when None.
        half_weights: Whether the file stores its weights as float16.

    Raises:
        ConfigError: If the patch does not fit the network, or the stage the recipe.
        ModelContractError: If the file does not compute what the network computes; the folder is
            then as it was.
        OutputError: If the folder cannot be written.
    """
    if patch is not None:
        foreign = replace(foreign, patch=patch)
    # Before any work: the stage must have a place in the recipe.
    require_place(folder, role)
    _recipe_with(folder, _stage(foreign, role=role, sha256="0" * 64), foreign)
    network = AdaptedNetwork(foreign).eval().float()
    _require_patch(network, foreign)
    with workplace(folder) as inside:
        file = Path(inside) / f"{role}.onnx"
        write_onnx(network, file, patch=foreign.patch, metadata={"livertumor": foreign.name})
        stage = _stage(foreign, role=role, sha256=sha256_of(file))
        stage, agreement = proven(
            stage, file, network, spacing_mm=foreign.spacing_mm, half_weights=half_weights
        )
        file = file.replace(folder / file.name)
    write_text(folder / RECIPE_FILE, to_toml(_recipe_with(folder, stage, foreign)))
    return ExportedStage(file, agreement)


def _require_patch(network: AdaptedNetwork, foreign: ForeignNetwork) -> None:
    try:
        with torch.inference_mode():
            logits = network(torch.zeros(1, 1, *foreign.patch))
    except (RuntimeError, ValueError, IndexError, AttributeError) as error:
        raise ConfigError(
            f"{foreign.name} takes no patch of {foreign.patch} voxels (z, y, x).",
            hint="Give --patch the size that it was trained with.",
        ) from error
    if tuple(logits.shape[2:]) != foreign.patch:
        raise ConfigError(
            f"{foreign.name} turns a patch of {foreign.patch} into {tuple(logits.shape[2:])}.",
            hint="Give --patch sizes that the network can halve as often as it has to.",
        )


def _stage(foreign: ForeignNetwork, *, role: StageRole, sha256: str) -> Stage:
    # A second opinion is averaged before any threshold.
    has_thresholds = (
        foreign.activation is Activation.SIGMOID and role is not StageRole.SECOND_OPINION
    )
    inner = [name for name in foreign.classes if name in ("tumor", "vessel")]
    return Stage(
        name=role,
        network=foreign.name,
        file=f"{role}.onnx",
        sha256=sha256,
        dimensions=3,
        spacing_mm=foreign.spacing_mm,
        patch=foreign.patch,
        overlap=(foreign.overlap,) * 3,
        weighting=foreign.weighting,
        hu_window=foreign.hu_window,
        percentiles=None,
        normalization=Normalization.UNIT,
        classes=foreign.classes,
        activation=foreign.activation,
        scales=(1.0,),
        fusion=Fusion.MEAN,
        thresholds=dict.fromkeys(inner, _REGION_THRESHOLD) if has_thresholds else {},
    )


def _recipe_with(folder: Path, stage: Stage, foreign: ForeignNetwork) -> Recipe:
    """The folder's recipe with the stage, or a new one; checked as if it were read.

    Raises:
        RecipeError: If the stage cannot stand there.
    """
    if (folder / RECIPE_FILE).is_file():
        recipe = load_recipe(folder).with_stage(stage)
    else:
        name = re.sub(r"[^a-z0-9]+", "-", folder.absolute().name.lower()).strip("-") or "recipe"
        recipe = Recipe(
            folder=folder,
            name=name,
            title=f"{name}: {foreign.name}",
            version="0.1.0",
            citation=NOT_STATED,
            training_data=foreign.training_data,
            license=foreign.license,
            liver_box_margin_mm=LIVER_BOX_MARGIN_MM,
            stages=(stage,),
        )
    return parse_recipe(to_toml(recipe), folder=folder)
