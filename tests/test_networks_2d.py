"""The 2D networks against the facts that their papers state."""

# ruff: noqa: E402 (torch is optional: what needs it is imported after the skip)

from __future__ import annotations

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

from livertumor_cli.networks.msff_unet import MSFFUNet, MSFFUNetConfig
from livertumor_cli.networks.sfan import (
    SFAN,
    AttentionVector,
    SemanticAttentionTransmission,
    SFANConfig,
)
from livertumor_cli.networks.unet2d import FIVE_LEVELS, UNet2D, UNet2DConfig

torch.set_num_threads(1)

NETWORKS = {
    "unet": lambda classes: UNet2D(UNet2DConfig(classes=classes, widths=(2, 3, 4))),
    "sfan": lambda classes: SFAN(SFANConfig(classes=classes, widths=(2, 3, 4), aligned_channels=3)),
    "msff": lambda classes: MSFFUNet(
        MSFFUNetConfig(classes=classes, widths=(2, 4, 6), dense_layers=2)
    ),
}
DIVISOR = 4
"""Of the three-level networks above."""

every_network = pytest.mark.parametrize("kind", list(NETWORKS))


@pytest.fixture(autouse=True)
def _same_weights_every_time() -> None:
    torch.manual_seed(3)


@every_network
@pytest.mark.parametrize("classes", [2, 4])
def test_logits_have_the_size_of_the_image(kind: str, classes: int):
    network = NETWORKS[kind](classes)
    assert network(torch.randn(2, 1, 8, 12)).shape == (2, classes, 8, 12)


@every_network
@pytest.mark.parametrize("size", [(DIVISOR + 1, 8), (8, DIVISOR + 2)])
def test_sizes_that_cannot_be_halved_are_refused(kind: str, size: tuple[int, int]):
    with pytest.raises(ValueError, match="divisible by 4"):
        NETWORKS[kind](2)(torch.zeros(1, 1, *size))


@every_network
def test_a_slice_is_judged_alone(kind: str):
    network = NETWORKS[kind](2).eval()
    first, second = torch.randn(2, 1, 8, 8)
    with torch.inference_mode():
        together = network(torch.stack([first, second]))
        alone = network(first[None])
    torch.testing.assert_close(together[:1], alone, **NEARLY)


@every_network
def test_every_parameter_learns(kind: str):
    network = NETWORKS[kind](3)
    for module in modules_of(network, nn.ReLU):  # a dead ReLU in a tiny network proves nothing
        module.register_forward_pre_hook(lambda _, arguments: (arguments[0] + 1,))
    logits = network(torch.randn(2, 1, 16, 16))
    (logits * torch.randn_like(logits)).sum().backward()
    assert without_gradient(network) == []


@every_network
def test_the_exported_file_computes_what_the_network_computes(kind: str, tmp_path: Path):
    proven_export(NETWORKS[kind](3), tmp_path / "network.onnx", classes=3, size=(8, 16))


# 2D U-Net


@pytest.mark.parametrize("widths", [(64, 128, 256, 512), FIVE_LEVELS])
def test_unet_doubles_its_features_from_64(widths: tuple[int, ...]):
    with torch.device("meta"):
        network = UNet2D(UNet2DConfig(widths=widths))
        features = [watch_outputs(block) for block in network.encoder]
        network(torch.zeros(1, 1, 32, 32))
    shapes = [answers[0].shape[1:] for answers in features]
    assert shapes == [(width, 32 >> level, 32 >> level) for level, width in enumerate(widths)]


def test_unet_has_four_levels_unless_asked():
    assert tuple(UNet2DConfig().widths) == (64, 128, 256, 512)


def test_unet_of_five_levels_is_the_original():
    with torch.device("meta"):
        network = UNet2D(UNet2DConfig(widths=FIVE_LEVELS))
    layers = modules_of(network, nn.Conv2d) + modules_of(network, nn.ConvTranspose2d)
    assert len(layers) == 23
    assert parameters(network) == pytest.approx(31.03e6, rel=0.005)


def test_unet_up_convolution_halves_the_features_before_the_concatenation():
    with torch.device("meta"):
        network = UNet2D()
    for level, width in enumerate((64, 128, 256)):
        up = network.up[level]
        assert (up.in_channels, up.out_channels, up.kernel_size) == (2 * width, width, (2, 2))
        assert network.decoder[level][0][0].in_channels == 2 * width


# SFAN


@pytest.fixture
def sfan() -> SFAN:
    return SFAN(SFANConfig(classes=2, widths=(2, 3, 4, 5, 6), aligned_channels=3)).eval()


