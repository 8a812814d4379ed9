"""Laid-out parts of U-Nets compute what diffusers' own do."""

from __future__ import annotations

import copy

import pytest
import torch
from diffusers import UNet2DModel
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from diffusers.models.upsampling import Upsample2D
from torch.utils.flop_counter import FlopCounterMode

from realuid.models import UNet
from realuid.models.networks.cpu_blocks import ImageAttention, Upsample, attend, lay_out, pointwise, project


def block(**settings) -> Attention:
    torch.manual_seed(0)
    return Attention(query_dim=32, heads=4, dim_head=8, norm_num_groups=8, bias=True, **settings).double()


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(
    "settings",
    [
        {"residual_connection": True, "_from_deprecated_attn_block": True},
        {"rescale_output_factor": 1.4142, "residual_connection": True},
        {"dim_head": 16, "out_dim": 32},
    ],
)
def test_values_and_gradients_are_those_of_diffusers(layout, settings: dict) -> None:
    torch.manual_seed(0)
    attention = Attention(**{"query_dim": 32, "heads": 4, "dim_head": 8, "norm_num_groups": 8, **settings})
    attention.double()
    x = torch.randn(3, 32, 6, 4, dtype=torch.float64).to(memory_format=layout)
    found = []
    for processor in (AttnProcessor2_0(), ImageAttention()):
        attention.set_processor(processor)
        y = x.clone(memory_format=torch.preserve_format).requires_grad_()
        out = attention(y)
        attention.zero_grad()
        (out * torch.linspace(-1, 1, out.numel(), dtype=torch.float64).view(out.shape)).sum().backward()
        gradients = [p.grad for p in attention.parameters()]
        assert all(g is not None for g in gradients)
        found.append([out.detach(), y.grad, *(g.clone() for g in gradients)])
    for theirs, ours in zip(*found, strict=True):
        assert (theirs - ours).abs().max() < 1e-12 * max(1, theirs.abs().max())


def test_images_that_lie_channels_last_stay_so() -> None:
    attention = block(residual_connection=True)
    attention.set_processor(ImageAttention())
    x = torch.randn(2, 32, 4, 4, dtype=torch.float64).to(memory_format=torch.channels_last)
    assert attention(x).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_no_images_are_a_batch_as_well(layout) -> None:
    """The share of a process, or a part, in few images: nothing comes out, and weights get gradients of zero."""
    attention = block(residual_connection=True)
    attention.set_processor(ImageAttention())
    out = attention(torch.empty(0, 32, 6, 4, dtype=torch.float64).to(memory_format=layout))
    out.sum().backward()
    assert out.shape == (0, 32, 6, 4)
    assert all(p.grad is not None and not p.grad.any() for p in attention.parameters())


def test_attention_to_something_else_is_left_to_diffusers() -> None:
    attention, other = block(), torch.randn(2, 5, 32, dtype=torch.float64)
    x = torch.randn(2, 7, 32, dtype=torch.float64)
    expected = attention(x, encoder_hidden_states=other)
    attention.set_processor(ImageAttention())
    assert torch.equal(attention(x, encoder_hidden_states=other), expected)


def test_bf16_on_a_cpu_is_as_near_to_the_truth_as_torchs_kernel() -> None:
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 2, 4, 64, 16).to(torch.bfloat16).unbind()
    truth = (q.double() @ k.double().transpose(-1, -2) / 4).softmax(-1) @ v.double()
    kernel = torch.nn.functional.scaled_dot_product_attention(q, k, v)
    ours, theirs = ((x.double() - truth).norm() / truth.norm() for x in (attend(q, k, v), kernel))
    assert ours < 1e-2 and ours < 2.5 * theirs


