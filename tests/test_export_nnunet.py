"""Model folders of nnU-Net v2 become stages that compute what nnU-Net computes, or are refused."""

# ruff: noqa: E402 (torch is optional: what needs it is imported after the skip)

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")
pytest.importorskip("dynamic_network_architectures")

from foreign_models import INTENSITY, architecture, dataset, plain_unet, plans, save_nnunet

from livertumor_cli.engine.engine import Device, EngineKind, EngineRequest
from livertumor_cli.engine.open_engine import open_engine
from livertumor_cli.errors import ConfigError, LiverTumorError, ModelError, ModelNotFoundError
from livertumor_cli.export.any_checkpoint import export_any
from livertumor_cli.export.foreign import AdaptedNetwork, require_axes
from livertumor_cli.export.nnunet import find_nnunet, read_nnunet
from livertumor_cli.export.stage_export import ExportedStage
from livertumor_cli.inference.intensity import prepare_intensity
from livertumor_cli.recipes.recipe import Activation, StageRole, Weighting, load_recipe
from livertumor_cli.recipes.store import verify_recipe

PATCH = (8, 16, 24)


def a_scan() -> np.ndarray:
    """HU along z, y, x of the patient, beyond the window on both sides."""
    hu = np.random.default_rng(4).normal(60, 150, PATCH).astype(np.float32)
    assert hu.min() < INTENSITY["percentile_00_5"]
    assert hu.max() > INTENSITY["percentile_99_5"]
    return hu


def normalized(hu: np.ndarray) -> np.ndarray:
    """CTNormalization, written down anew."""
    clipped = np.clip(hu, INTENSITY["percentile_00_5"], INTENSITY["percentile_99_5"])
    return ((clipped - INTENSITY["mean"]) / INTENSITY["std"]).astype(np.float32)


