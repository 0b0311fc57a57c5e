"""A stage as a table of `recipe.toml`: read with every value checked, and written back."""

from __future__ import annotations

import re
from collections.abc import Mapping

from livertumor_cli.anatomy import CLASS_NAMES
from livertumor_cli.recipes.stage import (
    Activation,
    CpuPrecision,
    CudaPrecision,
    Fusion,
    Normalization,
    Stage,
    StageRole,
    Weighting,
    class_names,
)
from livertumor_cli.recipes.table import Table

_SHA256 = re.compile(r"[0-9a-f]{64}")
_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*\.onnx")

NATIVE = "native"
"""Word for `spacing_mm` where a stage keeps the scan's own grid."""

OPTIONAL_KEYS = (
    "hu_window",
    "percentiles",
    "cpu_precision",
    "cuda_precision",
    "surroundings_mm",
    "half_weights_changed_share",
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
        half_weights_changed_share=_read_changed_share(table),
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
    names = class_names(role)
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


def _read_changed_share(table: Table) -> float | None:
    if not table.has("half_weights_changed_share"):
        return None
    share = table.number("half_weights_changed_share")
    if not 0 <= share <= 1:
        raise table.fault(f"'half_weights_changed_share' must lie from 0 to 1, not {share}")
    return share


def _read_thresholds(table: Table, classes: tuple[str, ...]) -> dict[str, float]:
    thresholds = table.named_numbers("thresholds")
    for name, value in thresholds.items():
        if name not in classes or name == CLASS_NAMES[0]:
            raise table.fault(f"'thresholds' names '{name}', which is no structure of 'classes'")
        if not 0 < value < 1:
            raise table.fault(f"the threshold of '{name}' must lie between 0 and 1, not {value}")
    return thresholds
