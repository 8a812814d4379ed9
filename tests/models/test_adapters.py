"""Three roles on one base give what three separate networks give. Oracle: weights W + (alpha / rank) B A, no PEFT."""

from __future__ import annotations

import copy

import pytest
import torch
from diffusers import UNet2DConditionModel
from torch import Tensor
from torch.func import functional_call

from realuid.errors import ConfigError
from realuid.models.networks.adapters import AdaptedNetwork, AdapterSettings, SharedBase
from realuid.models.networks.base import Network, UNet
from realuid.models.networks.condition import Condition


class TextUNet(Network):
    """A text-conditioned U-Net of diffusers, always asked about the same prompt."""

    shape = (4, 8, 8)

    def __init__(self) -> None:
        super().__init__({})
        self.unet = UNet2DConditionModel(
            sample_size=8,
            block_out_channels=(8, 16),
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            layers_per_block=1,
            cross_attention_dim=12,
            attention_head_dim=4,
            norm_num_groups=4,
        )
        self.prompt = torch.linspace(-1, 1, 36).view(1, 3, 12)

    def forward(self, x: Tensor, time: Tensor, condition: Condition) -> Tensor:
        return self.unet(x, time, self.prompt.to(x).expand(len(x), -1, -1), return_dict=False)[0]


def attention_unet() -> Network:
    """A U-Net with self-attention, as realuid builds them."""
    blocks = {
        "down_block_types": ["DownBlock2D", "AttnDownBlock2D"],
        "up_block_types": ["AttnUpBlock2D", "UpBlock2D"],
    }
    sizes = {"sample_size": 8, "in_channels": 1, "out_channels": 1, "block_out_channels": [8, 16]}
    return UNet(**sizes, **blocks, layers_per_block=1, norm_num_groups=4, attention_head_dim=8)


def convolutional_unet() -> Network:
    """A U-Net of convolutions only, upsampling among them."""
    blocks = {"down_block_types": ["DownBlock2D"] * 2, "up_block_types": ["UpBlock2D"] * 2, "add_attention": False}
    sizes = {"sample_size": 8, "in_channels": 1, "out_channels": 1, "block_out_channels": [8, 16]}
    return UNet(**sizes, **blocks, layers_per_block=1, norm_num_groups=4)


NETWORKS = [attention_unet, convolutional_unet, TextUNet]


def role_of(base: SharedBase, name: str, seed: int, settings: AdapterSettings) -> AdaptedNetwork:
    """A role whose adapter changes something."""
    role = base.role(name, settings, seed)
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in role.parameters():
            parameter.copy_(0.2 * torch.randn(parameter.shape, generator=random))
    return role


class Separate:
    """A copy of the network whose weights are W + scale B A, the products written out."""

    def __init__(self, network: Network, role: AdaptedNetwork | None = None, scale: float = 1.0):
        self.network, self.scale = copy.deepcopy(network).requires_grad_(False), scale
        self.leaves = (
            {} if role is None else {n: p.detach().clone().requires_grad_() for n, p in role.named_parameters()}
        )

    def __call__(self, x: Tensor, time: Tensor) -> Tensor:
        weights = dict(self.network.named_parameters())
        for name, a in self.leaves.items():
            if name.endswith(".lora_A.weight"):
                layer, b = name.removesuffix(".lora_A.weight"), self.leaves[name.replace("lora_A", "lora_B")]
                product = torch.einsum("or,r...->o...", b.flatten(1), a)  # of convolutions, B is 1x1
                weights[f"{layer}.weight"] = weights[f"{layer}.weight"] + self.scale * product
        return functional_call(self.network, weights, (x, time, Condition()))


