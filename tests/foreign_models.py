"""Tiny models as nnU-Net v2 and MONAI leave them; needs torch and their network libraries."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

INTENSITY = {"mean": 80.0, "std": 40.0, "percentile_00_5": -60.0, "percentile_99_5": 200.0}


def architecture(**changes: Any) -> dict[str, Any]:
    keywords = {
        "n_stages": 3,
        "features_per_stage": [4, 6, 8],
        "conv_op": "torch.nn.modules.conv.Conv3d",
        "kernel_sizes": [[1, 3, 3], [3, 3, 3], [3, 3, 3]],
        "strides": [[1, 1, 1], [1, 2, 2], [2, 2, 2]],
        "n_conv_per_stage": [1, 1, 1],
        "n_conv_per_stage_decoder": [1, 1],
        "conv_bias": True,
        "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
        "norm_op_kwargs": {"eps": 1e-05, "affine": True},
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    }
    return {
        "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
        "arch_kwargs": keywords | changes,
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }


def plans(**changes: Any) -> dict[str, Any]:
    full = {
        "data_identifier": "nnUNetPlans_3d_fullres",
        "patch_size": [8, 16, 24],
        "spacing": [3.0, 2.0, 1.5],
        "normalization_schemes": ["CTNormalization"],
        "architecture": architecture(),
    }
    return {
        "dataset_name": "Dataset003_Liver",
        "plans_name": "nnUNetPlans",
        "transpose_forward": [0, 1, 2],
        "image_reader_writer": "SimpleITKIO",
        "configurations": {"base": full, "3d_fullres": {"inherits_from": "base"} | changes},
        "foreground_intensity_properties_per_channel": {"0": INTENSITY},
    }


def dataset(labels: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "channel_names": {"0": "CT"},
        "labels": labels or {"background": 0, "liver": 1, "cancer": 2},
        "file_ending": ".nii.gz",
        "licence": "CC BY-SA 4.0",
    }


def plain_unet(channels: int = 3) -> nn.Module:
    """The network of `architecture()`, built by hand as nnU-Net would."""
    from dynamic_network_architectures.architectures.unet import PlainConvUNet

    torch.manual_seed(5)
    network = PlainConvUNet(
        1, 3, [4, 6, 8], nn.Conv3d, [[1, 3, 3], [3, 3, 3], [3, 3, 3]],
        [[1, 1, 1], [1, 2, 2], [2, 2, 2]], [1, 1, 1], channels, [1, 1], True, nn.InstanceNorm3d,
        {"eps": 1e-5, "affine": True}, None, None, nn.LeakyReLU, {"inplace": True},
    )  # fmt: skip
    return network.eval()


def save_nnunet(
    folder: Path,
    network: nn.Module,
    *,
    stated_plans: dict[str, Any] | None = None,
    stated_dataset: dict[str, Any] | None = None,
    fold: str = "fold_0",
    prefix: str = "",
) -> Path:
    """A model folder with a checkpoint as nnU-Net's trainer writes it, logs and all."""
    (folder / fold).mkdir(parents=True, exist_ok=True)
    (folder / "plans.json").write_text(json.dumps(stated_plans or plans()), encoding="utf-8")
    (folder / "dataset.json").write_text(json.dumps(stated_dataset or dataset()), encoding="utf-8")
    stored = {
        "network_weights": {prefix + key: value for key, value in network.state_dict().items()},
        "optimizer_state": {"state": {}, "param_groups": [{"lr": 0.01}]},
        "grad_scaler_state": None,
        "logging": {"mean_fg_dice": [np.float64(0.5), np.float32(0.25)], "epochs": [np.int64(3)]},
        "_best_ema": np.float64(0.5),
        "current_epoch": 1000,
        "init_args": {"configuration": "3d_fullres", "fold": 0, "device": torch.device("cpu")},
        "trainer_name": "nnUNetTrainer",
        "inference_allowed_mirroring_axes": (0, 1, 2),
    }
    torch.save(stored, folder / fold / "checkpoint_final.pth")
    return folder


def bundle_config(**changes: Any) -> dict[str, Any]:
    """`inference.json` in the form of the MONAI model zoo, code that nobody needs included."""
    config: dict[str, Any] = {
        "imports": ["$import glob", "$import os"],
        "bundle_root": ".",
        "output_dir": "$@bundle_root + '/eval'",
        "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
        "classes": 3,
        "network_def": {
            "_target_": "UNet",
            "spatial_dims": 3,
            "in_channels": 1,
            "out_channels": "@classes",
            "channels": [4, 8, 12],
            "strides": [2, 2],
            "num_res_units": 1,
            "norm": "instance",
        },
        "network": "$@network_def.to(@device)",
        "preprocessing": {
            "_target_": "Compose",
            "transforms": [
                {"_target_": "LoadImaged", "keys": "image"},
                {"_target_": "EnsureChannelFirstd", "keys": "image"},
                {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS"},
                {"_target_": "Spacingd", "keys": "image", "pixdim": [1.5, 2.0, 3.0]},
                {
                    "_target_": "ScaleIntensityRanged", "keys": "image",
                    "a_min": -57, "a_max": 164, "b_min": 0, "b_max": 1, "clip": True,
                },
                {"_target_": "EnsureTyped", "keys": "image"},
            ],
        },
        "inferer": {
            "_target_": "SlidingWindowInferer", "roi_size": [24, 16, 8], "sw_batch_size": 4,
            "overlap": 0.5,
        },
        "postprocessing": {
            "_target_": "Compose",
            "transforms": [{"_target_": "Activationsd", "keys": "pred", "softmax": True}],
        },
    }  # fmt: skip
    return config | changes


def bundle_metadata(*labels: str) -> dict[str, Any]:
    names = labels or ("background", "liver", "tumor")
    channels = {str(number): name for number, name in enumerate(names)}
    return {
        "data_source": "Task03_Liver",
        "network_data_format": {"outputs": {"pred": {"channel_def": channels}}},
    }


def save_bundle(
    folder: Path,
    network: nn.Module,
    *,
    config: dict[str, Any] | None = None,
    metadata: dict[str, Any] | None = None,
) -> Path:
    for name in ("configs", "models"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for name, values in (("inference", config), ("metadata", metadata)):
        stated = values or (bundle_config() if name == "inference" else bundle_metadata())
        (folder / "configs" / f"{name}.json").write_text(json.dumps(stated), encoding="utf-8")
    torch.save(network.state_dict(), folder / "models" / "model.pt")
    return folder
