"""One stage of a cascade: a network file and all that must be true of its input and output."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from livertumor_cli.anatomy import CLASS_NAMES, SEGMENT_CLASSES


class StageRole(StrEnum):
    """What a stage is for."""

    LIVER = "liver"
    """Finds the box that holds the liver."""
    LESION = "lesion"
    """Works in that box, or in the whole scan where no stage comes before it."""
    SECOND_OPINION = "second_opinion"
    """Looks where the lesion stage looks; what the two say is averaged."""
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
        half_weights_changed_share: Share of the proof's voxels whose class the network's weights
            changed when the file stored them as float16; None where it stores float32.
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
    half_weights_changed_share: float | None = None
    thresholds: Mapping[str, float] = field(default_factory=dict)

    @property
    def network_patch(self) -> tuple[int, ...]:
        """The spatial axes that the network itself has: (z, y, x), or (y, x) in two dimensions."""
        return self.patch if self.dimensions == 3 else self.patch[1:]

    @property
    def structures(self) -> tuple[str, ...]:
        """The classes other than background, in the order of their label values."""
        return tuple(name for name in class_names(self.name)[1:] if name in self.classes)


def class_names(role: StageRole) -> tuple[str, ...]:
    """What the channels of a stage may be, in the order of the label values."""
    if role is StageRole.SEGMENTS:
        return CLASS_NAMES[0], *SEGMENT_CLASSES
    return CLASS_NAMES