def test_sfan_encoder_is_five_blocks_of_two_activated_convolutions():
    with torch.device("meta"):
        network = SFAN(SFANConfig(batch_norm=False))
    assert len(network.encoder) == 5
    for block in network.encoder:
        assert leaves_of(block) == [nn.Conv2d, nn.ReLU] * 2
        assert {layer.kernel_size for layer in modules_of(block, nn.Conv2d)} == {(3, 3)}
    assert modules_of(network, nn.BatchNorm2d) == []


def test_sfan_pools_after_every_block_but_the_last(sfan: SFAN):
    pooled = watch_outputs(sfan.pool)
    deepest = watch_outputs(sfan.encoder[-1])
    sfan(torch.randn(1, 1, 32, 48))
    assert sfan.pool.kernel_size == 2
    assert len(pooled) == 4
    assert deepest[0].shape[2:] == (2, 3)


def test_sfan_vectors_are_equation_1():
    module = AttentionVector(5, 3)
    features = torch.randn(2, 5, 4, 6)
    pooled = features.mean((2, 3), keepdim=True)
    first, second = modules_of(module, nn.Conv2d)
    assert first.kernel_size == second.kernel_size == (1, 1)
    expected = torch.sigmoid(second(torch.relu(first(pooled))))
    torch.testing.assert_close(module(features), expected)


def test_sfan_transmission_weights_a_level_by_the_next_one():
    module = SemanticAttentionTransmission(3, higher_channels=5)
    features, higher = torch.randn(2, 3, 8, 8), torch.randn(2, 5, 4, 4)
    weights = module(features, higher) / features
    # One weight per channel and sample, of the higher level alone.
    torch.testing.assert_close(weights, weights[:, :, :1, :1].expand_as(weights), **NEARLY)
    torch.testing.assert_close(module(features * 2, higher), module(features, higher) * 2)
    assert bool(((weights > 0) & (weights < 1)).all())
    assert not torch.allclose(module(features, higher), module(features, higher.flip(1)))


def test_sfan_transmits_every_level_and_passes_the_last_straight(sfan: SFAN):
    encoded = [watch_outputs(block) for block in sfan.encoder]
    asked = [watch_inputs(module) for module in sfan.transmission]
    aligned = [watch_inputs(block) for block in sfan.alignment]
    sfan(torch.randn(1, 1, 32, 32))
    assert len(asked) == 4
    for level, calls in enumerate(asked):
        features, higher = calls[0]
        assert features is encoded[level][0]
        assert higher is encoded[level + 1][0]
    assert aligned[-1][0][0] is encoded[-1][0]


def test_sfan_context_comes_from_the_deepest_level_and_covers_all(sfan: SFAN):
    encoded, context = watch_outputs(sfan.encoder[-1]), watch_inputs(sfan.context)
    answer = watch_outputs(sfan.context)
    sfan(torch.randn(1, 1, 32, 32))
    assert context[0][0] is encoded[0]
    assert answer[0].shape == (1, 5 * 3, 1, 1)


def test_sfan_fusion_is_equations_2_and_3(sfan: SFAN):
    transmitted = [watch_inputs(block) for block in sfan.alignment]
    context, fused = watch_outputs(sfan.context), watch_inputs(sfan.fuse)
    sfan(torch.randn(2, 1, 32, 48))
    levels = [
        functional.interpolate(block.align(calls[0][0]), size=(32, 48), mode="bilinear")
        for block, calls in zip(sfan.alignment, transmitted, strict=True)
    ]
    assert all(block.align.kernel_size == (1, 1) for block in sfan.alignment)
    torch.testing.assert_close(fused[0][0], torch.cat(levels, dim=1) * context[0])


def test_sfan_ends_with_a_3x3_and_a_1x1_convolution(sfan: SFAN):
    assert sfan.fuse[0].kernel_size == (3, 3)
    assert sfan.head.kernel_size == (1, 1)


@pytest.mark.parametrize("size", [16, 32, 48])
def test_sfan_takes_the_three_scales_of_its_inference(sfan: SFAN, size: int):
    assert sfan(torch.randn(1, 1, size, size)).shape == (1, 2, size, size)


def test_sfan_starts_from_gaussian_weights():
    network = SFAN(SFANConfig(widths=(32, 32), aligned_channels=8))
    weights = network.encoder[1][1][0].weight.detach().flatten()
    assert float(weights.std()) == pytest.approx((2 / (32 * 9)) ** 0.5, rel=0.05)
    normalized = (weights - weights.mean()) / weights.std()
    # The fourth moment tells a Gaussian (3) from a uniform distribution (1.8).
    assert float((normalized**4).mean()) == pytest.approx(3, abs=0.3)
