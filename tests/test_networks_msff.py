"""The multi-scale feature U-Net against the facts that its paper states."""

# ruff: noqa: E402 (torch is optional: what needs it is imported after the skip)

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from network_tools import NEARLY, watch_inputs, watch_outputs
from torch import nn
from torch.nn import functional

from livertumor_cli.networks.msff_unet import (
    MSFFUNet,
    MSFFUNetConfig,
    MultiScaleFusion,
    ResidualDenseBlock,
)

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _same_weights_every_time() -> None:
    torch.manual_seed(3)


@pytest.fixture
def msff() -> MSFFUNet:
    config = MSFFUNetConfig(widths=(2, 4, 6, 8), dense_layers=2)
    return MSFFUNet(config).eval()


def test_begins_with_7x7_and_pools_three_times_to_four_levels(msff: MSFFUNet):
    pooled = watch_outputs(msff.pool)
    features = [watch_outputs(block) for block in msff.encoder]
    stem = watch_outputs(msff.stem)
    msff(torch.randn(1, 1, 16, 24))
    assert msff.stem[0].kernel_size == (7, 7)
    assert stem[0].shape == (1, 2, 16, 24)
    assert len(pooled) == 3
    shapes = [answers[0].shape[1:] for answers in features]
    assert shapes == [(2, 16, 24), (4, 8, 12), (6, 4, 6), (8, 2, 3)]


def test_decoder_enlarges_by_deconvolution(msff: MSFFUNet):
    assert [type(up) for up in msff.up] == [nn.ConvTranspose2d] * 3
    assert {(up.kernel_size, up.stride) for up in msff.up} == {((2, 2), (2, 2))}


def test_keeps_the_size_of_the_crop():
    with torch.device("meta"):
        assert MSFFUNet()(torch.zeros(1, 1, 256, 256)).shape == (1, 2, 256, 256)


def test_dense_layers_see_all_before_them_and_all_are_the_output():
    block = ResidualDenseBlock(8, 8, layers=4).eval()
    seen = [watch_inputs(layer) for layer in block.layers]
    made = [watch_outputs(layer) for layer in block.layers]
    last = watch_inputs(block.compress)
    features = torch.randn(1, 8, 4, 4).relu()
    block(features)
    parts = [features, *(answers[0] for answers in made)]
    for number, calls in enumerate([*seen, last]):
        torch.testing.assert_close(calls[0][0], torch.cat(parts[: number + 1], dim=1))
    assert last[0][0].shape[1] == 2 * 8


@pytest.mark.parametrize("before", [8, 6])
def test_blocks_add_their_input(before: int):
    block = ResidualDenseBlock(before, 8, layers=4).eval()
    nn.init.zeros_(block.compress[1].weight)  # what the dense layers add is nothing
    features = torch.randn(1, before, 4, 4).relu()
    torch.testing.assert_close(block(features), block.project(features))
    assert isinstance(block.project, nn.Identity) is (before == 8)


@pytest.mark.parametrize("level", [0, 1, 2, 3])
def test_fusion_is_a_convolution_of_all_levels_brought_to_one_size(level: int):
    widths = (2, 4, 6, 8)
    fusion = MultiScaleFusion(widths, level=level).eval()
    features = [torch.randn(2, width, 16 >> i, 24 >> i) for i, width in enumerate(widths)]
    size = features[level].shape[2:]
    resized = [
        functional.adaptive_max_pool2d(source, size)
        if i < level
        else functional.interpolate(source, size=size, mode="bilinear")
        for i, source in enumerate(features)
    ]
    weight = torch.cat([project.weight for project in fusion.project], dim=1)
    expected = functional.conv2d(torch.cat(resized, dim=1), weight)
    expected = functional.relu(fusion.norm(expected))
    torch.testing.assert_close(fusion(features), expected, **NEARLY)


def test_skips_carry_the_fused_features_of_every_level(msff: MSFFUNet):
    fused = [watch_outputs(fusion) for fusion in msff.fusion]
    decoded = [watch_inputs(block) for block in msff.decoder]
    deepest = watch_inputs(msff.up[-1])
    msff(torch.randn(1, 1, 16, 16))
    assert len(fused) == 4
    for level, calls in enumerate(decoded):
        width = msff.config.widths[level]
        assert torch.equal(calls[0][0][:, :width], fused[level][0])
    assert deepest[0][0] is fused[-1][0]


def test_refuses_widths_that_dense_layers_cannot_share():
    with pytest.raises(ValueError, match="divisible by 4"):
        MSFFUNet(MSFFUNetConfig(widths=(6, 8)))
