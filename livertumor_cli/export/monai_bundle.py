"""MONAI bundles: `configs/metadata.json`, `configs/inference.json` and `models/model.pt`.

A bundle's configuration may hold Python code (texts that begin with "$") and names of classes to
import. None of it is executed here: of the configuration only plain values are read, networks and
transforms are looked up in the lists below, and what is not in them is refused by its name.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from livertumor_cli.errors import ConfigError, LiverTumorError, ModelError, ModelNotFoundError
from livertumor_cli.export.checkpoint_file import put_weights, read_checkpoint, read_json
from livertumor_cli.export.foreign import ForeignNetwork, along_patient, require_axes
from livertumor_cli.export.label_names import channel_classes
from livertumor_cli.export.to_recipe import NOT_STATED
from livertumor_cli.recipes.recipe import Activation, Weighting

METADATA, INFERENCE, WEIGHTS = "configs/metadata.json", "configs/inference.json", "models/model.pt"

NETWORKS = ("AttentionUnet", "BasicUNet", "DynUNet", "SegResNet", "UNet", "VNet")
"""Networks of one output that need nothing beside MONAI."""

WHOLE_RANGE_HU = (-1024.0, 3071.0)
"""Window of a network whose input is not clipped: all that a CT stores in 12 bits."""

DEFAULT_OVERLAP = 0.25
"""Of MONAI's sliding window, where the bundle states none."""

_NEUTRAL = frozenset(
    {
        *("LoadImage", "EnsureChannelFirst", "AddChannel", "EnsureType", "ToTensor", "ToDevice"),
        *("CastToType", "CropForeground", "Identity", "Spacing", "Orientation"),
    }
)
"""Transforms that leave the values as they are, or are read by themselves."""

_REFERENCES = 8
"""Longest chain of references that is followed."""

_WEIGHT_KEYS = ("state_dict", "model", "network", "net")

Values = Mapping[str, Any]


def find_bundle(path: Path) -> Path | None:
    """The bundle's folder; None where there is none.

    Args:
        path: The bundle, or its file with the weights.
    """
    for folder in (path, path.parent.parent):
        if (folder / METADATA).is_file():
            return folder
    return None


def read_bundle(path: Path, *, axes: str | None = None) -> ForeignNetwork:
    """Build the network of a bundle and give it its weights.

    Args:
        path: The bundle, or its file with the weights.
        axes: Where the x, y, z axes of the training images point, such as "LPS", for a bundle that
            does not turn its images; LPS where None.

    Raises:
        ModelNotFoundError: If a file is missing.
        ModelError: If a file is damaged, would run something, or the files do not fit together.
        ConfigError: If it is a kind of model that no recipe can express.
    """
    folder = find_bundle(path)
    if folder is None:
        raise ModelNotFoundError(f"{path} is no MONAI bundle: it has no {METADATA}.")
    if not (folder / INFERENCE).is_file():
        raise ModelNotFoundError(
            f"{folder} has no {INFERENCE}.",
            hint="A configuration in YAML must be written as JSON first.",
        )
    metadata, config = read_json(folder / METADATA), read_json(folder / INFERENCE)
    weights = path if path.is_file() else folder / WEIGHTS
    stored = read_checkpoint(weights)
    inner = next((stored[key] for key in _WEIGHT_KEYS if isinstance(stored.get(key), dict)), stored)
    try:
        foreign = _assemble(metadata, config, axes=axes, where=folder)
    except LiverTumorError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, AssertionError) as error:
        raise ModelError(
            f"{folder} is not a MONAI bundle for segmentation: {type(error).__name__} at {error}.",
        ) from error
    put_weights(foreign.network, inner, path=weights)
    return foreign


def _assemble(metadata: Values, config: Values, *, axes: str | None, where: Path) -> ForeignNetwork:
    transforms = _transforms(config, "preprocessing")
    turned = next((one for name, one in transforms if name == "Orientation"), None)
    codes = str(_plain(config, turned.get("axcodes", "RAS"))) if turned is not None else axes
    # Arrays of MONAI have the image's axes from first to last, x y z.
    directions = require_axes(codes or "LPS")
    spacing = next((one for name, one in transforms if name == "Spacing"), None)
    if spacing is None:
        raise ConfigError(f"{where / INFERENCE} states no voxel size (Spacingd).")
    inferer = _plain(config, config["inferer"])
    depth, height, width = along_patient(_sizes(inferer["roi_size"]), directions)
    window, span = _intensity(config, transforms)
    network = _build(config)
    return ForeignNetwork(
        network=network,
        name=type(network).__name__,
        axes=directions,
        spacing_mm=along_patient(_plain(config, spacing["pixdim"]), directions),
        patch=(int(depth), int(height), int(width)),
        overlap=float(inferer.get("overlap", DEFAULT_OVERLAP)),
        weighting=Weighting(
            {"gaussian": "gaussian"}.get(str(inferer.get("mode")), Weighting.UNIFORM)
        ),
        hu_window=window,
        range=span,
        channels=_channels(metadata, where=where),
        activation=_activation(config),
        training_data=str(metadata.get("data_source", NOT_STATED)),
        license=str(metadata.get("license", NOT_STATED)),
    )


