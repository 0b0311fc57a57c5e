"""The deep 3D U-Net and the frame of DPC-Net and DARN against the facts of their papers."""

# ruff: noqa: E402 (torch is optional: what needs it is imported after the skip)

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from network_tools import (
    NEARLY,
    leaves_of,
    modules_of,
    parameters,
    proven_export,
    watch_inputs,
    watch_outputs,
    without_gradient,
)
from torch import nn
from torch.nn import functional

from livertumor_cli.networks.darn import DARN, DARNConfig
from livertumor_cli.networks.dpc_net import DPCNet, DPCNetConfig
from livertumor_cli.networks.pyramid import (
    LevelBlock,
    PyramidAggregation,
    PyramidFeatureEncoder,
    StageOrder,
    level_weight,
)
from livertumor_cli.networks.unet3d import UNet3D, UNet3DConfig
from livertumor_cli.networks.unet3d_deep import DeepUNet3D

torch.set_num_threads(1)

WIDTHS = (2, 3, 4)
SIZE = (8, 12, 16)
CHANNELS = 5

NETWORKS = {
    "unet": lambda classes: DeepUNet3D(UNet3DConfig(classes=classes, widths=WIDTHS)),
    "dpc": lambda classes, order=StageOrder.SPATIAL_FIRST: DPCNet(
        DPCNetConfig(classes=classes, widths=WIDTHS, pyramid_channels=CHANNELS, order=order)
    ),
    "darn": lambda classes, order=StageOrder.SPATIAL_FIRST: DARN(
        DARNConfig(classes=classes, widths=WIDTHS, pyramid_channels=CHANNELS, order=order)
    ),
}

every_network = pytest.mark.parametrize("kind", list(NETWORKS))
pyramid_networks = pytest.mark.parametrize("kind", ["dpc", "darn"])
both_orders = pytest.mark.parametrize("order", list(StageOrder))


@pytest.fixture(autouse=True)
def _same_weights_every_time() -> None:
    torch.manual_seed(3)


@every_network
@pytest.mark.parametrize("classes", [2, 4])
def test_logits_have_the_size_of_the_image(kind: str, classes: int):
    network = NETWORKS[kind](classes).eval()
    assert network(torch.randn(2, 1, *SIZE)).shape == (2, classes, *SIZE)


@every_network
@pytest.mark.parametrize("size", [(9, 8, 8), (8, 10, 8), (8, 8, 7)])
def test_sizes_that_cannot_be_halved_are_refused(kind: str, size: tuple[int, int, int]):
    with pytest.raises(ValueError, match="divisible by 4"):
        NETWORKS[kind](2)(torch.zeros(1, 1, *size))


@every_network
def test_a_patch_is_judged_alone(kind: str):
    network = NETWORKS[kind](2).eval()
    first, second = torch.randn(2, 1, *SIZE)
    with torch.inference_mode():
        together = network(torch.stack([first, second]))
        alone = network(first[None])
    torch.testing.assert_close(together[:1], alone, **NEARLY)


@every_network
def test_the_exported_file_computes_what_the_network_computes(kind: str, tmp_path: Path):
    path = tmp_path / "network.onnx"
    model = proven_export(NETWORKS[kind](3), path, classes=3, size=SIZE)
    # What only training computes must not weigh on the file.
    names = [tensor.name for tensor in model.graph.initializer]
    assert any(name.startswith("encoder.") for name in names)
    assert not any("_heads" in name for name in names)


# The five-level 3D U-Net


def test_deep_unet_has_the_parameters_of_table_4():
    with torch.device("meta"):
        network = DeepUNet3D()
    assert parameters(network) == pytest.approx(22.58e6, rel=0.005)
    assert tuple(network.config.widths) == (32, 64, 128, 256, 512)
    assert isinstance(network.pool, nn.MaxPool3d)
    assert {up.kernel_size for up in network.up} == {(2, 2, 2)}


def test_deep_unet_leaves_the_other_unet_as_it_is():
    config = UNet3DConfig(widths=WIDTHS)
    plain, deep = UNet3D(config), DeepUNet3D(config)
    assert list(plain.state_dict()) == list(deep.state_dict())
    assert {up.kernel_size for up in plain.up} == {(3, 3, 3)}


# The pyramid encoder


@pytest.fixture(scope="module")
def paper_encoder() -> PyramidFeatureEncoder:
    with torch.device("meta"):
        return PyramidFeatureEncoder(DPCNetConfig())


def test_encoder_has_five_levels_from_32_to_320_channels(paper_encoder: PyramidFeatureEncoder):
    widths = (32, 64, 128, 256, 320)
    down = [watch_outputs(block) for block in paper_encoder.contracting]
    up = [watch_outputs(block) for block in paper_encoder.expanding]
    with torch.device("meta"):
        pyramid = paper_encoder(torch.zeros(1, 1, 32, 32, 32))
    for level, width in enumerate(widths):
        shape = (1, width, *(3 * [32 >> level]))
        assert down[level][0].shape == shape
        assert level == 4 or up[level][0].shape == shape
    sizes = [tuple(features.shape) for features in pyramid]
    assert sizes == [(1, 61, *(3 * [32 >> level])) for level in range(5)]


