"""DDPM++, NCSN++ and ADM: structure, parts against brute force, and saving."""

import math

import edm_layout
import pytest
import torch
from torch.nn import functional as F

from realuid.errors import ConfigError
from realuid.models import (
    EDM,
    ADMUNet,
    Condition,
    MatchingModel,
    SongUNet,
    count_parameters,
    from_pretrained,
    save_pretrained,
)
from realuid.models.networks.edm_blocks import BlurredStridedConv, PositionalEmbedding, UNetBlock, low_pass, resample
from realuid.paths import VEPath

SMALL = {"img_resolution": 8, "in_channels": 3, "out_channels": 3, "model_channels": 16, "channel_mult": [1, 2]}
SMALL |= {"num_blocks": 1, "attn_resolutions": [4]}


@pytest.mark.parametrize(
    ("make", "arguments", "millions"),
    [
        (SongUNet, edm_layout.DDPMPP_CIFAR, 55.7),
        (SongUNet, {**edm_layout.DDPMPP_CIFAR, "label_dim": 10}, 55.7),
        (SongUNet, edm_layout.NCSNPP_CIFAR, 56.4),
        (ADMUNet, edm_layout.ADM_IMAGENET, 295.9),
    ],
    ids=["ddpm++", "ddpm++ conditional", "ncsn++", "adm"],
)
def test_full_size_networks_have_the_published_layout(make, arguments, millions):
    shapes = (edm_layout.adm_shapes if make is ADMUNet else edm_layout.song_shapes)(arguments)
    with torch.device("meta"):
        network = make(**arguments)
    assert {name: tuple(value.shape) for name, value in network.state_dict().items()} == shapes
    assert count_parameters(network) == edm_layout.count(shapes)
    assert round(edm_layout.count(shapes) / 1e6, 1) == millions