@pytest.mark.parametrize("batch", [3, 16])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("biased", [True, False])
def test_a_pointwise_convolution_is_a_sum_over_channels(batch: int, layout, biased: bool) -> None:
    torch.manual_seed(0)
    x = torch.randn(batch, 6, 5, 4, dtype=torch.float64).to(memory_format=layout).requires_grad_()
    weight = torch.randn(7, 6, 1, 1, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(7, dtype=torch.float64, requires_grad=True) if biased else None
    given = [t for t in (x, weight, bias) if t is not None]
    expected = torch.einsum("bchw,oc->bohw", x, weight[:, :, 0, 0])
    expected = expected if bias is None else expected + bias[:, None, None]
    found = pointwise(x, weight, bias)
    assert (found - expected).abs().max() < 1e-12
    assert found.is_contiguous(memory_format=layout)
    pull = torch.randn_like(expected)
    for ours, theirs in zip(*(torch.autograd.grad(y, given, pull) for y in (found, expected)), strict=True):
        assert (ours - theirs).abs().max() < 1e-12
    pixels = project(x.permute(0, 2, 3, 1), weight[:, :, 0, 0], bias)
    assert (pixels.permute(0, 3, 1, 2) - expected).abs().max() < 1e-12


@pytest.mark.parametrize("batch", [2, 65])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("biased", [True, False])
def test_upsampling_is_diffusers_in_16_products_instead_of_36(batch: int, layout, biased: bool) -> None:
    torch.manual_seed(0)
    module = Upsample2D(6, use_conv=True, out_channels=7, bias=biased).double()
    x = torch.randn(batch, 6, 5, 3, dtype=torch.float64).to(memory_format=layout).requires_grad_()
    given, found, products = [x, *module.parameters()], [], []
    pull = torch.randn(batch, 7, 10, 6, dtype=torch.float64)
    for change in (lambda _: None, lay_out):
        change(module)
        with FlopCounterMode(display=False) as counter:
            out = module(x)
        products.append(counter.get_total_flops() / (2 * batch * 15 * 6 * 7))
        found.append([out, *torch.autograd.grad(out, given, pull)])
    assert type(module) is Upsample and products == [36, 16]
    assert found[1][0].is_contiguous(memory_format=layout)
    for theirs, ours in zip(*found, strict=True):
        assert (ours - theirs).abs().max() < 1e-12 * max(1, theirs.abs().max())


@pytest.mark.parametrize(
    "settings",
    [
        {"use_conv": False},
        {"use_conv_transpose": True},
        {"use_conv": True, "kernel_size": 5, "padding": 2},
        {"use_conv": True, "interpolate": False},
        {"use_conv": True, "norm_type": "ln_norm", "eps": 1e-5, "elementwise_affine": True},
    ],
)
def test_other_upsampling_is_left_to_diffusers(settings: dict) -> None:
    module = Upsample2D(6, **settings)
    lay_out(module)
    assert type(module) is Upsample2D


SETTINGS = {
    "sample_size": 8,
    "in_channels": 1,
    "out_channels": 1,
    "block_out_channels": (8, 16),
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "attention_head_dim": 8,
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
    "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
}


def test_unets_have_it_and_keep_the_names_of_their_weights() -> None:
    network, plain = UNet(**SETTINGS), UNet2DModel(**SETTINGS)
    processors = [m.processor for m in network.modules() if isinstance(m, Attention)]
    assert len(processors) == 4 and all(isinstance(p, ImageAttention) for p in processors)
    plain.load_state_dict(network.unet.state_dict())
    x, t = torch.randn(2, 1, 8, 8), torch.tensor([0.1, 0.7])
    with torch.no_grad():
        assert torch.allclose(network.unet(x, t).sample, plain(x, t).sample, atol=1e-5)
        assert torch.equal(copy.deepcopy(network).unet(x, t).sample, network.unet(x, t).sample)


def test_a_unet_in_training_stays_channels_last_with_the_gradients_of_diffusers() -> None:
    network, plain = UNet(**SETTINGS, dropout=0.3), UNet2DModel(**SETTINGS, dropout=0.3).double()
    for unet in (network.double(), plain):
        unet.to(memory_format=torch.channels_last)
    plain.load_state_dict(network.unet.state_dict())
    assert network.training and all(m.training for m in network.modules() if isinstance(m, torch.nn.Dropout))
    shortcuts = [m.conv_shortcut for m in network.modules() if getattr(m, "conv_shortcut", None) is not None]
    layouts: list[bool] = []
    for layer in shortcuts:
        layer.register_forward_hook(
            lambda _, given, out: layouts.append(
                all(x.is_contiguous(memory_format=torch.channels_last) for x in (given[0], out))
            )
        )
    x = torch.randn(2, 1, 8, 8, dtype=torch.float64).to(memory_format=torch.channels_last)
    gradients = []
    for unet in (network.unet, plain):
        torch.manual_seed(0)
        unet(x, torch.tensor([0.1, 0.7])).sample.square().sum().backward()
        gradients.append([p.grad for p in unet.parameters()])
    assert layouts and all(layouts)
    for ours, theirs in zip(*gradients, strict=True):
        assert ours is not None and (ours - theirs).abs().max() < 1e-9 * max(1, theirs.abs().max())
