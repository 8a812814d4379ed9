"""The ADM U-Net and diffusers' `UNet2DModel`: the same function, and weights that survive the way there and back."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from realuid.errors import CheckpointError
from realuid.loaders import ADMOptions, load_torchcfm
from realuid.loaders.adm import check_settings, infer_settings
from realuid.loaders.adm_weights import from_diffusers, to_diffusers
from realuid.models import Condition, MatchingModel, UNet
from realuid.models.networks.backbones import NetworkConfig, build_network

SMALL = {"num_channels": 32, "num_res_blocks": 1, "channel_mult": [1, 2], "num_head_channels": 32}


def convert(network: nn.Module, path, options: ADMOptions) -> MatchingModel:
    """Through a file, as a user does it; the file can be large and does not stay."""
    torch.save({"net_model": network.state_dict()}, path)
    try:
        return load_torchcfm(path, options=options)
    finally:
        path.unlink()


def difference(network: nn.Module, model: MatchingModel) -> float:
    """Largest difference between theirs and ours on random inputs, one time and one class a sample."""
    random = torch.Generator().manual_seed(1)
    x, t = torch.randn(2, *model.shape, generator=random), torch.rand(2, generator=random)
    labels = torch.tensor([1, model.num_classes - 1]) if model.num_classes else None
    with torch.no_grad():
        theirs = network(t, x, labels)
        ours = -model(x, 1 - t, Condition(label=labels))
    assert 0.3 < theirs.std() < 3, "an output of another size makes an absolute tolerance meaningless"
    return (theirs - ours).abs().max().item()


def assert_bit_identical(one: dict, other: dict) -> None:
    assert list(one) == list(other)
    assert all(torch.equal(one[name], other[name]) for name in one)


# arguments of theirs, options of ours
VARIANTS = {
    "scale shift": ((3, 32, 32), {**SMALL, "use_scale_shift_norm": True}, ADMOptions(head_channels=32)),
    "two heads, old order": ((3, 32, 32), SMALL, ADMOptions(head_channels=32)),
    "two heads, new order": (
        (3, 32, 32),
        {**SMALL, "use_new_attention_order": True},
        ADMOptions(head_channels=32, new_attention_order=True),
    ),
    "one head": ((1, 64, 64), {**SMALL, "channel_mult": [1, 2, 3], "num_head_channels": -1}, ADMOptions(None, None)),
    "attention at two levels": ((1, 32, 32), {**SMALL, "attention_resolutions": "32,16"}, ADMOptions(32, 32)),
    "attention in the middle only": ((1, 32, 32), {**SMALL, "attention_resolutions": "4"}, ADMOptions(32, 32)),
    "three blocks, one level": ((1, 16, 16), {**SMALL, "num_res_blocks": 3, "channel_mult": [1]}, ADMOptions(16, 32)),
    "torchcfm's MNIST example": (
        (1, 28, 28),
        {"num_channels": 32, "num_res_blocks": 1, "class_cond": True, "num_classes": 10},
        ADMOptions(28, None),
    ),
}


@pytest.mark.parametrize("shape, arguments, options", VARIANTS.values(), ids=VARIANTS)
def test_variants_compute_the_same_and_come_back(torchcfm_unet, tmp_path, shape, arguments, options):
    network = torchcfm_unet(shape, **arguments)
    model = convert(network, tmp_path / "teacher.pt", options)
    assert model.shape == shape
    # in float64 they agree to 2e-7; over large maps PyTorch's channels-last group norm, which follows attention, rounds
    assert difference(network, model) < 5e-5
    unet = model.network.unet
    back = from_diffusers(unet.state_dict(), unet.config, options.new_attention_order)
    assert_bit_identical(back, network.state_dict())


def test_wrong_options_are_felt(torchcfm_unet, tmp_path):
    """The order of q, k, v and the number of heads leave no trace in shapes; said wrongly, they change the function."""
    network = torchcfm_unet((3, 32, 32), **SMALL)
    for wrong in (ADMOptions(head_channels=64), ADMOptions(head_channels=32, new_attention_order=True)):
        assert difference(network, convert(network, tmp_path / "teacher.pt", wrong)) > 0.01


@pytest.mark.slow
@pytest.mark.parametrize("classes", [0, 10])
@pytest.mark.parametrize("side", [32, 64])
def test_full_size(torchcfm_unet, tmp_path, side, classes):
    """The published architecture: 128 channels; the settings are inferred from the shapes alone."""
    network = torchcfm_unet(
        (3, side, side),
        num_channels=128,
        num_res_blocks=2,
        channel_mult=[1, 2, 2, 2],
        num_heads=4,
        num_head_channels=64,
        attention_resolutions="16",
        class_cond=bool(classes),
        num_classes=classes,
    )
    model = convert(network, tmp_path / "teacher.pt", ADMOptions())
    assert model.shape == (3, side, side) and model.num_classes == classes
    assert difference(network, model) < 1e-5
    assert_bit_identical(
        from_diffusers(model.network.unet.state_dict(), model.network.unet.config), network.state_dict()
    )


def test_packed_attention_rows_by_hand():
    """Four rows a head: row r of q, k, v of head h lies at 12 h + 4 part + r (old order) or 8 part + 4 h + r (new)."""
    settings = {"down_block_types": ["DownBlock2D"], "layers_per_block": 1, "attention_head_dim": 4}
    packed = torch.arange(24.0)
    for new_order, place in (
        (False, lambda h, part, r: 12 * h + 4 * part + r),
        (True, lambda h, part, r: 8 * part + 4 * h + r),
    ):
        here = to_diffusers({"middle_block.1.qkv.bias": packed}, settings, new_order)
        for part, name in enumerate("qkv"):
            rows = [place(h, part, r) for h in range(2) for r in range(4)]
            assert here[f"mid_block.attentions.0.to_{name}.bias"].tolist() == rows


def small_weights(**changes) -> dict[str, torch.Tensor]:
    """Weights of an ADM U-Net, 3 x 32 x 32, made without torchcfm: diffusers' own under the other names."""
    settings = {"channels": (32, 64), "blocks": 1, "head_channels": 32, "attention_at": (16,), **changes}
    unet = build_network(NetworkConfig(**settings), (3, 32, 32)).unet
    return from_diffusers(unet.state_dict(), unet.config)


