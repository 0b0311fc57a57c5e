"""One stage of a cascade: a network file and all that must be true of its input and output."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from livertumor_cli.anatomy import CLASS_NAMES, SEGMENT_CLASSES
from livertumor_cli.recipes.table import Table

_SHA256 = re.compile(r"[0-9a-f]{64}")
_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*\.onnx")


class StageRole(StrEnum):
    """What a stage is for."""

    LIVER = "liver"
    """Finds the box that holds the liver."""
    LESION = "lesion"
    """Works in that box, or in the whole scan where no stage comes before it."""
    SEGMENTS = "segments"
    """Tells the Couinaud segments of the liver that the stages before it have drawn."""


class Weighting(StrEnum):
    """Weight of a voxel by its place in a window, where windows overlap."""

    GAUSSIAN = "gaussian"
    UNIFORM = "uniform"


class Normalization(StrEnum):
    """What becomes of the intensities after they were clipped to the window."""

    UNIT = "unit"
    """The window becomes 0..1."""
    SYMMETRIC = "symmetric"
    """The window becomes -1..1."""
    ZSCORE = "zscore"
    """Mean 0 and standard deviation 1."""


class Activation(StrEnum):
    """What turns the network's numbers into probabilities."""

    SOFTMAX = "softmax"
    SIGMOID = "sigmoid"


class Fusion(StrEnum):
    """How the probabilities of several scales become one."""

    MEAN = "mean"


class CpuPrecision(StrEnum):
    """Arithmetic on a CPU that validation has shown not to move Dice."""

    F32 = "f32"
    BF16 = "bf16"


class CudaPrecision(StrEnum):
    """Arithmetic on an NVIDIA GPU that validation has shown not to move Dice."""

    F32 = "f32"
    FP16 = "fp16"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One network and its surroundings; triples are z, y, x.

    Attributes:
        name: What the stage is for.
        network: Name of the network, for people.
        file: Name of the ONNX file in the recipe's folder.
        sha256: Its SHA-256, 64 lower-case hexadecimal digits.
        dimensions: 3, or 2 for a network that sees axial slices one by one.
        spacing_mm: Voxel size of the network's grid; None keeps the scan's own.
        patch: Voxels of the network's input; (1, y, x) for two dimensions.
        overlap: Share of the patch that neighboring windows have in common.
        weighting: Weights inside a window.
        hu_window: Lower and upper HU, or None where percentiles rule.
        percentiles: Lower and upper percentile 0..100, or None where a HU window rules.
        normalization: What follows the clipping.
        classes: Meaning of each output channel.
        activation: What turns the output into probabilities.
        scales: Zoom factors at which the stage looks.
        fusion: How the scales become one.
        cpu_precision: Lowest precision allowed on a CPU.
        cuda_precision: Lowest precision allowed on an NVIDIA GPU.
        surroundings_mm: What lies further than this from the first stage's liver is blanked in the
            input; None shows everything in the liver box.
        thresholds: Class to the probability from which it counts; others by the largest.
    """

    name: StageRole
    network: str
    file: str
    sha256: str
    dimensions: int
    spacing_mm: tuple[float, float, float] | None
    patch: tuple[int, int, int]
    overlap: tuple[float, float, float]
    weighting: Weighting
    hu_window: tuple[float, float] | None
    percentiles: tuple[float, float] | None
    normalization: Normalization
    classes: tuple[str, ...]
    activation: Activation
    scales: tuple[float, ...]
    fusion: Fusion
    cpu_precision: CpuPrecision = CpuPrecision.F32
    cuda_precision: CudaPrecision = CudaPrecision.F32
    surroundings_mm: float | None = None
    thresholds: Mapping[str, float] = field(default_factory=dict)

    @property
    def network_patch(self) -> tuple[int, ...]:
        """The spatial axes that the network itself has: (z, y, x), or (y, x) in two dimensions."""
        return self.patch if self.dimensions == 3 else self.patch[1:]

    @property
    def structures(self) -> tuple[str, ...]:
        """The classes other than background, in the order of their label values."""
        return tuple(name for name in _class_names(self.name)[1:] if name in self.classes)


def _class_names(role: StageRole) -> tuple[str, ...]:
    """What the channels of a stage may be, in the order of the label values."""
    if role is StageRole.SEGMENTS:
        return CLASS_NAMES[0], *SEGMENT_CLASSES
    return CLASS_NAMES


NATIVE = "native"
"""Word for `spacing_mm` where a stage keeps the scan's own grid."""

OPTIONAL_KEYS = (
    "hu_window",
    "percentiles",
    "cpu_precision",
    "cuda_precision",
    "surroundings_mm",
    "thresholds",
)
REQUIRED_KEYS = tuple(key for key in Stage.__slots__ if key not in OPTIONAL_KEYS)


