"""MONAI bundles become stages that compute what the bundle computes; code in them is never run."""

# ruff: noqa: E402 (torch is optional: what needs it is imported after the skip)

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    nets = pytest.importorskip("monai.networks.nets")

from foreign_models import bundle_config, bundle_metadata, save_bundle

from livertumor_cli.engine.engine import Device, EngineKind, EngineRequest
from livertumor_cli.engine.open_engine import open_engine
from livertumor_cli.errors import LiverTumorError, ModelError, ModelNotFoundError
from livertumor_cli.export.any_checkpoint import export_any
from livertumor_cli.export.foreign import AdaptedNetwork
from livertumor_cli.export.monai_bundle import read_bundle
from livertumor_cli.export.stage_export import ExportedStage
from livertumor_cli.inference.intensity import prepare_intensity
from livertumor_cli.recipes.recipe import Activation, StageRole, Weighting, load_recipe
from livertumor_cli.recipes.store import verify_recipe

PATCH = (8, 16, 24)


def a_unet(channels: int = 3) -> Any:
    torch.manual_seed(3)
    return nets.UNet(
        spatial_dims=3, in_channels=1, out_channels=channels, channels=(4, 8, 12),
        strides=(2, 2), num_res_units=1, norm="instance",
    ).eval()  # fmt: skip


def a_scan() -> np.ndarray:
    """HU along z, y, x of the patient, beyond the window on both sides."""
    return np.random.default_rng(4).normal(60, 150, PATCH).astype(np.float32)


def expected_logits(network: Any, hu: np.ndarray) -> np.ndarray:
    """The bundle's own steps, written down: x y z along R, A, S, and -57..164 HU to 0..1."""
    ras = hu[:, ::-1, ::-1].transpose(2, 1, 0)
    scaled = np.clip((ras + 57) / (164 + 57), 0, 1).astype(np.float32)
    with torch.inference_mode():
        batch = torch.from_numpy(np.ascontiguousarray(scaled)[None, None])
        logits = network(batch).numpy()[0]
    return np.asarray(logits.transpose(0, 3, 2, 1)[:, :, ::-1, ::-1])


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> ExportedStage:
    """The exporter takes seconds, so the tests share it."""
    folder = tmp_path_factory.mktemp("monai")
    return export_any(save_bundle(folder / "bundle", a_unet()), folder / "liver-unet")


def test_recipe(exported: ExportedStage) -> None:
    recipe = load_recipe(exported.file.parent)
    verify_recipe(recipe)
    stage = recipe.stage(StageRole.LESION)
    assert (recipe.name, recipe.training_data) == ("liver-unet", "Task03_Liver")
    assert stage.network == "UNet"
    assert stage.classes == ("background", "liver", "tumor")
    assert (stage.spacing_mm, stage.patch) == ((3.0, 2.0, 1.5), PATCH)
    assert (stage.hu_window, stage.overlap) == ((-57, 164), (0.5, 0.5, 0.5))
    assert (stage.weighting, stage.activation) == (Weighting.UNIFORM, Activation.SOFTMAX)


def test_the_file_computes_what_the_bundle_computes(exported: ExportedStage) -> None:
    hu = a_scan()
    stage = load_recipe(exported.file.parent).stage(StageRole.LESION)
    engine = open_engine(
        EngineRequest(file=exported.file, device=Device.CPU, kind=EngineKind.ONNXRUNTIME)
    )
    obtained = engine.run(prepare_intensity(hu, stage)[None, None])[0]
    expected = expected_logits(a_unet(), hu)
    assert np.abs(obtained - expected).max() < 1e-4
    assert exported.agreement.logit_difference <= 1e-3
    assert len(np.unique(expected.argmax(0))) > 1


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["AttentionUnet", "BasicUNet", "DynUNet", "SegResNet", "VNet"])
def test_the_other_networks(tmp_path: Path, kind: str) -> None:
    keywords: dict[str, Any] = {
        "AttentionUnet": {"channels": [4, 8], "strides": [2]},
        "BasicUNet": {"features": [4, 4, 8, 8, 16, 4]},
        "DynUNet": {
            "kernel_size": [3, 3, 3], "strides": [1, 2, 2], "upsample_kernel_size": [2, 2],
            "filters": [4, 8, 8], "deep_supervision": True,
        },
        "SegResNet": {"init_filters": 8},
        "VNet": {},
    }[kind] | {"spatial_dims": 3, "in_channels": 1, "out_channels": 3}  # fmt: skip
    torch.manual_seed(3)
    network = getattr(nets, kind)(**keywords).eval()
    config = bundle_config(
        network_def={"_target_": f"monai.networks.nets.{kind}", **keywords},
        inferer={"_target_": "SlidingWindowInferer", "roi_size": 32, "mode": "gaussian"},
    )
    model = save_bundle(tmp_path / "bundle", network, config=config)
    exported = export_any(model, tmp_path / "recipe")
    assert exported.agreement.logit_difference <= 1e-3
    stage = load_recipe(tmp_path / "recipe").stage(StageRole.LESION)
    assert (stage.patch, stage.weighting) == ((32, 32, 32), Weighting.GAUSSIAN)