def test_encoder_levels_are_two_blocks_of_convolution_norm_and_activation(
    paper_encoder: PyramidFeatureEncoder,
):
    levels = modules_of(paper_encoder, LevelBlock)
    assert len(levels) == 5 + 4
    for level in levels:
        assert leaves_of(level) == [nn.Conv3d, nn.InstanceNorm3d, nn.LeakyReLU] * 2
        assert {layer.kernel_size for layer in modules_of(level, nn.Conv3d)} == {(3, 3, 3)}


def test_encoder_learns_its_sampling(paper_encoder: PyramidFeatureEncoder):
    assert modules_of(paper_encoder, nn.MaxPool3d) == []
    sampling = [*paper_encoder.down, *paper_encoder.up]
    assert len(sampling) == 8
    assert {(layer.kernel_size, layer.stride) for layer in sampling} == {((2, 2, 2), (2, 2, 2))}
    assert all(isinstance(layer, nn.ConvTranspose3d) for layer in paper_encoder.up)


# Stages, supervision and aggregation


@pyramid_networks
@both_orders
def test_neighbors_guide_as_the_order_says(kind: str, order: StageOrder):
    network = NETWORKS[kind](2, order).eval()
    asked, answers = (
        {
            name: [look(module) for module in getattr(network, name)]
            for name in ("spatial", "semantic")
        }
        for look in (watch_inputs, watch_outputs)
    )
    encoded, aggregated = watch_outputs(network.encoder), watch_inputs(network.aggregate)
    network(torch.randn(1, 1, *SIZE))

    def check_spatial(given: list[torch.Tensor]) -> list[torch.Tensor]:
        for number, calls in enumerate(asked["spatial"]):
            features, guide = calls[0]
            assert features is given[number + 1]
            assert guide is given[number]  # the next finer level
        return [given[0], *(answer[0] for answer in answers["spatial"])]

    def check_semantic(given: list[torch.Tensor]) -> list[torch.Tensor]:
        for number, calls in enumerate(asked["semantic"]):
            features, guide = calls[0]
            assert features is given[number]
            assert guide is given[number + 1]  # the next coarser level
        return [*(answer[0] for answer in answers["semantic"]), given[-1]]

    given = encoded[0]
    checks = [check_spatial, check_semantic]
    for check in checks if order is StageOrder.SPATIAL_FIRST else reversed(checks):
        given = check(given)
    assert len(given) == len(WIDTHS)
    assert all(a is b for a, b in zip(aggregated[0][0], given, strict=True))


@pyramid_networks
@both_orders
def test_training_supervises_every_level_of_encoder_and_stages(kind: str, order: StageOrder):
    network = NETWORKS[kind](2, order)
    supervised = network(torch.randn(1, 1, *SIZE))
    levels = len(WIDTHS)
    expected = [*range(levels), *range(1, levels), *range(levels - 1)]  # the sums of eq. 13
    assert Counter(output.level for output in supervised) == Counter(expected)
    for level, logits in supervised:
        assert logits.shape == (1, 2, *(size >> level for size in SIZE))


@pyramid_networks
def test_evaluation_gives_the_first_output_of_training(kind: str):
    network, image = NETWORKS[kind](2), torch.randn(1, 1, *SIZE)
    first = network(image)[0]
    assert first.level == 0
    alone = network.eval()(image)
    assert isinstance(alone, torch.Tensor)
    torch.testing.assert_close(first.logits, alone)


@pytest.mark.parametrize(("level", "weight"), [(0, 1 / 5), (1, 1 / 10), (4, 1 / 80)])
def test_levels_weigh_as_in_equation_13(level: int, weight: float):
    assert level_weight(level, levels=5) == pytest.approx(weight)


@pyramid_networks
@both_orders
def test_every_parameter_learns(kind: str, order: StageOrder):
    network = NETWORKS[kind](2, order)
    supervised = network(torch.randn(2, 1, *SIZE))
    sum((logits * torch.randn_like(logits)).sum() for _, logits in supervised).backward()
    assert without_gradient(network) == []


@pyramid_networks
@both_orders
def test_every_module_reaches_the_final_logits(kind: str, order: StageOrder):
    network = NETWORKS[kind](2, order).eval()
    logits = network(torch.randn(1, 1, *SIZE))
    (logits * torch.randn_like(logits)).sum().backward()
    assert all("_heads." in name for name in without_gradient(network))


def test_aggregation_is_a_convolution_of_all_levels_at_the_finest_resolution():
    aggregate = PyramidAggregation(CHANNELS, 2, levels=3)
    features = [torch.randn(1, CHANNELS, *(size >> level for size in SIZE)) for level in range(3)]
    enlarged = list(features)
    for level in (1, 2):
        for _ in range(level):
            enlarged[level] = functional.interpolate(
                enlarged[level], scale_factor=2, mode="trilinear"
            )
    weight = torch.cat([project.weight for project in aggregate.project], dim=1)
    expected = functional.conv3d(torch.cat(enlarged, dim=1), weight, aggregate.project[0].bias)
    torch.testing.assert_close(aggregate(features), expected, **NEARLY)
