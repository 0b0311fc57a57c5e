"""Training state on disk, whole or not at all, and the weights that leave training."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn

from livertumor_cli.errors import ModelError, ModelNotFoundError
from livertumor_cli.io.atomic import write_bytes, written_atomically


@dataclass(slots=True)
class TrainingState:
    """Everything that a run needs to go on."""

    step: int
    network: dict[str, Tensor]
    average: dict[str, Tensor]
    optimizer: dict[str, Any]
    trained_s: float


def save_state(path: Path, state: TrainingState) -> None:
    """Write the state under a temporary name, then rename: a kill leaves the older one whole.

    Raises:
        OutputError: If it cannot be written.
    """
    stored = {
        "step": state.step,
        "network": state.network,
        "average": state.average,
        "optimizer": state.optimizer,
        "trained_s": state.trained_s,
    }
    with written_atomically(path) as stream:
        torch.save(stored, stream)


def load_state(path: Path) -> TrainingState | None:
    """The saved state, or None where a run starts anew.

    Raises:
        ModelError: If the file is damaged; nothing in it is executed (`weights_only`).
    """
    if not path.is_file():
        return None
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
        return TrainingState(**stored)
    except Exception as error:
        raise ModelError(
            f"{path} is no training state of this program.", hint="Delete it to train anew."
        ) from error


def save_weights(path: Path, network: dict[str, Tensor], *, metadata: dict[str, str]) -> None:
    """Weights as safetensors with metadata (task, step, seed), whole or not at all.

    Raises:
        OutputError: If they cannot be written.
    """
    tensors = {key: value.contiguous() for key, value in network.items()}
    write_bytes(path, save(tensors, metadata))


class BestWeights:
    """`best.safetensors`: the weights of the validation that scored highest.

    The score is the mean Dice of all structures that were validated.
    """

    def __init__(self, path: Path, *, step: int) -> None:
        """Go on from the file of a run, or begin.

        Args:
            path: The file; may be missing.
            step: Last step of the state that the run goes on from; what is from later steps, or
                from an older run, is forgotten.

        Raises:
            ModelError: If the file is damaged.
        """
        self.path = path
        self.score = -math.inf
        if path.is_file():
            stored = read_metadata(path)
            if int(stored.get("step", step + 1)) <= step:
                self.score = float(stored.get("score", "-inf"))
            else:
                path.unlink()

    def offer(
        self, network: dict[str, Tensor], *, dice: Mapping[str, float], metadata: dict[str, str]
    ) -> None:
        """Keep weights if they score higher than all before.

        Raises:
            OutputError: If they cannot be written.
        """
        score = sum(dice.values()) / len(dice) if dice else -math.inf
        if score > self.score:
            save_weights(self.path, network, metadata={**metadata, "score": f"{score:.4f}"})
            self.score = score


def load_weights(path: Path, network: nn.Module) -> dict[str, str]:
    """Load safetensors into a network and return the metadata.

    Raises:
        ModelNotFoundError: If there is no such file.
        ModelError: If the file is damaged or belongs to another network.
    """
    if not path.is_file():
        raise ModelNotFoundError(f"there is no checkpoint {path}.")
    try:
        with safe_open(path, framework="pt") as stored:
            metadata = dict(stored.metadata() or {})
            names = stored.keys()
            network.load_state_dict({name: stored.get_tensor(name) for name in names})
    except Exception as error:
        raise ModelError(
            f"{path} is damaged or holds the weights of another network.",
            hint="Give a .safetensors file that `livertumor train` wrote.",
        ) from error
    return metadata


def read_metadata(path: Path) -> dict[str, str]:
    """Metadata of a safetensors file.

    Raises:
        ModelNotFoundError: If there is no such file.
        ModelError: If the file is damaged.
    """
    if not path.is_file():
        raise ModelNotFoundError(f"there is no checkpoint {path}.")
    try:
        with safe_open(path, framework="pt") as stored:
            return dict(stored.metadata() or {})
    except Exception as error:
        raise ModelError(
            f"{path} is not a safetensors file, or a damaged one.",
            hint="Give best.safetensors of a run of `livertumor train`, or the whole folder of an "
            "nnU-Net v2 model or a MONAI bundle.",
        ) from error


def metadata_json(values: dict[str, object]) -> dict[str, str]:
    """Safetensors metadata are strings: everything else as JSON."""
    return {k: v if isinstance(v, str) else json.dumps(v) for k, v in values.items()}
