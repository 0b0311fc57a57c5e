"""Model folders of nnU-Net v2: `plans.json`, `dataset.json` and `fold_*/checkpoint_final.pth`.

Networks are those of `dynamic-network-architectures`. What the plans name is looked up in the lists
below and never imported by its name: plans are data, and data must not choose what is run.

What nnU-Net does and a recipe does not: it resamples with third-order splines and mirrors the scan
at test time. A recipe interpolates linearly and looks once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from dynamic_network_architectures.architectures.unet import (
    PlainConvUNet,
    ResidualEncoderUNet,
    ResidualUNet,
)
from torch import nn

from livertumor_cli.errors import ConfigError, LiverTumorError, ModelError, ModelNotFoundError
from livertumor_cli.export.checkpoint_file import put_weights, read_checkpoint, read_json
from livertumor_cli.export.foreign import ForeignNetwork, along_patient
from livertumor_cli.export.label_names import channel_classes
from livertumor_cli.export.to_recipe import NOT_STATED
from livertumor_cli.recipes.recipe import Activation, Weighting

PLANS, DATASET = "plans.json", "dataset.json"
CHECKPOINTS = ("checkpoint_final.pth", "checkpoint_best.pth")

OVERLAP = 0.5
"""Step of nnU-Net's sliding window, as a share of the patch."""

MOST_STAGES = 12

_NETWORKS: dict[str, type[nn.Module]] = {
    "PlainConvUNet": PlainConvUNet,
    "ResidualEncoderUNet": ResidualEncoderUNet,
    "ResidualUNet": ResidualUNet,
}

_MODULES: dict[str, type[nn.Module]] = {
    "Conv3d": nn.Conv3d,
    "InstanceNorm3d": nn.InstanceNorm3d,
    "BatchNorm3d": nn.BatchNorm3d,
    "Dropout3d": nn.Dropout3d,
    "LeakyReLU": nn.LeakyReLU,
    "ReLU": nn.ReLU,
    "GELU": nn.GELU,
    "SiLU": nn.SiLU,
}

_MODULE_KEYS = ("conv_op", "norm_op", "dropout_op", "nonlin")

_PLAIN_KEYS = frozenset(
    {
        *("n_stages", "features_per_stage", "kernel_sizes", "strides", "n_conv_per_stage"),
        *("n_blocks_per_stage", "n_conv_per_stage_decoder", "conv_bias", "norm_op_kwargs"),
        *("dropout_op_kwargs", "nonlin_kwargs", "nonlin_first", "bottleneck_channels"),
        "stem_channels",
    }
)

Values = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """Where a model of nnU-Net lies.

    Attributes:
        folder: Folder of the plans.
        checkpoint: One fold's weights.
    """

    folder: Path
    checkpoint: Path


def find_nnunet(path: Path) -> ModelFiles | None:
    """The model at a path; None where there is none.

    Args:
        path: Model folder, folder of one of its folds, or a checkpoint in it.

    Raises:
        ModelNotFoundError: If the folder has no checkpoint, or those of several folds.
    """
    home = path if path.is_dir() else path.parent
    folder = next((one for one in (home, home.parent) if (one / PLANS).is_file()), None)
    if folder is None or path.suffix in (".safetensors", ".onnx"):
        return None
    if path.is_file():
        return ModelFiles(folder, path)
    for name in CHECKPOINTS:
        found = sorted([*path.glob(name), *path.glob(f"fold_*/{name}")])
        if len(found) > 1:
            folds = ", ".join(one.parent.name for one in found)
            raise ModelNotFoundError(
                f"{path} holds several folds: {folds}.",
                hint=f"Give one of them, such as {found[0].parent}.",
            )
        if found:
            return ModelFiles(folder, found[0])
    raise ModelNotFoundError(f"{path} holds no {CHECKPOINTS[0]}.")