def test_image_side_follows_from_the_level_with_attention():
    heads = ADMOptions(head_channels=32)
    assert infer_settings(small_weights(), heads)["sample_size"] == 32
    weights = small_weights(channels=(32, 32, 64), attention_at=(8,))
    assert infer_settings(weights, heads)["sample_size"] == 64
    assert infer_settings(weights, ADMOptions(32, 32))["sample_size"] == 32


@pytest.mark.parametrize("attention_at", [(32,), (16, 32), (32, 16, 8)])
def test_an_ambiguous_image_side_is_asked_for(attention_at):
    weights = small_weights(channels=(32, 32, 64), attention_at=attention_at)
    with pytest.raises(CheckpointError, match="Pass image_side"):
        infer_settings(weights, ADMOptions(head_channels=32))


@pytest.mark.parametrize(
    "change, options, message",
    [
        (lambda w: w, ADMOptions(head_channels=48), "no heads of 48: pass head_channels"),
        (lambda w: w, ADMOptions(31, 32), "side 31 cannot be halved 1 times"),
        (
            lambda w: w | {"input_blocks.4.0.out_layers.3.weight": torch.zeros(64)},
            ADMOptions(),
            "each level needs as many",
        ),
        (lambda w: {k: w[k] for k in w if "time_embed" not in k}, ADMOptions(), "'time_embed.0.weight' is missing"),
        (lambda w: w | {"out.2.weight": torch.zeros(6, 32, 3, 3)}, ADMOptions(), "learn_sigma"),
        (lambda w: w | {"time_embed.0.weight": torch.zeros(128, 64)}, ADMOptions(), "first channel multiplier"),
        (lambda w: {}, ADMOptions(), "each level needs"),
    ],
)
def test_what_cannot_be_converted_is_named(change, options, message):
    with pytest.raises(CheckpointError, match=message):
        infer_settings(change(small_weights()), options)


def test_resblock_updown_is_refused(torchcfm_unet, tmp_path):
    network = torchcfm_unet((3, 32, 32), **SMALL, resblock_updown=True)
    with pytest.raises(CheckpointError, match="resblock_updown"):
        convert(network, tmp_path / "teacher.pt", ADMOptions(32, 32))


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"downsample_padding": 0}, "downsample_padding = 0"),
        ({"norm_num_groups": 16}, "norm_num_groups = 16"),
        ({"add_attention": False}, "add_attention = False"),
        ({"in_channels": 6}, "in_channels = 6"),
        ({"resnet_time_scale_shift": "scale_shift"}, "attn_norm_num_groups = None"),
        ({"up_block_types": ["UpBlock2D", "UpBlock2D"]}, "up_block_types"),
        ({"attention_head_dim": 48}, "no heads of 48"),
    ],
)
def test_only_adm_networks_have_settings_of_one(changes, message):
    settings = dict(build_network(NetworkConfig(channels=(32, 64), head_channels=32), (3, 32, 32)).unet.config)
    check_settings(settings)
    with pytest.raises(CheckpointError, match=message):
        check_settings(settings | changes)


def test_a_scale_shift_network_passes_its_own_check():
    weights = small_weights()
    for name in [name for name in weights if ".emb_layers.1." in name]:
        weights[name] = torch.cat([weights[name], weights[name]])
    settings = infer_settings(weights, ADMOptions(head_channels=32))
    assert settings["resnet_time_scale_shift"] == "scale_shift"
    unet = UNet(**settings).unet
    check_settings(unet.config)
    unet.load_state_dict(to_diffusers(weights, settings))