def losses(student, teacher, fake) -> tuple[Tensor, Tensor]:
    """Of both players' turns: through teacher and fake model into x_t, and the fake model's own."""
    random = torch.Generator().manual_seed(5)
    shape = (3, *teacher.shape)
    z, eps = (torch.randn(shape, generator=random, dtype=torch.float64) for _ in range(2))
    t = torch.tensor([0.3, 0.6, 0.9], dtype=torch.float64)
    x_0 = student(z, 700 * torch.ones(3, dtype=torch.float64))
    mix = t.view(-1, 1, 1, 1)
    x_t = (1 - mix) * x_0 + mix * eps
    f_star, f = teacher(x_t, 1000 * t), fake(x_t, 1000 * t)
    generator = ((f_star - f) * (f_star + f - 2 * (eps - x_0))).sum()
    fixed = x_t.detach()
    return generator, (fake(fixed, 1000 * t) - (eps - x_0.detach())).square().sum()


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("make", NETWORKS)
def test_three_roles_on_one_base_are_three_separate_networks(make, checkpointing: bool) -> None:
    torch.manual_seed(0)
    network = make().double()
    original = copy.deepcopy(network)
    base = SharedBase(network)
    settings = AdapterSettings(rank=3, alpha=6.0)
    student, fake = role_of(base, "student", 1, settings), role_of(base, "fake", 2, settings)
    if checkpointing:
        student.recompute_activations()
        base.network.train()  # diffusers recomputes in training mode only; there is no dropout here
    calls = []
    network.unet.down_blocks[0].resnets[0].register_forward_pre_hook(lambda *_: calls.append(base._active))
    roles = [_called(student), _called(base.plain()), _called(fake)]
    separate = [Separate(original, student, 2.0), Separate(original), Separate(original, fake, 2.0)]
    for one in separate:
        one.shape = original.shape
    shared, apart = losses(*roles), losses(*separate)
    for ours, theirs in zip(shared, apart, strict=True):
        assert ours.item() == pytest.approx(theirs.item(), rel=1e-6)
    passes = len(calls)
    for turn, role, copied in ((0, student, separate[0]), (1, fake, separate[2])):
        ours = torch.autograd.grad(shared[turn], list(role.parameters()), retain_graph=True)
        theirs = torch.autograd.grad(apart[turn], list(copied.leaves.values()), retain_graph=True)
        scale = max(g.abs().max() for g in theirs)
        assert scale > 0
        for a, b in zip(ours, theirs, strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-6 * scale.item())
    assert calls[:passes] == ["student", None, "fake", "fake"]
    # the student is recomputed only where its first block is adapted: nothing before needs a gradient
    assert set(calls[passes:]) - {"student"} == ({None, "fake"} if checkpointing else set())


def _called(role: AdaptedNetwork):
    """A role called as `Separate` is."""

    def call(x: Tensor, time: Tensor) -> Tensor:
        return role(x, time, Condition())

    call.shape = role.shape  # type: ignore[attr-defined]
    return call


def test_an_adapter_s_parameters_are_all_that_a_role_has() -> None:
    base = SharedBase(attention_unet())
    student, plain = base.role("student", AdapterSettings(rank=2), 0), base.plain()
    layers = {n.rpartition(".lora_")[0] for n in student.state_dict()}
    ends = {n.rpartition("attentions.")[2].partition(".")[2] for n in layers}
    assert ends == {"to_q", "to_k", "to_v", "to_out.0"}
    assert not list(plain.parameters()) and not plain.state_dict()
    assert all(p.requires_grad for p in student.parameters())
    assert [p for p in base.network.parameters() if p.requires_grad] == list(student.parameters())


def test_a_new_adapter_changes_nothing_and_adapters_are_seeded() -> None:
    torch.manual_seed(0)
    network = attention_unet()
    original = copy.deepcopy(network)
    base = SharedBase(network)
    one, two, other = (base.role(name, AdapterSettings(2), seed) for name, seed in (("a", 1), ("b", 1), ("c", 2)))
    x, t = torch.randn(2, 1, 8, 8), torch.tensor([10.0, 500.0])
    torch.testing.assert_close(one(x, t, Condition()), original(x, t, Condition()), rtol=0, atol=1e-5)
    pairs = list(zip(one.parameters(), two.parameters(), other.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b, _ in pairs) and not all(torch.equal(a, c) for a, _, c in pairs)


def test_a_frozen_base_in_bf16_has_adapters_in_fp32() -> None:
    base = SharedBase(attention_unet().to(torch.bfloat16))
    role = base.role("student", AdapterSettings(2), 0)
    assert {p.dtype for p in role.parameters()} == {torch.float32}
    out = role(torch.randn(2, 1, 8, 8, dtype=torch.bfloat16), torch.tensor([1.0, 2.0]), Condition())
    assert out.dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("make", "needed"),
    [
        (lambda: AdapterSettings(rank=0), "rank = 0"),
        (lambda: AdapterSettings(alpha=-1.0), "alpha = -1"),
        (lambda: SharedBase(attention_unet()).role("s", AdapterSettings(targets=("to_x",)), 0), "to_x"),
    ],
)
def test_mistakes_are_named(make, needed: str) -> None:
    with pytest.raises(ConfigError, match=needed):
        make()


def test_the_base_is_the_same_object() -> None:
    unet = attention_unet()
    base = SharedBase(unet)
    roles = [base.role(name, AdapterSettings(2), 0) for name in ("student", "fake")]
    assert all(role.base.network is unet for role in roles)
