"""Weights stored as float16: exactly their rounding, in half the file, in every engine."""

# ruff: noqa: E402 (torch is optional: what needs it is imported after the skip)

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")

from training_cases import TINY_LESION

from livertumor_cli.cli.app import run
from livertumor_cli.engine.engine import Device, EngineKind, EngineRequest, Precision
from livertumor_cli.engine.open_engine import open_engine
from livertumor_cli.engine.openvino_engine import is_openvino_installed
from livertumor_cli.errors import ModelContractError
from livertumor_cli.export import onnx_export
from livertumor_cli.export.foreign import ForeignNetwork, export_foreign
from livertumor_cli.export.half_weights import halve_weights
from livertumor_cli.export.onnx_export import (
    Agreement,
    compare_with_torch,
    require_half_agreement,
)
from livertumor_cli.networks.uca_net import UCANet, UCANetConfig
from livertumor_cli.recipes.recipe import Activation, Weighting, load_recipe
from livertumor_cli.recipes.store import verify_recipe
from livertumor_cli.training.checkpoint import save_weights
from livertumor_cli.training.tasks import TASKS

ENGINES = [EngineKind.ONNXRUNTIME] + [EngineKind.OPENVINO] * is_openvino_installed()

FINEST = 2.0**-10
"""From 1 to the next float16."""


def save_product(path: Path, *weights: np.ndarray) -> None:
    """A model that multiplies its input (1, 1, n) with one weight after the other."""
    size = weights[0].size
    names = [f"weight_{index}" for index in range(len(weights))]
    values = ["image", *(f"product_{name}" for name in names[:-1]), "logits"]
    steps = zip(values, names, values[1:], strict=False)
    nodes = [onnx.helper.make_node("Mul", [before, name], [after]) for before, name, after in steps]
    ports = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 1, size])
        for name in ("image", "logits")
    ]
    tensors = [
        onnx.numpy_helper.from_array(weight.astype(np.float32), name)
        for weight, name in zip(weights, names, strict=True)
    ]
    graph = onnx.helper.make_graph(nodes, "product", ports[:1], ports[1:], tensors)
    opset = onnx.helper.make_opsetid("", onnx_export.OPSET)
    model = onnx.helper.make_model(graph, opset_imports=[opset], ir_version=10)
    onnx.helper.set_model_props(model, {"livertumor": "product"})
    onnx.save(model, path)


def stored_types(path: Path) -> list[str]:
    tensors = onnx.load(path).graph.initializer
    return [onnx.TensorProto.DataType.Name(tensor.data_type) for tensor in tensors]


# The file


@pytest.mark.parametrize("kind", ENGINES)
def test_engines_compute_in_float32_with_the_rounded_weights(tmp_path: Path, kind: EngineKind):
    path = tmp_path / "product.onnx"
    # The second lies between two float16 and is rounded to the even one, the others are float16.
    save_product(path, np.tile([1 + FINEST, 1 + FINEST / 2, 60000.0, -(2.0**-24)], 512))
    halve_weights(path)
    engine = open_engine(EngineRequest(file=path, device=Device.CPU, kind=kind))
    assert engine.info.precision is Precision.F32
    # No float16 holds this input or its products.
    image = np.full((1, 1, 2048), 1 + 2.0**-13, dtype=np.float32)
    expected = np.tile([1 + FINEST, 1.0, 60000.0, -(2.0**-24)], 512).astype(np.float32) * image[0]
    np.testing.assert_array_equal(engine.run(image)[0], expected)


def test_the_file_is_half_as_large_and_keeps_its_metadata(tmp_path: Path):
    path = tmp_path / "product.onnx"
    save_product(path, np.ones(100_000))
    assert path.stat().st_size > 400_000
    halve_weights(path)
    assert 200_000 < path.stat().st_size < 201_000
    (prop,) = onnx.load(path).metadata_props
    assert (prop.key, prop.value) == ("livertumor", "product")


def test_small_weights_stay_float32(tmp_path: Path):
    for size, kind in ((1023, "FLOAT"), (1024, "FLOAT16")):
        save_product(tmp_path / "product.onnx", np.ones(size))
        halve_weights(tmp_path / "product.onnx")
        assert stored_types(tmp_path / "product.onnx") == [kind]