@pytest.mark.parametrize("taps", [(1, 1), (1, 3, 3, 1)])
def test_resampling_is_convolution_with_the_filter(taps):
    """Against sums written out; outside the image is zero."""
    x = torch.randn(1, 1, 6, 6, dtype=torch.float64)
    n, pad = len(taps), (len(taps) - 1) // 2
    f = [v / sum(taps) for v in taps]
    at = lambda i, j: x[0, 0, i, j].item() if 0 <= i < 6 and 0 <= j < 6 else 0.0  # noqa: E731
    down, up = torch.zeros(3, 3, dtype=torch.float64), torch.zeros(12, 12, dtype=torch.float64)
    for i in range(3):
        for j in range(3):
            terms = ((p, q) for p in range(n) for q in range(n))
            down[i, j] = sum(f[p] * f[q] * at(2 * i + p - pad, 2 * j + q - pad) for p, q in terms)
    for i in range(6):
        for j in range(6):
            for p in range(n):
                for q in range(n):
                    r, c = 2 * i + p - pad, 2 * j + q - pad
                    if 0 <= r < 12 and 0 <= c < 12:
                        up[r, c] += 4 * f[p] * f[q] * at(i, j)
    filter = low_pass(taps).double()
    torch.testing.assert_close(resample(x, "down", filter)[0, 0], down, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(resample(x, "up", filter)[0, 0], up, rtol=1e-6, atol=1e-6)


def test_blurred_strided_convolution_is_convolution_then_filter():
    """One padding for both: the order of two convolutions does not matter, and stride 2 comes last."""
    module = BlurredStridedConv(3, 5, 3, (1, 3, 3, 1)).double()
    x = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    full = F.conv2d(F.pad(x, (2, 2, 2, 2)), module.weight)
    filter = low_pass((1, 3, 3, 1)).double().expand(5, 1, 4, 4)
    expected = F.conv2d(full, filter, stride=2, groups=5) + module.bias[:, None, None]
    torch.testing.assert_close(module(x), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("endpoint", [False, True])
def test_positional_embedding_is_sines_and_cosines(endpoint):
    times, half = [0.0, 1.3, 999.0], 4
    for cosine_first in (False, True):
        found = PositionalEmbedding(2 * half, endpoint, cosine_first)(torch.tensor(times))
        for row, t in zip(found.tolist(), times, strict=True):
            angles = [t * 10_000 ** (-i / (half - endpoint)) for i in range(half)]
            parts = [list(map(math.cos, angles)), list(map(math.sin, angles))]
            first, second = parts if cosine_first else reversed(parts)
            assert row == pytest.approx([*first, *second], abs=1e-4)


def test_attention_is_the_softmax_average_of_values():
    block = UNetBlock(8, 8, 4, heads=2).double().eval()
    torch.nn.init.normal_(block.qkv.weight)
    x = torch.randn(2, 8, 2, 3, dtype=torch.float64)
    qkv = block.qkv(x).flatten(2)  # channel c of head h: rows 3 (4 h + c), + 1, + 2 are query, key, value
    expected = torch.zeros(2, 8, 6, dtype=torch.float64)
    for b in range(2):
        for head in range(2):
            q, k, v = (qkv[b, 12 * head + part : 12 * (head + 1) : 3] for part in range(3))
            for pixel in range(6):
                scores = [sum(q[c, pixel] * k[c, other] for c in range(4)).item() / 2 for other in range(6)]
                weights = [math.exp(s) / sum(map(math.exp, scores)) for s in scores]
                for c in range(4):
                    value = sum(w * v[c, other].item() for other, w in enumerate(weights))
                    expected[b, 4 * head + c, pixel] = value
    torch.testing.assert_close(block.attend(x).flatten(2), expected, rtol=1e-10, atol=1e-10)


SONGS = {
    "ddpm++": {},
    "ncsn++": {"embedding_type": "fourier", "encoder_type": "residual", "resample_filter": [1, 3, 3, 1]},
    "skip": {"encoder_type": "skip", "decoder_type": "skip", "resample_filter": [1, 3, 3, 1]},
}


def song(**settings) -> SongUNet:
    return SongUNet(**SMALL, **settings)


def shake(network: torch.nn.Module) -> torch.nn.Module:
    """Every weight away from its special first value, so that every layer has an effect."""
    generator = torch.Generator().manual_seed(3)
    for parameter in network.parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)
    return network.eval()


@pytest.mark.parametrize("settings", [*SONGS.values(), "adm"], ids=[*SONGS, "adm"])
def test_every_parameter_and_input_matters(settings):
    """Gradients reach every weight, the image, the time and, where there are classes, the label embedding."""
    network = shake(ADMUNet(**SMALL, label_dim=3) if settings == "adm" else song(label_dim=3, **settings))
    x, time = torch.randn(3, 3, 8, 8, requires_grad=True), torch.tensor([0.1, 0.5, 0.9], requires_grad=True)
    y = network(x, time, Condition(label=torch.tensor([0, 1, 2])))
    assert y.shape == x.shape
    (y * torch.randn(y.shape)).sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name
    assert all(value.grad.abs().amax(dim=tuple(range(1, value.dim()))).min() > 0 for value in (x, time))


@pytest.mark.parametrize("settings", [*SONGS.values(), "adm"], ids=[*SONGS, "adm"])
def test_samples_of_a_batch_do_not_mix(settings):
    network = shake(ADMUNet(**SMALL) if settings == "adm" else song(**settings))
    x, time = torch.randn(3, 3, 8, 8), torch.tensor([0.1, 0.5, 0.9])
    together = network(x, time, Condition())
    apart = torch.cat([network(x[i : i + 1], time[i : i + 1], Condition()) for i in range(3)])
    torch.testing.assert_close(together, apart, rtol=1e-4, atol=1e-5)


def test_skip_decoder_sums_the_images_of_all_levels():
    """With the finest level silenced, what is left is the coarser level's image, doubled in size."""
    network = shake(song(**SONGS["skip"]))
    torch.nn.init.zeros_(network.dec["8x8_aux_conv"].weight)
    torch.nn.init.zeros_(network.dec["8x8_aux_conv"].bias)
    coarse = []
    network.dec["4x4_aux_conv"].register_forward_hook(lambda module, inputs, output: coarse.append(output))
    found = network(torch.randn(2, 3, 8, 8), torch.tensor([0.1, 0.9]), Condition())
    torch.testing.assert_close(found, resample(coarse[0], "up", low_pass((1, 3, 3, 1))))


def test_dropped_labels_are_no_label():
    network = shake(song(label_dim=3, label_dropout=1.0))
    x, time, labels = torch.randn(2, 3, 8, 8), torch.tensor([0.1, 0.9]), torch.tensor([0, 2])
    with_labels = network(x, time, Condition(label=labels))
    network.train()
    network.apply(lambda module: module.eval() if isinstance(module, torch.nn.Dropout) else None)
    dropped = [network(x, time, Condition(label=labels.roll(i))) for i in range(2)]
    torch.testing.assert_close(dropped[0], dropped[1])
    assert (with_labels - dropped[0]).abs().max() > 1e-3


@pytest.mark.parametrize(("kind", "network"), [("song_unet", song(label_dim=3)), ("adm_unet", ADMUNet(**SMALL))])
def test_saved_models_are_read_back_bit_by_bit(kind, network, tmp_path):
    model = MatchingModel(shake(network), VEPath(sigma_max=50.0), preconditioning=EDM(0.6)).eval()
    again = from_pretrained(save_pretrained(model, tmp_path / kind))
    assert (again.path, again.preconditioning) == (model.path, model.preconditioning)
    x, t, condition = torch.randn(2, 3, 8, 8), torch.tensor([0.1, 9.0]), Condition(label=torch.tensor([0, 2]))
    assert torch.equal(again(x, t, condition), model(x, t, condition))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"embedding_type": "sinusoidal"}, "embedding_type is 'sinusoidal', but needed is positional or fourier"),
        ({"encoder_type": 3}, "encoder_type is a int, but needed is standard or skip or residual"),
        ({"model_channels": "16"}, "model_channels is '16', but needed is int"),
        ({"model_channels": True}, "model_channels is a bool"),
        ({"dropout": [0.1]}, "dropout is a list, but needed is float"),
        ({"channel_mult": 2}, "channel_mult is a int, but needed is a list of int"),
        ({"channel_mult": [1, 2.5]}, "channel_mult is a list, but needed is a list of int"),
        ({"resample_filter": [[1], [1]]}, "resample_filter is a list, but needed is a list of float"),
        ({"model_channels": 10}, "30 channels cannot be normalised in 7 groups"),
        ({"channel_mult": [1] * 5}, "5 levels of 1 blocks for images of side 8"),
        ({"num_blocks": 0}, "2 levels of 0 blocks"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        SongUNet(**{**SMALL, **settings})


def test_heads_must_divide_the_channels():
    with pytest.raises(ConfigError, match="224 channels cannot be split into 3 attention heads"):
        ADMUNet(**{**SMALL, "model_channels": 224, "channel_mult": [1]})
