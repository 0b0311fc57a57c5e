"""Watching networks from outside, for their tests; needs torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import Tensor, nn

NEARLY = {"rtol": 1e-4, "atol": 1e-5}
"""Of float32 sums taken in another order."""


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def modules_of(network: nn.Module, kind: type[nn.Module]) -> list[nn.Module]:
    return [module for module in network.modules() if isinstance(module, kind)]


def leaves_of(network: nn.Module) -> list[type[nn.Module]]:
    """Kinds of the modules that hold no others, in their order."""
    return [type(module) for module in network.modules() if not list(module.children())]


def watch_inputs(module: nn.Module) -> list[tuple[Tensor, ...]]:
    """What a module is going to be called with."""
    calls: list[tuple[Tensor, ...]] = []
    module.register_forward_pre_hook(lambda _, arguments: calls.append(arguments))
    return calls


def watch_outputs(module: nn.Module) -> list[Tensor]:
    """What a module is going to answer."""
    answers: list[Tensor] = []
    module.register_forward_hook(lambda _, __, answer: answers.append(answer))
    return answers


def without_gradient(network: nn.Module) -> list[str]:
    """Names of the parameters that the last backward pass did not reach."""
    return [
        name
        for name, parameter in network.named_parameters()
        if parameter.grad is None or not bool(parameter.grad.any())
    ]


def proven_export(network: nn.Module, path: Path, *, classes: int, size: tuple[int, ...]) -> Any:
    """The model that an export writes, one input and one output, compared with its network."""
    pytest.importorskip("onnxscript")
    onnx = pytest.importorskip("onnx")
    from livertumor_cli.export.onnx_export import (
        compare_with_torch,
        require_agreement,
        write_onnx,
    )

    write_onnx(network, path, patch=size, metadata={})
    model = onnx.load(path)
    (image,), (logits,) = model.graph.input, model.graph.output
    shapes = [[d.dim_value for d in port.type.tensor_type.shape.dim] for port in (image, logits)]
    assert shapes == [[1, 1, *size], [1, classes, *size]]
    images = list(np.random.default_rng(4).standard_normal((2, *size), dtype=np.float32))
    require_agreement(compare_with_torch(network, path, images), path)
    return model
