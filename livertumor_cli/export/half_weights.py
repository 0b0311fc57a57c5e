"""Weights stored as float16, while all arithmetic stays float32.

A cast before its first use makes each large weight float32 again. Engines compute such casts once,
when they open a file, so that the file is half as large and the network as fast as before; what
remains is the rounding of the weights to 11 binary digits.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from livertumor_cli.io.atomic import write_bytes

FEWEST_ELEMENTS = 1024
"""Smaller weights, such as biases and norms, stay float32: they are no part of a file's size."""

_SUFFIX = ".float16"


def halve_weights(path: Path) -> None:
    """Store the large weights of an ONNX file as float16, in the same file.

    A weight that holds a number beyond float16's range stays float32.

    Args:
        path: A model whose weights lie inside the file.

    Raises:
        OutputError: If the file cannot be written.
    """
    model = onnx.load(path)
    casts = []
    for tensor in model.graph.initializer:
        halves = _as_float16(tensor)
        if halves is None:
            continue
        name = tensor.name
        tensor.CopyFrom(onnx.numpy_helper.from_array(halves, name + _SUFFIX))
        cast = onnx.helper.make_node("Cast", [tensor.name], [name], to=onnx.TensorProto.FLOAT)
        casts.append(cast)
    # First of all: a node may use only what stands before it.
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.checker.check_model(model, full_check=True)
    write_bytes(path, model.SerializeToString())


def _as_float16(tensor: onnx.TensorProto) -> NDArray[np.float16] | None:
    """A weight's values as float16; None where it is small, or not float32, or out of range."""
    if tensor.data_type != onnx.TensorProto.FLOAT:
        return None
    values = onnx.numpy_helper.to_array(tensor)
    if values.size < FEWEST_ELEMENTS:
        return None
    with np.errstate(over="ignore"):
        halves = values.astype(np.float16)
    return halves if np.isfinite(halves).all() else None