def _build(config: Values) -> nn.Module:
    """The network of a configuration without memory for its weights."""
    stated = dict(_plain(config, config["network_def"]))
    kind = str(stated.pop("_target_")).rpartition(".")[2]
    if kind not in NETWORKS:
        raise ConfigError(
            f"{INFERENCE} names the network '{kind}', which is not known here.",
            hint=f"Known are {', '.join(NETWORKS)}.",
        )
    if stated.get("spatial_dims", 3) != 3 or stated.get("in_channels", 1) != 1:
        raise ConfigError(f"{INFERENCE}: only 3D networks with one input, the CT, can be exported.")
    with warnings.catch_warnings():
        # MONAI warns of its own future.
        warnings.simplefilter("ignore")
        import monai.networks.nets

        with torch.device("meta"):
            network: nn.Module = getattr(monai.networks.nets, kind)(**stated)
    return network


def _transforms(config: Values, key: str) -> list[tuple[str, Values]]:
    """Names without the "d" of dictionaries, and arguments, of a chain of transforms."""
    chain = config.get(key, {})
    listed = chain.get("transforms", []) if isinstance(chain, Mapping) else chain
    named = []
    for stated in listed:
        one = _plain(config, stated) if isinstance(stated, str) else stated
        name = str(one["_target_"]).rpartition(".")[2]
        short = next((name[: -len(end)] for end in ("Dict", "D", "d") if name.endswith(end)), name)
        if one.get("_disabled_") is not True:
            named.append((short, one))
    return named


def _intensity(
    config: Values, transforms: list[tuple[str, Values]]
) -> tuple[tuple[float, float], tuple[float, float]]:
    """The window in HU, and what its ends are to the network.

    Raises:
        ConfigError: If a transform changes intensities in a way that no window can express.
    """
    window, low, high = WHOLE_RANGE_HU, *WHOLE_RANGE_HU
    for name, one in transforms:
        values = {key: _plain(config, one[key]) for key in one if key not in ("keys", "_target_")}
        if name == "ScaleIntensityRange":
            first, last = float(values["a_min"]), float(values["a_max"])
            start, end = float(values.get("b_min", 0.0)), float(values.get("b_max", 1.0))
            if values.get("clip"):
                if (window, low, high) != (WHOLE_RANGE_HU, *WHOLE_RANGE_HU):
                    raise ConfigError(f"{INFERENCE}: intensities are clipped after a first change.")
                window, low, high = (first, last), first, last
            gain = (end - start) / (last - first)
            low, high = ((value - first) * gain + start for value in (low, high))
        elif name == "NormalizeIntensity" and not values.get("nonzero"):
            middle, width = float(values["subtrahend"]), float(values["divisor"])
            low, high = ((value - middle) / width for value in (low, high))
        elif name not in _NEUTRAL:
            raise ConfigError(
                f"{INFERENCE}: the transform '{name}' cannot be expressed in a recipe.",
                hint="Known: ScaleIntensityRange, NormalizeIntensity with numbers, Spacing, "
                "Orientation.",
            )
    return window, (low, high)


def _channels(metadata: Values, *, where: Path) -> tuple[str, ...]:
    outputs = metadata["network_data_format"]["outputs"]
    stated = next(iter(outputs.values()))["channel_def"]
    labels = [str(stated[key]) for key in sorted(stated, key=int)]
    return channel_classes(labels, where=str(where / METADATA))


def _activation(config: Values) -> Activation:
    after = [one for name, one in _transforms(config, "postprocessing") if name == "Activations"]
    is_sigmoid = any(one.get("sigmoid") is True for one in after)
    return Activation.SIGMOID if is_sigmoid else Activation.SOFTMAX


def _sizes(stated: Any) -> list[int]:
    return [int(stated)] * 3 if isinstance(stated, int) else [int(size) for size in stated]


def _plain(config: Values, value: Any, *, depth: int = 0) -> Any:
    """A value with its references replaced; code is refused.

    Raises:
        ModelError: If a text is code, or references lead nowhere or in a circle.
    """
    if depth > _REFERENCES:
        raise ModelError(f"{INFERENCE}: references lead in a circle.")
    if isinstance(value, Mapping):
        return {key: _plain(config, one, depth=depth + 1) for key, one in value.items()}
    if isinstance(value, list):
        return [_plain(config, one, depth=depth + 1) for one in value]
    if not isinstance(value, str):
        return value
    if value.startswith("$"):
        raise ModelError(
            f"{INFERENCE}: '{value}' is code, which is not executed.",
            hint="Write the value itself there.",
        )
    if not value.startswith("@"):
        return value
    found: Any = config
    for part in value[1:].replace("::", "#").split("#"):
        found = found[int(part)] if isinstance(found, list) else found[part]
    return _plain(config, found, depth=depth + 1)