def read_nnunet(files: ModelFiles, *, axes: str | None = None) -> ForeignNetwork:
    """Build the network of a model folder and give it its weights.

    Args:
        files: From `find_nnunet`.
        axes: Where the x, y, z axes of the training images point, such as "LPS". nnU-Net does not
            keep it: where None, LPS, or RAS for its reader that turns images.

    Raises:
        ModelError: If a file is damaged, would run something, or the files do not fit together.
        ConfigError: If it is a kind of model that no recipe can express.
    """
    plans, dataset = read_json(files.folder / PLANS), read_json(files.folder / DATASET)
    stored = read_checkpoint(files.checkpoint)
    try:
        return _assemble(plans, dataset, stored, files=files, axes=axes)
    except LiverTumorError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, AssertionError) as error:
        raise ModelError(
            f"{files.folder / PLANS} and {DATASET} are not those of an nnU-Net v2 model: "
            f"{type(error).__name__} at {error}.",
        ) from error


def _assemble(
    plans: Values, dataset: Values, stored: Values, *, files: ModelFiles, axes: str | None
) -> ForeignNetwork:
    name = str(_table(stored.get("init_args")).get("configuration") or _named(files.folder))
    configuration = _configuration(plans, name)
    if configuration.get("previous_stage") or len(configuration["patch_size"]) != 3:
        raise ConfigError(
            f"the configuration '{name}' cannot be a stage of a recipe.",
            hint="Export 3d_fullres or 3d_lowres: 2D and cascaded models are not taken.",
        )
    labels, activation = _labels(dataset)
    network = _build(configuration, channels=len(labels))
    put_weights(network, stored.get("network_weights"), path=files.checkpoint)
    directions = _axes(plans, axes)
    depth, height, width = along_patient(configuration["patch_size"], directions)
    window, span = _intensity(plans, configuration)
    return ForeignNetwork(
        network=network,
        name=type(network).__name__,
        axes=directions,
        spacing_mm=along_patient(configuration["spacing"], directions),
        patch=(int(depth), int(height), int(width)),
        overlap=OVERLAP,
        weighting=Weighting.GAUSSIAN,
        hu_window=window,
        range=span,
        channels=channel_classes(labels, where=str(files.folder / DATASET)),
        activation=activation,
        training_data=str(plans.get("dataset_name") or dataset.get("name") or NOT_STATED),
        license=str(dataset.get("licence") or dataset.get("license") or NOT_STATED),
    )


def _configuration(plans: Values, name: str) -> dict[str, Any]:
    """A configuration with what it inherits."""
    merged: dict[str, Any] = {}
    seen: list[str] = []
    while name:
        if name in seen:
            raise ModelError(f"{PLANS}: the configuration '{name}' inherits from itself.")
        seen.append(name)
        own = plans["configurations"][name]
        merged = {**own, **merged}
        name = str(own.get("inherits_from") or "")
    return merged


def _labels(dataset: Values) -> tuple[list[str], Activation]:
    """Names of the channels; regions that may lie in each other are judged one by one."""
    if len(dataset.get("channel_names", dataset.get("modality", {}))) != 1:
        raise ConfigError(f"{DATASET}: a recipe has one input, the CT; this model has several.")
    labels = {name: value for name, value in dataset["labels"].items() if name != "ignore"}
    if any(isinstance(value, (list, tuple)) and len(value) > 1 for value in labels.values()):
        return [name for name, value in labels.items() if value not in (0, [0])], Activation.SIGMOID
    return sorted(labels, key=lambda name: int(labels[name])), Activation.SOFTMAX


