"""The attention modules of DPC-Net and DARN against the facts that their papers state."""

# ruff: noqa: E402 (torch is optional: what needs it is imported after the skip)

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from network_tools import NEARLY, modules_of, parameters
from torch import nn
from torch.nn import functional

from livertumor_cli.networks.darn import (
    DARN,
    DARNConfig,
    SemanticRefinement,
    SpatialRefinement,
)
from livertumor_cli.networks.dpc_net import (
    DPCNet,
    DPCNetConfig,
    SemanticCorrelation,
    SpatialCorrelation,
    squeeze_channels,
    squeeze_voxels,
)
from livertumor_cli.networks.pyramid import PyramidFeatureEncoder, StageOrder

torch.set_num_threads(1)

CHANNELS = 5


@pytest.fixture(autouse=True)
def _same_weights_every_time() -> None:
    torch.manual_seed(3)


@pytest.fixture
def pair() -> tuple[torch.Tensor, torch.Tensor]:
    """Two neighboring levels: (coarse, fine)."""
    generator = torch.Generator().manual_seed(5)
    coarse = torch.randn(2, CHANNELS, 3, 2, 4, generator=generator)
    return coarse, torch.randn(2, CHANNELS, 6, 4, 8, generator=generator)


# DPC-Net


@pytest.fixture(scope="module", params=list(StageOrder))
def paper_network(request: pytest.FixtureRequest) -> DPCNet:
    with torch.device("meta"):
        return DPCNet(DPCNetConfig(order=request.param))


def test_attention_has_the_parameters_of_table_4_in_either_order(paper_network: DPCNet):
    spatial, semantic = parameters(paper_network.spatial), parameters(paper_network.semantic)
    assert spatial == pytest.approx(0.43e6, rel=0.005)
    assert semantic == pytest.approx(0.09e6, rel=0.005)
    assert spatial + semantic == pytest.approx(0.52e6, rel=0.005)
    assert len(paper_network.spatial) == len(paper_network.semantic) == 4


def test_spatial_attention_has_three_convolutions_of_3(paper_network: DPCNet):
    for module in paper_network.spatial:
        layers = modules_of(module.attention, nn.Conv3d)
        assert [layer.kernel_size for layer in layers] == [(3, 3, 3)] * 3
        assert [layer.out_channels for layer in layers] == [61, 61, 1]
        assert len(modules_of(module.attention, nn.LeakyReLU)) == 2
        assert module.recalibrate.kernel_size == (1, 1, 1)


def test_semantic_attention_has_as_many_neurons_as_channels(paper_network: DPCNet):
    for module in paper_network.semantic:
        layers = modules_of(module.attention, nn.Linear)
        assert [layer.out_features for layer in layers] == [61, 61]
        assert module.recalibrate.kernel_size == (1, 1, 1)


def test_spatial_squeeze_is_equation_5_of_the_enlarged_concatenation(pair):
    coarse, fine = pair
    both = torch.cat([functional.interpolate(coarse, scale_factor=2), fine], dim=1)
    expected = both.mean(1, keepdim=True) + both.amax(1, keepdim=True)
    torch.testing.assert_close(squeeze_channels(coarse, fine), expected)


def test_spatial_correlation_is_equation_6_between_up_and_down_sampling(pair):
    coarse, fine = pair
    module = SpatialCorrelation(CHANNELS)
    attention = torch.sigmoid(module.attention(squeeze_channels(coarse, fine)))
    enlarged = functional.interpolate(coarse, scale_factor=2)
    expected = functional.avg_pool3d(attention * module.recalibrate(enlarged), 2)
    torch.testing.assert_close(module(coarse, fine), expected, **NEARLY)


def test_semantic_squeeze_is_equation_8_of_the_concatenation(pair):
    coarse, fine = pair
    averages = [level.flatten(2).mean(2) for level in (fine, coarse)]
    maxima = [level.flatten(2).max(2).values for level in (fine, coarse)]
    torch.testing.assert_close(squeeze_voxels(fine, coarse), torch.cat(averages + maxima, dim=1))


def test_semantic_correlation_is_equation_9(pair):
    coarse, fine = pair
    module = SemanticCorrelation(CHANNELS)
    vector = torch.sigmoid(module.attention(squeeze_voxels(fine, coarse)))
    expected = module.recalibrate(fine) * vector.view(2, CHANNELS, 1, 1, 1)
    torch.testing.assert_close(module(fine, coarse), expected)


# DARN


def test_spatial_refinement_weights_voxels_by_the_finer_level_alone(pair):
    coarse, fine = pair
    module = SpatialRefinement(CHANNELS)
    weights = module(coarse, fine) / coarse
    torch.testing.assert_close(weights, weights[:, :1].expand_as(weights), **NEARLY)
    assert bool(((weights > 0) & (weights < 1)).all())
    torch.testing.assert_close(module(coarse * 2, fine), module(coarse, fine) * 2)
    assert not torch.allclose(module(coarse, fine), module(coarse, fine.flip(2)))


def test_semantic_refinement_weights_channels_by_the_coarser_level_alone(pair):
    coarse, fine = pair
    module = SemanticRefinement(CHANNELS)
    weights = module(fine, coarse) / fine
    torch.testing.assert_close(weights, weights[:, :, :1, :1, :1].expand_as(weights), **NEARLY)
    assert bool(((weights > 0) & (weights < 1)).all())
    torch.testing.assert_close(module(fine * 2, coarse), module(fine, coarse) * 2)
    assert not torch.allclose(module(fine, coarse), module(fine, coarse.flip(1)))


def test_darn_shares_the_encoder_and_prefers_the_better_order():
    with torch.device("meta"):
        network = DARN()
        assert parameters(network.encoder) == parameters(
            PyramidFeatureEncoder(DPCNetConfig(pyramid_channels=64))
        )
    assert DARNConfig().order is StageOrder.SPATIAL_FIRST
