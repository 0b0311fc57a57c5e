"""A network to one ONNX file with fixed shapes that proves itself against torch."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from livertumor_cli.arrays import FloatArray
from livertumor_cli.engine.engine import Device, EngineKind, EngineRequest
from livertumor_cli.engine.open_engine import open_engine
from livertumor_cli.errors import ModelContractError
from livertumor_cli.export.instance_norm import with_exact_norms
from livertumor_cli.io.atomic import make_folder, write_bytes
from livertumor_cli.recipes.recipe import Activation

OPSET = 20
LARGEST_LOGIT_DIFFERENCE = 1e-3
LARGEST_CHANGED_SHARE = 1e-5

LARGEST_CHANGED_SHARE_OF_HALF_WEIGHTS = 1e-3
"""Where weights are rounded to float16, classes change at the borders of structures."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far an exported file departs from its torch network.

    Attributes:
        logit_difference: Largest absolute difference of any logit.
        changed_share: Share of the voxels whose class differs.
    """

    logit_difference: float
    changed_share: float


def write_onnx(
    network: nn.Module, path: Path, *, patch: tuple[int, ...], metadata: dict[str, str]
) -> None:
    """Export a 2D or 3D network of one input channel for batches of one patch.

    Args:
        network: In any mode; it is exported in eval mode, float32.
        path: The ONNX file; written under a temporary name first.
        patch: Input size (z, y, x) or (y, x), fixed in the file: engines plan memory and kernels
            for it.
        metadata: Written into the file's properties.

    Raises:
        ModelContractError: If the exporter makes no model.
        OutputError: If the file cannot be written.
    """
    network = with_exact_norms(network).eval().float()
    model = _exported_quietly(network, torch.zeros(1, 1, *patch))
    strip_builder(model)
    onnx.helper.set_model_props(model, metadata)
    onnx.checker.check_model(model, full_check=True)
    make_folder(path.parent)
    write_bytes(path, model.SerializeToString())


def _exported_quietly(network: nn.Module, example: Tensor) -> onnx.ModelProto:
    """The exporter's model for inputs of the example's shape."""
    quiet = io.StringIO()
    # The exporter prints its progress and warns of its own future; neither is for our user.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(quiet),
        contextlib.redirect_stderr(quiet),
    ):
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            network,
            (example,),
            dynamo=True,
            opset_version=OPSET,
            input_names=["image"],
            output_names=["logits"],
            external_data=False,
        )
    if program is None:
        raise ModelContractError("the exporter made no model.")
    model: onnx.ModelProto = program.model_proto
    return model


def strip_builder(model: onnx.ModelProto) -> None:
    """Remove stack traces and names of the builder's files from every part of a model."""
    for part in [model.graph, *model.functions]:
        del part.metadata_props[:]
        part.doc_string = ""
        for node in part.node:
            del node.metadata_props[:]
            node.doc_string = ""
    for value in [*model.graph.input, *model.graph.output, *model.graph.value_info]:
        del value.metadata_props[:]
        value.doc_string = ""
    for tensor in model.graph.initializer:
        del tensor.metadata_props[:]
        tensor.doc_string = ""
    del model.metadata_props[:]
    model.doc_string = ""


def compare_with_torch(
    network: nn.Module,
    path: Path,
    images: list[FloatArray],
    *,
    activation: Activation = Activation.SOFTMAX,
) -> Agreement:
    """Run torch and ONNX Runtime on the same patches in float32.

    Args:
        network: The torch network.
        path: The exported file.
        images: Network inputs, shape (z, y, x) or (y, x) each.
        activation: What makes classes of the logits.
    """
    request = EngineRequest(file=path, device=Device.CPU, kind=EngineKind.ONNXRUNTIME)
    engine = open_engine(request)
    network = network.eval().float()
    differences, changed, voxels = [0.0], 0, 0
    for image in images:
        batch = np.ascontiguousarray(image[None, None], dtype=np.float32)
        with torch.inference_mode():
            expected = network(torch.from_numpy(batch)).numpy()
        obtained = engine.run(batch)
        differences.append(float(np.abs(expected - obtained).max()))
        changed += _changed_voxels(expected, obtained, activation)
        voxels += image.size
    # Python's max would pass over a difference that is no number.
    return Agreement(float(np.max(differences)), changed / max(voxels, 1))


def _changed_voxels(expected: FloatArray, obtained: FloatArray, activation: Activation) -> int:
    """Voxels whose class differs between two sets of logits, shape (1, classes, ...) each."""
    if activation is Activation.SIGMOID:
        # Each structure is judged by itself; a logit of 0 is a probability of one half.
        return int(((expected > 0) != (obtained > 0)).any(axis=1).sum())
    return int((expected.argmax(1) != obtained.argmax(1)).sum())


def require_agreement(agreement: Agreement, path: Path) -> None:
    """Refuse an export that does not compute what the network computes.

    Raises:
        ModelContractError: If logits or classes differ by more than rounding, or are no numbers.
    """
    is_close = agreement.logit_difference <= LARGEST_LOGIT_DIFFERENCE
    if not (is_close and agreement.changed_share <= LARGEST_CHANGED_SHARE):
        raise ModelContractError(
            f"{path.name} differs from its network: logits by {agreement.logit_difference:.2e}, "
            f"class in {agreement.changed_share:.2e} of the voxels.",
            hint="The file was not taken into the recipe.",
        )


def require_half_agreement(agreement: Agreement, path: Path) -> None:
    """Refuse a file whose network sees other things since its weights were rounded to float16.

    Raises:
        ModelContractError: If too many classes differ, or logits are no numbers.
    """
    is_close = agreement.changed_share <= LARGEST_CHANGED_SHARE_OF_HALF_WEIGHTS
    if not (is_close and np.isfinite(agreement.logit_difference)):
        raise ModelContractError(
            f"with weights stored as float16 {path.name} differs from its network: class in "
            f"{agreement.changed_share:.2e} of the voxels, of which at most "
            f"{LARGEST_CHANGED_SHARE_OF_HALF_WEIGHTS:.0e} may.",
            hint="Export it without --half-weights.",
        )
