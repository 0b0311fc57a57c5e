"""What 8-bit integers would do to a recipe: a copy of it with a quantized network, and its speed.

    python benchmarks/int8.py --data ../shared/ct --out int8
    python benchmarks/validation.py --data ../shared/ct --recipe int8

Convolutions get 8-bit weights, by channel, and 8-bit inputs, whose ranges are those of windows of
training patients as the recipe's cascade sees them. The second command prints what that does to the
figures of validation. Needs the extra `export`.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import onnx
from network_cost import window_seconds
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quant_pre_process,
    quantize_static,
)
from validation import case_names

from livertumor_cli.arrays import FloatArray
from livertumor_cli.engine.engine import Device, Engine, EngineRequest
from livertumor_cli.engine.open_engine import open_engine
from livertumor_cli.file_digest import sha256_of
from livertumor_cli.pipeline import segment_case
from livertumor_cli.recipes.recipe import RECIPE_FILE, Recipe, Stage, StageRole, to_toml
from livertumor_cli.recipes.store import DEFAULT_RECIPE
from livertumor_cli.segment_setup import SegmentOptions, open_networks


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder of the new recipe")
    parser.add_argument("--recipe", default=DEFAULT_RECIPE)
    parser.add_argument("--stage", type=StageRole, default=StageRole.LESION)
    parser.add_argument("--cases", type=int, default=8, help="training patients")
    parser.add_argument("--windows", type=int, default=2, help="of each patient")
    options = parser.parse_args()
    networks = open_networks(SegmentOptions(recipe=options.recipe, device=Device.CPU))
    recipe, stage = networks.recipe, networks.recipe.stage(options.stage)
    recorder = Recorder(networks.engines[options.stage])
    networks.engines[options.stage] = recorder  # type: ignore[assignment]
    windows: list[FloatArray] = []
    for name in case_names(options.data, split="train")[: options.cases]:
        recorder.seen.clear()
        segment_case(
            options.data / name / "ct.nii.gz",
            options=SegmentOptions(recipe=options.recipe),
            progress=lambda *_: None,
            networks=networks,
        )
        step = max(1, len(recorder.seen) // options.windows)
        windows += recorder.seen[step // 2 :: step][: options.windows]
        print(f"{name}: {len(recorder.seen)} windows", flush=True)
    file = write_recipe(recipe, stage, options.out, windows=windows)
    print_speed(recipe.stage_path(stage), file, stage)


@dataclass
class Recorder:
    """An engine that remembers what it is shown."""

    engine: Engine

    def __post_init__(self) -> None:
        self.seen: list[FloatArray] = []

    def __getattr__(self, name: str) -> object:
        return getattr(self.engine, name)

    def run_many(self, batches: Iterable[FloatArray]) -> Iterator[FloatArray]:
        """Run the model over batches, and keep a copy of each."""

        def remembered() -> Iterator[FloatArray]:
            for batch in batches:
                self.seen.append(batch.copy())
                yield batch

        return self.engine.run_many(remembered())


class Windows(CalibrationDataReader):
    """Windows, one after the other, as the quantizer asks for them."""

    def __init__(self, name: str, windows: list[FloatArray]) -> None:
        self._coming = iter([{name: window} for window in windows])

    def get_next(self) -> dict[str, FloatArray] | None:
        """The next one; None after the last."""
        return next(self._coming, None)


def write_recipe(recipe: Recipe, stage: Stage, folder: Path, *, windows: list[FloatArray]) -> Path:
    """A copy of a recipe in which one network computes in 8 bits; its file."""
    folder.mkdir(parents=True, exist_ok=True)
    for other in recipe.stages:
        shutil.copyfile(recipe.stage_path(other), folder / other.file)
    file, prepared = folder / stage.file, folder / "prepared.onnx"
    # Weights stored as float16 are made float32 again, and shapes become known.
    quant_pre_process(str(recipe.stage_path(stage)), str(prepared), skip_symbolic_shape=True)
    quantize_static(
        str(prepared),
        str(file),
        Windows(onnx.load(prepared).graph.input[0].name, windows),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=["Conv"],
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )
    prepared.unlink()
    quantized = replace(stage, sha256=sha256_of(file))
    stages = tuple(quantized if one is stage else one for one in recipe.stages)
    changed = replace(recipe, folder=folder, name=folder.name, stages=stages)
    (folder / RECIPE_FILE).write_text(to_toml(changed), encoding="utf-8")
    return file


def print_speed(whole: Path, quantized: Path, stage: Stage) -> None:
    """Seconds of one window in float32 and in 8 bits."""
    seconds = []
    for file in (whole, quantized):
        engine = open_engine(EngineRequest(file=file, device=Device.CPU))
        seconds.append(window_seconds(engine, stage.network_patch))
        print(f"{file}: {file.stat().st_size / 1e6:.1f} MB, {seconds[-1]:.3f} s a window")
    print(f"8 bits: {seconds[0] / seconds[1]:.2f} times as fast")


if __name__ == "__main__":
    main()