def with_transforms(*transforms: dict[str, Any]) -> dict[str, Any]:
    chain = [
        {"_target_": "LoadImaged", "keys": "image"},
        {"_target_": "Spacingd", "keys": "image", "pixdim": [1.5, 2.0, 3.0]},
        *transforms,
    ]
    return bundle_config(preprocessing={"_target_": "Compose", "transforms": chain})


def test_images_that_are_not_turned_have_the_axes_given(tmp_path: Path) -> None:
    model = save_bundle(tmp_path, a_unet(), config=with_transforms())
    assert read_bundle(model).axes == "LPS"
    assert read_bundle(model, axes="LAS").axes == "LAS"


def test_intensities_in_several_steps(tmp_path: Path) -> None:
    scale = {"_target_": "ScaleIntensityRanged", "a_min": -100, "a_max": 300, "clip": True}
    centered = {"_target_": "NormalizeIntensityd", "subtrahend": 0.5, "divisor": 0.25}
    config = with_transforms({**scale, "b_min": -1, "b_max": 1}, centered)
    foreign = read_bundle(save_bundle(tmp_path, a_unet(), config=config))
    assert (foreign.hu_window, foreign.range) == ((-100, 300), (-6, 2))


def test_intensities_without_clipping(tmp_path: Path) -> None:
    scale = {"_target_": "ScaleIntensityRanged", "a_min": 0, "a_max": 1000, "b_min": 0, "b_max": 1}
    foreign = read_bundle(save_bundle(tmp_path, a_unet(), config=with_transforms(scale)))
    assert foreign.hu_window == (-1024, 3071)
    assert foreign.range == pytest.approx((-1.024, 3.071))


def test_sigmoid(tmp_path: Path) -> None:
    after = {"transforms": [{"_target_": "Activationsd", "sigmoid": True}]}
    config, metadata = bundle_config(postprocessing=after), bundle_metadata("liver", "tumor", "x")
    foreign = read_bundle(save_bundle(tmp_path, a_unet(), config=config, metadata=metadata))
    assert (foreign.activation, foreign.classes) == (Activation.SIGMOID, ("liver", "tumor"))
    hu = a_scan()
    window = ((np.clip(hu, -57, 164) + 57) / 221).astype(np.float32)
    with torch.inference_mode():
        batch = torch.from_numpy(window[None, None])
        obtained = AdaptedNetwork(foreign).eval()(batch).numpy()[0]
    assert np.allclose(obtained, expected_logits(a_unet(), hu)[:2], atol=1e-5)


def test_a_checkpoint_inside_a_table(tmp_path: Path) -> None:
    model = save_bundle(tmp_path, a_unet())
    torch.save({"state_dict": a_unet().state_dict(), "epoch": 3}, model / "models" / "model.pt")
    assert read_bundle(model).name == "UNet"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"classes": "$__import__('os').mkdir('trace')"}, "is code"),
        ({"classes": "@classes"}, "circle"),
        ({"classes": "@nowhere"}, "nowhere"),
        ({"network_def": {"_target_": "os.system", "command": "mkdir trace"}}, "'system'"),
        ({"network_def": {"_target_": "UNet", "spatial_dims": 2}}, "only 3D"),
        ({"network_def": {"_target_": "UNet", "surprise": 2}}, "not a MONAI bundle"),
        ({"inferer": "$SlidingWindowInferer()"}, "is code"),
        ({"preprocessing": {"transforms": []}}, "voxel size"),
        ({"preprocessing": "$make()"}, "voxel size|code"),
    ],
)
def test_configurations_that_cannot_be_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    model = save_bundle(tmp_path / "b", a_unet(), config=bundle_config(**changes))
    with pytest.raises(LiverTumorError, match=words):
        read_bundle(model)
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize(
    "transform",
    [
        {"_target_": "HistogramNormalized"},
        {"_target_": "NormalizeIntensityd", "nonzero": True},
        {"_target_": "Lambdad", "func": "$lambda x: x * 2"},
    ],
)
def test_transforms_that_no_recipe_can_express(tmp_path: Path, transform: dict[str, Any]) -> None:
    model = save_bundle(tmp_path, a_unet(), config=with_transforms(transform))
    with pytest.raises(LiverTumorError, match=r"cannot be expressed|is code"):
        read_bundle(model)


def test_damaged_and_foreign_weights(tmp_path: Path) -> None:
    model = save_bundle(tmp_path, a_unet(5))
    with pytest.raises(ModelError, match="another network"):
        read_bundle(model)
    weights = model / "models" / "model.pt"
    weights.write_bytes(weights.read_bytes()[:500])
    with pytest.raises(ModelError, match="damaged"):
        read_bundle(model)
    weights.unlink()
    with pytest.raises(ModelNotFoundError):
        read_bundle(model)


def test_labels_of_something_else(tmp_path: Path) -> None:
    metadata = bundle_metadata("background", "spleen", "kidney")
    with pytest.raises(ModelError, match="spleen"):
        read_bundle(save_bundle(tmp_path, a_unet(), metadata=metadata))


def test_a_bundle_in_yaml(tmp_path: Path) -> None:
    model = save_bundle(tmp_path, a_unet())
    (model / "configs" / "inference.json").rename(model / "configs" / "inference.yaml")
    with pytest.raises(ModelNotFoundError, match=r"inference\.json"):
        read_bundle(model)
