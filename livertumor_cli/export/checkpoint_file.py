"""Weights and configurations that come from elsewhere: read as data, never as a program.

PyTorch checkpoints are pickles, and a pickle may run anything when it is opened. They are therefore
read with `weights_only`, which knows tensors and plain values alone; beside those only NumPy's
numbers are let in, which nnU-Net keeps in its logs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from livertumor_cli.errors import ModelError, ModelNotFoundError

_FORBIDDEN = re.compile(r"GLOBAL\s+(\S+)")

_SCALAR = np.float64(0).__reduce__()[0]
"""What NumPy's numbers are unpickled with; it has no public name."""

_NUMPY_NUMBERS: list[Any] = [
    np.dtype,
    *(
        type(np.dtype(kind))
        for kind in ("float16", "float32", "float64", "int32", "int64", "uint8", "bool")
    ),
    # The name changed with NumPy 2; files have either.
    (_SCALAR, "numpy.core.multiarray.scalar"),
    (_SCALAR, "numpy._core.multiarray.scalar"),
]


def read_checkpoint(path: Path) -> Mapping[str, Any]:
    """The content of a PyTorch checkpoint, on the CPU; nothing in it is executed.

    Args:
        path: .pth or .pt as `torch.save` writes it.

    Raises:
        ModelNotFoundError: If there is no such file.
        ModelError: If it is damaged, holds anything that would have to be executed, or is no
            table.
    """
    if not path.is_file():
        raise ModelNotFoundError(f"there is no checkpoint {path}.")
    try:
        with torch.serialization.safe_globals(_NUMPY_NUMBERS):
            stored = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle may raise anything
        found = _FORBIDDEN.search(str(error))
        if found:
            raise ModelError(
                f"{path} holds '{found[1]}', which is neither weights nor plain values and would "
                "be executed.",
                hint="Do not open it with other programs either unless you trust who made it.",
            ) from error
        raise ModelError(
            f"{path} is no PyTorch checkpoint, or a damaged one.",
            hint="Copy it again from where it was trained.",
        ) from error
    if not isinstance(stored, Mapping):
        raise ModelError(f"{path} holds no table of weights.")
    return stored


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file that holds a table.

    Raises:
        ModelNotFoundError: If there is no such file.
        ModelError: If it is no JSON, or no table.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelNotFoundError(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path} is not a JSON file.") from error
    if not isinstance(values, dict):
        raise ModelError(f"{path} holds no table of values.")
    return values


def put_weights(network: nn.Module, weights: object, *, path: Path) -> None:
    """Give a network that was built without memory its weights.

    Built on the `meta` device, a configuration that asks for a giant network costs nothing: it is
    refused here as its weights are not in the file.

    Args:
        network: On the `meta` device.
        weights: Tensors by name; "module." before all names is taken off.
        path: Where they come from, for the refusal.

    Raises:
        ModelError: If names or shapes are not those of the network.
    """
    if not isinstance(weights, Mapping) or not weights:
        raise ModelError(f"{path} holds no weights.")
    known = network.state_dict().keys()
    named: dict[str, Tensor] = {
        name if name in known else str(name).removeprefix("module."): value
        for name, value in weights.items()
    }
    if not all(isinstance(value, Tensor) for value in named.values()):
        raise ModelError(f"{path} holds other things than tensors among its weights.")
    try:
        network.load_state_dict(named, assign=True)
    except RuntimeError as error:
        raise ModelError(
            f"{path} holds the weights of another network than its configuration states.",
            hint="Checkpoint and configuration must be of the same training.",
        ) from error
