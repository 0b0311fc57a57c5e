"""The networks against the facts that their papers state."""

# ruff: noqa: E402 (torch is optional: what needs it is imported after the skip)

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from livertumor_cli.networks.uca_net import (
    ChannelCrossAttention,
    CrossAttentionSkip,
    SliceCrossAttention,
    UCANet,
    UCANetConfig,
    attention_weights,
)
from livertumor_cli.networks.unet3d import DoubleConv, UNet3D, UNet3DConfig, UpConv

torch.set_num_threads(1)

WIDTHS = (2, 4, 8)
SHAPE = (2, 6, 4, 3, 5)
"""Batch, channels, depth, height, width of the attention tests: no two sizes alike."""


def parameters(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.fixture(autouse=True)
def _same_weights_every_time() -> None:
    torch.manual_seed(1)


@pytest.fixture
def pair() -> tuple[torch.Tensor, torch.Tensor]:
    """Encoder and up-sampled decoder features."""
    generator = torch.Generator().manual_seed(5)
    return torch.randn(SHAPE, generator=generator), torch.randn(SHAPE, generator=generator)


@pytest.mark.parametrize(
    ("channel", "slices", "millions"),
    [(False, False, 6.42), (False, True, 5.84), (True, False, 5.90), (True, True, 5.91)],
)
def test_parameter_counts_are_those_of_table_2(channel: bool, slices: bool, millions: float):
    with torch.device("meta"):
        if channel or slices:
            config = UCANetConfig(channel_attention=channel, slice_attention=slices)
            network: torch.nn.Module = UCANet(config)
        else:
            network = UNet3D(UNet3DConfig(classes=4))
    assert parameters(network) == pytest.approx(millions * 1e6, rel=0.005)


@pytest.mark.parametrize("channels", [6, 32])
def test_attention_modules_have_the_parameters_that_the_counts_leave(channels: int):
    assert parameters(ChannelCrossAttention(channels)) == 3 * channels**2
    assert parameters(SliceCrossAttention(channels)) == 4 * channels


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("kind", ["unet", "uca"])
def test_logits_have_the_size_of_the_image(kind: str, classes: int):
    network = (
        UNet3D(UNet3DConfig(in_channels=2, classes=classes, widths=WIDTHS))
        if kind == "unet"
        else UCANet(UCANetConfig(in_channels=2, classes=classes, widths=WIDTHS))
    )
    assert network(torch.zeros(2, 2, 4, 12, 8)).shape == (2, classes, 4, 12, 8)


@pytest.mark.parametrize("size", [(6, 8, 8), (8, 9, 8), (8, 8, 7)])
@pytest.mark.parametrize("kind", ["unet", "uca"])
def test_sizes_that_cannot_be_halved_are_refused(kind: str, size: tuple[int, int, int]):
    network = (
        UNet3D(UNet3DConfig(widths=WIDTHS))
        if kind == "unet"
        else UCANet(UCANetConfig(widths=WIDTHS))
    )
    with pytest.raises(ValueError, match="divisible by 4"):
        network(torch.zeros(1, 1, *size))


def test_attention_stands_at_every_level_but_the_deepest():
    network = UCANet(UCANetConfig(widths=WIDTHS))
    assert len(network.skip) == len(WIDTHS) - 1
    with torch.device("meta"):
        assert len(UCANet().skip) == 3


def test_up_convolution_doubles_odd_sizes_too():
    assert UpConv(3, 2)(torch.zeros(1, 3, 3, 5, 7)).shape == (1, 2, 6, 10, 14)


def test_convolutions_before_a_norm_carry_no_bias():
    block = DoubleConv(1, 2)
    assert [layer.bias for layer in block if isinstance(layer, torch.nn.Conv3d)] == [None, None]


def normalized_softmax(similarity: torch.Tensor) -> torch.Tensor:
    """One sample's weights, written as UCTransNet describes them."""
    return (
        (similarity - similarity.mean()) / (similarity.var(unbiased=False) + 1e-5).sqrt()
    ).softmax(-1)


def test_channel_attention_is_the_plain_formula(pair):
    encoded, upsampled = pair
    module = ChannelCrossAttention(SHAPE[1])
    obtained = module(encoded, upsampled)
    for sample in range(SHAPE[0]):
        query = module.query(upsampled)[sample].flatten(1)  # (C, L)
        key, value = (
            module.key(encoded)[sample].flatten(1),
            module.value(encoded)[sample].flatten(1),
        )
        weights = normalized_softmax(query @ key.T / key.shape[1])
        expected = (weights @ value).reshape(SHAPE[1:])
        torch.testing.assert_close(obtained[sample], expected, rtol=1e-4, atol=1e-5)


def test_slice_attention_is_the_plain_formula(pair):
    encoded, upsampled = pair
    module = SliceCrossAttention(SHAPE[1])
    obtained = module(encoded, upsampled)
    for sample in range(SHAPE[0]):
        query = module.query(upsampled)[sample, 0].flatten(1)  # (D, H W)
        key, value = (
            module.key(encoded)[sample, 0].flatten(1),
            module.value(encoded)[sample, 0].flatten(1),
        )
        weights = normalized_softmax(query @ key.T / key.shape[1])
        attended = (weights @ value).reshape(1, 1, *SHAPE[2:])
        expected = module.restore(attended)[0]
        torch.testing.assert_close(obtained[sample], expected, rtol=1e-4, atol=1e-5)


def test_rows_of_attention_sum_to_one_whatever_the_scale():
    similarity = torch.randn(3, 5, 5) * torch.tensor([1e-3, 1.0, 1e3]).view(3, 1, 1)
    weights = attention_weights(similarity)
    torch.testing.assert_close(weights.sum(-1), torch.ones(3, 5))
    assert bool((weights > 0).all())
    assert attention_weights(similarity.bfloat16()).dtype == torch.float32


def test_equal_similarities_give_equal_weights():
    torch.testing.assert_close(
        attention_weights(torch.full((1, 4, 4), 7.0)), torch.full((1, 4, 4), 0.25)
    )


@pytest.mark.parametrize("kind", [ChannelCrossAttention, SliceCrossAttention])
def test_the_decoder_guides_and_the_encoder_is_what_is_read(kind, pair):
    encoded, upsampled = pair
    module = kind(SHAPE[1])
    assert not torch.allclose(module(encoded, upsampled), module(encoded, upsampled.flip(1)))
    # Without encoder features there is nothing to read, whatever the decoder asks for.
    assert bool((module(torch.zeros_like(encoded), upsampled) == 0).all())
    # The similarity is normalized, so louder encoder features are read louder and not elsewhere.
    torch.testing.assert_close(
        module(encoded * 1e3, upsampled),
        module(encoded * 1e2, upsampled) * 10,
        rtol=1e-3,
        atol=1e-3,
    )


def test_slices_are_asked_for_one_by_one(pair):
    encoded, upsampled = pair
    module = SliceCrossAttention(SHAPE[1])
    order = [2, 0, 3, 1]
    expected = module(encoded, upsampled)
    # Other query slices at a place: their answers move along. Encoder slices may stand anywhere.
    torch.testing.assert_close(module(encoded, upsampled[:, :, order]), expected[:, :, order])
    torch.testing.assert_close(module(encoded[:, :, order], upsampled), expected)


def test_channel_attention_does_not_depend_on_the_patch_size(pair):
    encoded, upsampled = (torch.cat([tensor, tensor], dim=2) for tensor in pair)
    module = ChannelCrossAttention(SHAPE[1])
    once = module(*pair)
    torch.testing.assert_close(module(encoded, upsampled), torch.cat([once, once], dim=2))


def test_skip_adds_both_modules_and_both_streams(pair):
    encoded, upsampled = pair
    skip = CrossAttentionSkip(SHAPE[1], config=UCANetConfig())
    assert skip.channel is not None
    assert skip.slice is not None
    attended = skip.channel(encoded, upsampled) + skip.slice(encoded, upsampled)
    parts = upsampled + encoded + attended
    torch.testing.assert_close(skip(encoded, upsampled), parts)


def test_modules_that_are_off_have_no_parameters():
    names = UCANet(UCANetConfig(widths=WIDTHS, slice_attention=False)).state_dict()
    assert any(".channel." in name for name in names)
    assert not any(".slice." in name for name in names)


def test_both_modules_off_is_refused():
    with pytest.raises(ValueError, match="UNet3D"):
        UCANet(UCANetConfig(widths=WIDTHS, channel_attention=False, slice_attention=False))


@pytest.mark.parametrize("kind", ["unet", "uca"])
def test_a_patch_is_judged_alone(kind: str):
    network = (
        UNet3D(UNet3DConfig(widths=WIDTHS))
        if kind == "unet"
        else UCANet(UCANetConfig(widths=WIDTHS))
    )
    network.eval()
    first, second = torch.randn(2, 1, 4, 8, 8)
    with torch.inference_mode():
        together = network(torch.stack([first, second]))
        alone = network(first[None])
    torch.testing.assert_close(together[:1], alone, rtol=1e-4, atol=1e-5)


def test_every_parameter_learns():
    network = UCANet(UCANetConfig(widths=WIDTHS))
    target = torch.randn(2, 4, 4, 8, 8)
    (network(torch.randn(2, 1, 4, 8, 8)) * target).sum().backward()
    still = [
        name
        for name, parameter in network.named_parameters()
        if parameter.grad is None or not bool(parameter.grad.any())
    ]
    assert still == []