def test_weights_beyond_the_range_of_float16_stay_float32(tmp_path: Path):
    path = tmp_path / "product.onnx"
    large = np.ones(2048)
    large[7] = 65520.0  # the first number that rounds to infinity
    save_product(path, np.full(2048, 65504.0), large, np.full(2048, 2.0))
    halve_weights(path)
    assert stored_types(path) == ["FLOAT16", "FLOAT", "FLOAT16"]


# The proof


@pytest.mark.parametrize("bad", [Agreement(0.1, 1.1e-3), Agreement(float("nan"), 0.0)])
def test_too_many_changed_classes_are_refused(bad: Agreement):
    with pytest.raises(ModelContractError, match="float16 lesion") as caught:
        require_half_agreement(bad, Path("lesion.onnx"))
    assert "--half-weights" in caught.value.hint


def test_rounded_weights_may_change_what_rounded_sums_may_not():
    require_half_agreement(Agreement(0.1, 0.9e-3), Path("lesion.onnx"))


def test_a_structure_of_a_sigmoid_changes_with_the_sign_of_its_logit(tmp_path: Path):
    """Of a single channel the largest is always the same."""
    path = tmp_path / "product.onnx"
    save_product(path, np.ones(8))

    class Flipped(torch.nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return image * torch.tensor([-1.0] + [1.0] * 7)

    images = [np.ones(8, dtype=np.float32)]
    sigmoid = compare_with_torch(Flipped(), path, images, activation=Activation.SIGMOID)
    assert sigmoid == Agreement(2.0, 1 / 8)
    assert compare_with_torch(Flipped(), path, images) == Agreement(2.0, 0.0)


# The way into a recipe


def test_export_prints_and_keeps_the_changed_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    task = replace(
        TINY_LESION,
        network="UCANet",
        build=lambda: UCANet(UCANetConfig(classes=4, widths=(8, 16))),
    )
    monkeypatch.setitem(TASKS, "tiny/lesion", task)
    checkpoint, folder = tmp_path / "model.safetensors", tmp_path / "tiny"
    torch.manual_seed(2)
    save_weights(checkpoint, task.build().state_dict(), metadata={"task": "tiny/lesion"})
    arguments = ["export", str(checkpoint), "-o", str(folder), "--half-weights"]

    # As if one changed voxel were too many, and none as well.
    with monkeypatch.context() as strict:
        strict.setattr(onnx_export, "LARGEST_CHANGED_SHARE_OF_HALF_WEIGHTS", -1.0)
        assert run(arguments) == 4
    assert "float16" in capsys.readouterr().err
    assert list(folder.iterdir()) == []

    assert run(arguments) == 0
    recipe = load_recipe(folder)
    verify_recipe(recipe)
    share = recipe.stages[0].half_weights_changed_share
    assert share is not None
    assert f"class changed in {share:.1e} of the voxels" in capsys.readouterr().out
    assert "FLOAT16" in stored_types(folder / "lesion.onnx")


def test_a_network_of_another_program_is_stored_likewise(tmp_path: Path):
    torch.manual_seed(3)
    network = torch.nn.Sequential(
        torch.nn.Conv3d(1, 32, 3, padding=1), torch.nn.Conv3d(32, 2, 3, padding=1)
    )
    foreign = ForeignNetwork(
        network=network,
        name="TwoLayers",
        axes="SPL",
        spacing_mm=(2.0, 2.0, 2.0),
        patch=(8, 16, 16),
        overlap=0.5,
        weighting=Weighting.GAUSSIAN,
        hu_window=(-160.0, 240.0),
        range=(0.0, 1.0),
        channels=("background", "liver"),
        activation=Activation.SOFTMAX,
    )
    file = export_foreign(foreign, tmp_path / "two", half_weights=True).file
    recipe = load_recipe(tmp_path / "two")
    verify_recipe(recipe)
    assert stored_types(file).count("FLOAT16") == 1
    share = recipe.stages[0].half_weights_changed_share
    assert share is not None
    assert share <= 1e-3