def through(network: Any, array: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        batch = torch.from_numpy(np.ascontiguousarray(array)[None, None])
        return np.asarray(network(batch).numpy()[0])


def read(folder: Path, **options: Any) -> Any:
    files = find_nnunet(folder)
    assert files is not None
    return read_nnunet(files, **options)


def adapted(foreign: Any, hu: np.ndarray) -> np.ndarray:
    """What the stage's network says of HU along the patient's axes, in torch."""
    low, high = foreign.hu_window
    window = ((np.clip(hu, low, high) - low) / (high - low)).astype(np.float32)
    return through(AdaptedNetwork(foreign).eval(), window)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> ExportedStage:
    """The exporter takes seconds, so the tests share it."""
    folder = tmp_path_factory.mktemp("nnunet")
    model = save_nnunet(folder / "nnUNetTrainer__nnUNetPlans__3d_fullres", plain_unet())
    return export_any(model, folder / "My Liver")


def test_recipe(exported: ExportedStage) -> None:
    recipe = load_recipe(exported.file.parent)
    verify_recipe(recipe)
    stage = recipe.stage(StageRole.LESION)
    assert recipe.name == "my-liver"
    assert (recipe.training_data, recipe.license) == ("Dataset003_Liver", "CC BY-SA 4.0")
    assert stage.classes == ("background", "liver", "tumor")
    assert (stage.spacing_mm, stage.patch) == ((3.0, 2.0, 1.5), PATCH)
    assert (stage.hu_window, stage.overlap) == ((-60, 200), (0.5, 0.5, 0.5))
    assert (stage.weighting, stage.activation) == (Weighting.GAUSSIAN, Activation.SOFTMAX)


def test_the_file_computes_what_nnunet_computes(exported: ExportedStage) -> None:
    hu = a_scan()
    stage = load_recipe(exported.file.parent).stage(StageRole.LESION)
    engine = open_engine(
        EngineRequest(file=exported.file, device=Device.CPU, kind=EngineKind.ONNXRUNTIME)
    )
    obtained = engine.run(prepare_intensity(hu, stage)[None, None])[0]
    expected = through(plain_unet(), normalized(hu))
    assert np.abs(obtained - expected).max() < 1e-4
    assert exported.agreement.logit_difference <= 1e-3
    assert exported.agreement.changed_share <= 1e-5
    # The network tells voxels apart: a constant would agree with anything.
    assert len(np.unique(expected.argmax(0))) > 1


def test_nothing_of_the_builder_is_inside(exported: ExportedStage) -> None:
    content = exported.file.read_bytes() + (exported.file.parent / "recipe.toml").read_bytes()
    for trace in (str(Path.home()), os.sep + "site-packages", ".py", "nnUNetTrainer"):
        assert trace.encode() not in content


def test_a_liver_network_joins_as_first_stage(exported: ExportedStage, tmp_path: Path) -> None:
    import shutil

    folder = shutil.copytree(exported.file.parent, tmp_path / "my-liver")
    labels = {"background": 0, "liver": 1}
    model = save_nnunet(tmp_path / "m", plain_unet(2), stated_dataset=dataset(labels))
    export_any(model, folder, role=StageRole.LIVER)
    recipe = load_recipe(folder)
    verify_recipe(recipe)
    assert [stage.name for stage in recipe.stages] == ["liver", "lesion"]
    assert recipe.stage("liver").classes == ("background", "liver")


def test_a_liver_stage_alone_is_refused(tmp_path: Path) -> None:
    model = save_nnunet(tmp_path / "m", plain_unet())
    with pytest.raises(ConfigError):
        export_any(model, tmp_path / "new", role=StageRole.LIVER)
    assert not (tmp_path / "new").exists()


def test_a_checkpoint_of_several_processes(tmp_path: Path) -> None:
    foreign = read(save_nnunet(tmp_path, plain_unet(), prefix="module."))
    hu = a_scan()
    assert np.allclose(adapted(foreign, hu), through(plain_unet(), normalized(hu)), atol=1e-5)


def test_axes_of_the_training_images(tmp_path: Path) -> None:
    """Images stored along R, A, S: nnU-Net sees z y x of them, both last axes the other way."""
    foreign = read(save_nnunet(tmp_path, plain_unet()), axes="RAS")
    hu = a_scan()
    expected = through(plain_unet(), normalized(hu[:, ::-1, ::-1]))[:, :, ::-1, ::-1]
    assert np.allclose(adapted(foreign, hu), expected, atol=1e-5)
    assert not np.allclose(expected, through(plain_unet(), normalized(hu)), atol=1e-2)


def test_the_reader_that_turns_images(tmp_path: Path) -> None:
    stated = plans() | {"image_reader_writer": "NibabelIOWithReorient"}
    assert read(save_nnunet(tmp_path, plain_unet(), stated_plans=stated)).axes == "SAR"


def test_transposed_axes(tmp_path: Path) -> None:
    """The network's first axis is the image's last: x; its patch and spacing are in its order."""
    stated = plans(patch_size=[24, 8, 16], spacing=[1.5, 3.0, 2.0])
    stated["transpose_forward"] = [2, 0, 1]
    foreign = read(save_nnunet(tmp_path, plain_unet(), stated_plans=stated))
    assert (foreign.axes, foreign.patch, foreign.spacing_mm) == ("LSP", PATCH, (3.0, 2.0, 1.5))
    hu = a_scan()
    moved = through(plain_unet(), normalized(hu).transpose(2, 0, 1))
    assert np.allclose(adapted(foreign, hu), moved.transpose(0, 2, 3, 1), atol=1e-5)


def test_regions_are_judged_one_by_one(tmp_path: Path) -> None:
    labels = {"background": 0, "whole_liver": [1, 2], "tumour": [2]}
    model = save_nnunet(tmp_path, plain_unet(2), stated_dataset=dataset(labels))
    foreign = read(model)
    assert (foreign.activation, foreign.classes) == (Activation.SIGMOID, ("liver", "tumor"))


def test_foreign_organs_are_background_and_keep_their_win(tmp_path: Path) -> None:
    labels = {"liver": 2, "background": 0, "spleen": 1, "hepatic_vessel": 4, "lesion": 3}
    foreign = read(save_nnunet(tmp_path, plain_unet(5), stated_dataset=dataset(labels)))
    assert foreign.classes == ("background", "liver", "tumor", "vessel")
    hu = a_scan()
    inner = through(plain_unet(5), normalized(hu))
    meaning = np.array([0, 0, 1, 2, 3])
    obtained = adapted(foreign, hu)
    assert np.array_equal(obtained.argmax(0), meaning[inner.argmax(0)])
    assert np.allclose(obtained[0], inner[:2].max(0), atol=1e-5)


def test_plans_from_before_the_architecture_was_stated(tmp_path: Path) -> None:
    stated = plans()
    full = stated["configurations"]["base"]
    del full["architecture"]
    full |= {
        "UNet_class_name": "PlainConvUNet",
        "UNet_base_num_features": 4,
        "unet_max_num_features": 8,
        "n_conv_per_stage_encoder": [1, 1],
        "n_conv_per_stage_decoder": [1],
        "conv_kernel_sizes": [[3, 3, 3]] * 2,
        "pool_op_kernel_sizes": [[1, 1, 1], [2, 2, 2]],
    }
    from dynamic_network_architectures.architectures.unet import PlainConvUNet
    from torch import nn

    network = PlainConvUNet(
        1, 2, [4, 8], nn.Conv3d, 3, [1, 2], [1, 1], 3, [1], True, nn.InstanceNorm3d,
        {"eps": 1e-5, "affine": True}, None, None, nn.LeakyReLU, {"inplace": True},
    ).eval()  # fmt: skip
    foreign = read(save_nnunet(tmp_path, network, stated_plans=stated))
    hu = a_scan()
    assert np.allclose(adapted(foreign, hu), through(network, normalized(hu)), atol=1e-5)


def test_residual_encoder(tmp_path: Path) -> None:
    from dynamic_network_architectures.architectures.unet import ResidualEncoderUNet
    from torch import nn

    network = ResidualEncoderUNet(
        1, 2, [4, 8], nn.Conv3d, 3, [1, 2], [1, 2], 3, [1], True, nn.InstanceNorm3d,
        {"eps": 1e-5, "affine": True}, None, None, nn.LeakyReLU, {"inplace": True},
    ).eval()  # fmt: skip
    arch = architecture(
        n_stages=2, features_per_stage=[4, 8], kernel_sizes=3, strides=[1, 2],
        n_blocks_per_stage=[1, 2], n_conv_per_stage_decoder=[1],
    )  # fmt: skip
    del arch["arch_kwargs"]["n_conv_per_stage"]
    arch["network_class_name"] = "dynamic_network_architectures.architectures.residual_unet.ResidualEncoderUNet"  # noqa: E501  # fmt: skip
    foreign = read(save_nnunet(tmp_path, network, stated_plans=plans(architecture=arch)))
    hu = a_scan()
    assert np.allclose(adapted(foreign, hu), through(network, normalized(hu)), atol=1e-5)


def test_folds(tmp_path: Path) -> None:
    model = save_nnunet(tmp_path, plain_unet())
    save_nnunet(tmp_path, plain_unet(), fold="fold_1")
    with pytest.raises(ModelNotFoundError, match="several folds: fold_0, fold_1"):
        find_nnunet(model)
    for given in (model / "fold_1", model / "fold_1" / "checkpoint_final.pth"):
        files = find_nnunet(given)
        assert files is not None
        assert files.checkpoint == model / "fold_1" / "checkpoint_final.pth"
        assert files.folder == model


def test_a_folder_without_checkpoint(tmp_path: Path) -> None:
    save_nnunet(tmp_path, plain_unet())
    (tmp_path / "fold_0" / "checkpoint_final.pth").unlink()
    with pytest.raises(ModelNotFoundError, match="checkpoint_final"):
        find_nnunet(tmp_path)


class Malicious:
    """A pickle that makes a file when it is opened."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.trace),)


def test_a_malicious_checkpoint_is_refused_and_not_run(tmp_path: Path) -> None:
    model, trace = save_nnunet(tmp_path / "m", plain_unet()), tmp_path / "trace"
    torch.save({"network_weights": Malicious(trace)}, model / "fold_0" / "checkpoint_final.pth")
    with pytest.raises(ModelError, match=r"mkdir.*would be executed"):
        read(model)
    assert not trace.exists()


@pytest.mark.parametrize("keep", [0, 100, -200])
def test_a_damaged_checkpoint_is_refused(tmp_path: Path, keep: int) -> None:
    path = save_nnunet(tmp_path, plain_unet()) / "fold_0" / "checkpoint_final.pth"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ModelError, match="damaged"):
        read(tmp_path)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="another network"):
        read(save_nnunet(tmp_path, plain_unet(4)))


def test_weights_that_are_no_numbers_do_not_enter_a_recipe(tmp_path: Path) -> None:
    network = plain_unet()
    with torch.no_grad():
        next(network.parameters()).fill_(float("nan"))
    with pytest.raises(LiverTumorError, match="differs from its network"):
        export_any(save_nnunet(tmp_path / "m", network), tmp_path / "recipe")
    assert not list((tmp_path / "recipe").iterdir())


def test_a_giant_network_costs_no_memory(tmp_path: Path) -> None:
    huge = architecture(features_per_stage=[10**6] * 3)
    with pytest.raises(ModelError, match="another network"):
        read(save_nnunet(tmp_path, plain_unet(), stated_plans=plans(architecture=huge)))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"patch_size": [16, 24], "spacing": [1, 1]}, "cannot be a stage"),
        ({"previous_stage": "3d_lowres"}, "cannot be a stage"),
        ({"normalization_schemes": ["ZScoreNormalization"]}, "ZScoreNormalization"),
        ({"inherits_from": "3d_fullres"}, "inherits from itself"),
        ({"architecture": architecture(conv_op="os.system")}, "'os.system'"),
        ({"architecture": architecture(surprise=1)}, "'surprise'"),
        ({"architecture": architecture(n_stages=10**9)}, "stages"),
        ({"architecture": architecture() | {"network_class_name": "evil.Net"}}, "'Net'"),
        ({"architecture": {}}, "not those of an nnU-Net"),
        ({"spacing": "wide"}, "not those of an nnU-Net"),
        ({"architecture": architecture(strides=[[1, 1, 1]])}, "not those of an nnU-Net"),
    ],
)
def test_plans_that_cannot_be_taken(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(LiverTumorError, match=words):
        read(save_nnunet(tmp_path, plain_unet(), stated_plans=plans(**changes)))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"labels": {"background": 0, "spleen": 1, "kidney": 2}}, "spleen, kidney"),
        ({"channel_names": {"0": "CT", "1": "PET"}}, "one input"),
        ({"labels": None}, "not those of an nnU-Net"),
    ],
)
def test_data_sets_that_cannot_be_taken(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(LiverTumorError, match=words):
        read(save_nnunet(tmp_path, plain_unet(), stated_dataset=dataset() | changes))


@pytest.mark.parametrize("text", ["{", "[1]", json.dumps({"configurations": 3})])
def test_broken_plans(tmp_path: Path, text: str) -> None:
    model = save_nnunet(tmp_path, plain_unet())
    (model / "plans.json").write_text(text, encoding="utf-8")
    with pytest.raises(ModelError, match=r"plans\.json"):
        read(model)


def test_a_patch_that_does_not_fit(tmp_path: Path) -> None:
    model = save_nnunet(tmp_path / "m", plain_unet())
    with pytest.raises(ConfigError, match=r"\(7, 16, 24\)"):
        export_any(model, tmp_path / "recipe", patch=(7, 16, 24))


@pytest.mark.parametrize("code", ["", "LP", "LPX", "LRS", "LPSA"])
def test_axes_that_are_none(code: str) -> None:
    with pytest.raises(ConfigError, match=r"axes|axis"):
        require_axes(code)


def test_options_of_foreign_networks_are_refused_for_ours(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(ConfigError, match="--axes is for"):
        export_any(tmp_path / "model.safetensors", tmp_path / "recipe", axes="RAS")
