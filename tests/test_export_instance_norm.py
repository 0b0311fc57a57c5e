"""Instance norm axis by axis: the same numbers as torch, also where most of a patch is blank."""

# ruff: noqa: E402 (torch is optional: what needs it is imported after the skip)

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")

from torch import nn

from livertumor_cli.export.instance_norm import AxisWiseInstanceNorm, with_exact_norms
from livertumor_cli.export.onnx_export import compare_with_torch, write_onnx


@pytest.mark.parametrize(
    ("norm", "shape"),
    [
        (nn.InstanceNorm3d(5, affine=True), (2, 5, 6, 7, 8)),
        (nn.InstanceNorm3d(5, eps=0.1), (1, 5, 6, 7, 8)),
        (nn.InstanceNorm2d(5, affine=True), (2, 5, 9, 4)),
    ],
)
def test_it_is_the_instance_norm(norm: nn.InstanceNorm3d, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    if norm.affine:
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    features = torch.randn(shape) * 3 + 2
    torch.testing.assert_close(
        AxisWiseInstanceNorm(norm)(features), norm(features), rtol=1e-5, atol=1e-5
    )


def test_only_instance_norms_without_statistics_are_exchanged() -> None:
    network = nn.Sequential(
        nn.Sequential(nn.Conv3d(1, 2, 1), nn.InstanceNorm3d(2)),
        nn.InstanceNorm3d(2, track_running_stats=True),
        nn.BatchNorm3d(2),
    )
    exact = with_exact_norms(network)
    kinds = [type(module).__name__ for module in exact.modules()]
    assert kinds.count("AxisWiseInstanceNorm") == 1
    assert kinds.count("InstanceNorm3d") == kinds.count("BatchNorm3d") == 1
    assert isinstance(network[0][1], nn.InstanceNorm3d)


def test_a_mostly_blank_patch_is_exact_in_the_file(tmp_path: Path) -> None:
    """With one sum over all voxels, ONNX Runtime is off by 4e-3 here."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv3d(1, 4, 3, padding=1), nn.InstanceNorm3d(4, affine=True))
    image = np.zeros((48, 96, 96), dtype=np.float32)
    image[10:30, 20:60, 20:60] = np.random.default_rng(0).random((20, 40, 40))
    path = tmp_path / "norm.onnx"
    write_onnx(network, path, patch=image.shape, metadata={})
    assert compare_with_torch(network, path, [image]).logit_difference < 2e-5