def read_stage(values: Mapping[str, object], *, where: str) -> Stage:
    """A stage from one `[[stages]]` table.

    Args:
        values: The table as `tomllib` gives it.
        where: File and table, for error messages.

    Raises:
        RecipeError: If a key is unknown or missing or a value cannot be.
    """
    table = Table(values, where=where, required=REQUIRED_KEYS, optional=OPTIONAL_KEYS)
    role = table.choice("name", StageRole)
    classes = _read_classes(table, role)
    dimensions = table.whole_number("dimensions")
    if dimensions not in (2, 3):
        raise table.fault(f"'dimensions' must be 2 or 3, not {dimensions}")
    hu_window, percentiles = _read_window(table)
    return Stage(
        name=role,
        network=table.text("network"),
        file=_read_file_name(table),
        sha256=_read_sha256(table),
        dimensions=dimensions,
        spacing_mm=_read_spacing(table),
        patch=_read_patch(table, dimensions),
        overlap=_read_overlap(table),
        weighting=table.choice("weighting", Weighting),
        hu_window=hu_window,
        percentiles=percentiles,
        normalization=table.choice("normalization", Normalization),
        classes=classes,
        activation=table.choice("activation", Activation),
        scales=_read_scales(table),
        fusion=table.choice("fusion", Fusion),
        cpu_precision=table.choice("cpu_precision", CpuPrecision, default=CpuPrecision.F32),
        cuda_precision=table.choice("cuda_precision", CudaPrecision, default=CudaPrecision.F32),
        surroundings_mm=_read_surroundings(table),
        thresholds=_read_thresholds(table, classes),
    )


def stage_table(stage: Stage) -> dict[str, object]:
    """A stage as the values of its `[[stages]]` table, thresholds aside."""
    values: dict[str, object] = {key: getattr(stage, key) for key in Stage.__slots__}
    del values["thresholds"]
    if stage.spacing_mm is None:
        values["spacing_mm"] = NATIVE
    return {key: value for key, value in values.items() if value is not None}


def _read_file_name(table: Table) -> str:
    name = table.text("file")
    # A recipe may come from elsewhere: it must not reach out of its own folder.
    if not _FILE_NAME.fullmatch(name):
        raise table.fault(f"'file' must be the bare name of an .onnx file, not {name!r}")
    return name


def _read_sha256(table: Table) -> str:
    digest = table.text("sha256")
    if not _SHA256.fullmatch(digest):
        raise table.fault("'sha256' must be 64 lower-case hexadecimal digits")
    return digest


def _read_spacing(table: Table) -> tuple[float, float, float] | None:
    if table.raw("spacing_mm") == NATIVE:
        return None
    z, y, x = table.numbers("spacing_mm", count=3)
    if min(z, y, x) <= 0:
        raise table.fault(f"'spacing_mm' must be three lengths above 0 or '{NATIVE}'")
    return z, y, x


def _read_patch(table: Table, dimensions: int) -> tuple[int, int, int]:
    z, y, x = table.whole_numbers("patch", count=3)
    if min(z, y, x) < 1:
        raise table.fault(f"'patch' must be three sizes of 1 or more, not {[z, y, x]}")
    if dimensions == 2 and z != 1:
        raise table.fault(f"'patch' of a 2D network must be [1, y, x], not {[z, y, x]}")
    return z, y, x


def _read_overlap(table: Table) -> tuple[float, float, float]:
    z, y, x = table.numbers("overlap", count=3)
    if min(z, y, x) < 0 or max(z, y, x) >= 1:
        raise table.fault(f"'overlap' must be three shares from 0 to below 1, not {[z, y, x]}")
    return z, y, x


def _read_scales(table: Table) -> tuple[float, ...]:
    scales = table.numbers("scales")
    if min(scales) <= 0 or len(set(scales)) != len(scales):
        raise table.fault(f"'scales' must be distinct factors above 0, not {list(scales)}")
    return scales


Range = tuple[float, float]


def _read_window(table: Table) -> tuple[Range | None, Range | None]:
    if table.has("hu_window") == table.has("percentiles"):
        raise table.fault("exactly one of 'hu_window' and 'percentiles' must be given")
    key = "hu_window" if table.has("hu_window") else "percentiles"
    low, high = table.numbers(key, count=2)
    if low >= high:
        raise table.fault(f"'{key}' must rise, not {[low, high]}")
    if key == "hu_window":
        return (low, high), None
    if low < 0 or high > 100:
        raise table.fault(f"'percentiles' must lie from 0 to 100, not {[low, high]}")
    return None, (low, high)


def _read_classes(table: Table, role: StageRole) -> tuple[str, ...]:
    classes = table.texts("classes")
    names = _class_names(role)
    unknown = [name for name in classes if name not in names]
    if unknown:
        hint = f"Known: {', '.join(names)}."
        raise table.fault(f"unknown class '{unknown[0]}'", hint=hint)
    if len(set(classes)) != len(classes):
        raise table.fault(f"'classes' names one twice: {', '.join(classes)}")
    is_softmax = table.raw("activation") == Activation.SOFTMAX
    # A softmax over structures alone would have to call every voxel one of them.
    if is_softmax and (classes[0] != CLASS_NAMES[0] or len(classes) < 2):
        raise table.fault("'classes' of a softmax must be 'background' and then the structures")
    return classes


def _read_surroundings(table: Table) -> float | None:
    if not table.has("surroundings_mm"):
        return None
    length = table.number("surroundings_mm")
    if length < 0:
        raise table.fault(f"'surroundings_mm' must be 0 or more, not {length}")
    return length


def _read_thresholds(table: Table, classes: tuple[str, ...]) -> dict[str, float]:
    thresholds = table.named_numbers("thresholds")
    for name, value in thresholds.items():
        if name not in classes or name == CLASS_NAMES[0]:
            raise table.fault(f"'thresholds' names '{name}', which is no structure of 'classes'")
        if not 0 < value < 1:
            raise table.fault(f"the threshold of '{name}' must lie between 0 and 1, not {value}")
    return thresholds