def _build(configuration: Values, *, channels: int) -> nn.Module:
    """The network of a configuration without memory for its weights."""
    kind, keywords = _architecture(configuration)
    unknown = sorted(set(keywords) - _PLAIN_KEYS - set(_MODULE_KEYS))
    if unknown:
        raise ConfigError(f"{PLANS}: the network has '{unknown[0]}', which is not known here.")
    if kind not in _NETWORKS:
        raise ConfigError(
            f"{PLANS} names the network '{kind}', which is not known here.",
            hint=f"Known are {', '.join(_NETWORKS)}.",
        )
    if not 0 < int(keywords["n_stages"]) <= MOST_STAGES:
        raise ModelError(f"{PLANS}: a network of {keywords['n_stages']} stages.")
    modules = {key: _module(keywords.get(key)) for key in _MODULE_KEYS}
    with torch.device("meta"):
        return _NETWORKS[kind](
            **{**keywords, **modules},
            input_channels=1,
            num_classes=channels,
            deep_supervision=False,
        )


def _architecture(configuration: Values) -> tuple[str, dict[str, Any]]:
    """Class and arguments of the network, also of plans from before 2.3, which state only some."""
    stated = configuration.get("architecture")
    if stated is not None:
        return _last(stated["network_class_name"]), dict(stated["arch_kwargs"])
    kind = configuration["UNet_class_name"]
    stages = len(configuration["n_conv_per_stage_encoder"])
    first, most = configuration["UNet_base_num_features"], configuration["unet_max_num_features"]
    blocks = "n_conv_per_stage" if kind == "PlainConvUNet" else "n_blocks_per_stage"
    return kind, {
        "n_stages": stages,
        "features_per_stage": [min(first * 2**stage, most) for stage in range(stages)],
        "conv_op": "Conv3d",
        "kernel_sizes": configuration["conv_kernel_sizes"],
        "strides": configuration["pool_op_kernel_sizes"],
        blocks: configuration["n_conv_per_stage_encoder"],
        "n_conv_per_stage_decoder": configuration["n_conv_per_stage_decoder"],
        "conv_bias": True,
        "norm_op": "InstanceNorm3d",
        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "nonlin": "LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    }


def _module(name: str | None) -> type[nn.Module] | None:
    if name is None:
        return None
    if _last(name) not in _MODULES:
        raise ConfigError(f"{PLANS} names the layer '{name}', which is not known here.")
    return _MODULES[_last(name)]


def _last(dotted: str) -> str:
    """The name behind the last dot: where a class lies changed between versions."""
    return str(dotted).rpartition(".")[2]


def _intensity(
    plans: Values, configuration: Values
) -> tuple[tuple[float, float], tuple[float, float]]:
    """The window in HU, and what its ends are after nnU-Net's normalization."""
    schemes: Sequence[str] = configuration["normalization_schemes"]
    if list(schemes) != ["CTNormalization"]:
        raise ConfigError(
            f"{PLANS}: the input is normalized by {', '.join(map(str, schemes))}.",
            hint="Only CTNormalization, nnU-Net's choice for channels called CT, can be exported.",
        )
    known = plans.get("foreground_intensity_properties_per_channel")
    found = (known or plans["foreground_intensity_properties_by_modality"])["0"]
    low, high = float(found["percentile_00_5"]), float(found["percentile_99_5"])
    mean, deviation = float(found["mean"]), max(float(found["std"]), 1e-8)
    return (low, high), ((low - mean) / deviation, (high - mean) / deviation)


def _axes(plans: Values, axes: str | None) -> str:
    """Where the network's axes point.

    Arrays of nnU-Net have the image's axes from last to first, z y x, and then in the order of
    `transpose_forward`.
    """
    if axes is None:
        axes = "RAS" if plans.get("image_reader_writer") == "NibabelIOWithReorient" else "LPS"
    order = [int(place) for place in plans.get("transpose_forward", (0, 1, 2))]
    if sorted(order) != [0, 1, 2]:
        raise ModelError(f"{PLANS}: transpose_forward is {order}.")
    return "".join(axes[::-1][place] for place in order)


def _named(folder: Path) -> str:
    """The configuration in the folder's name, `trainer__plans__configuration`."""
    return folder.absolute().name.rpartition("__")[2]


def _table(value: object) -> Values:
    return value if isinstance(value, Mapping) else {}
