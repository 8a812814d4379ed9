"""Three roles on one base give what three separate networks give. Oracle: weights W + (alpha / rank) B A, no PEFT."""

from __future__ import annotations

import copy

import pytest
import students
import torch
from text_networks import TEXT_NETWORKS, Flux
from torch import Tensor
from torch.func import functional_call

from realuid.errors import ConfigError
from realuid.models.networks.adapters import PROJECTIONS, AdaptedNetwork, AdapterSettings, SharedBase
from realuid.models.networks.base import Network, UNet
from realuid.models.networks.condition import Condition
from realuid.models.networks.specs import example


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


NETWORKS = [attention_unet, convolutional_unet, *TEXT_NETWORKS]


def role_of(base: SharedBase, name: str, seed: int, settings: AdapterSettings) -> AdaptedNetwork:
    """A role whose adapter changes something."""
    role = base.role(name, settings, seed)
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in role.parameters():
            parameter.copy_(0.2 * torch.randn(parameter.shape, generator=random))
    return role


class Separate:
    """A copy of the network whose weights are W + scale B A, or DoRA's m (W + scale B A) / |W + scale B A|."""

    def __init__(self, network: Network, role: AdaptedNetwork | None = None, scale: float = 1.0):
        self.network, self.scale = copy.deepcopy(network).requires_grad_(False), scale
        self.shape, self.conditions = network.shape, network.conditions
        self.leaves = (
            {} if role is None else {n: p.detach().clone().requires_grad_() for n, p in role.named_parameters()}
        )

    def __call__(self, x: Tensor, time: Tensor, condition: Condition) -> Tensor:
        weights = dict(self.network.named_parameters())
        for name, a in self.leaves.items():
            if name.endswith(".lora_A.weight"):
                layer, b = name.removesuffix(".lora_A.weight"), self.leaves[name.replace("lora_A", "lora_B")]
                product = torch.einsum("or,r...->o...", b.flatten(1), a)  # of convolutions, B is 1x1
                changed = weights[f"{layer}.weight"] + self.scale * product
                if (size := self.leaves.get(f"{layer}.lora_magnitude_vector.weight")) is not None:
                    changed = (size / changed.norm(dim=1).detach())[:, None] * changed  # sec. 4.3: no gradient there
                weights[f"{layer}.weight"] = changed
        return functional_call(self.network, weights, (x, time, condition))


def losses(student, teacher, fake) -> tuple[Tensor, Tensor]:
    """Of both players' turns: through teacher and fake model into x_t, and the fake model's own."""
    random = torch.Generator().manual_seed(5)
    shape = (3, *teacher.shape)
    z, eps = (torch.randn(shape, generator=random, dtype=torch.float64) for _ in range(2))
    given = example(teacher.conditions, 3, random).to(dtype=torch.float64)
    t = torch.tensor([0.3, 0.6, 0.9], dtype=torch.float64)
    x_0 = student(z, 700 * torch.ones(3, dtype=torch.float64), given)
    mix = t.view(-1, 1, 1, 1)
    x_t = (1 - mix) * x_0 + mix * eps
    f_star, f = teacher(x_t, 1000 * t, given), fake(x_t, 1000 * t, given)
    generator = ((f_star - f) * (f_star + f - 2 * (eps - x_0))).sum()
    fixed = x_t.detach()
    return generator, (fake(fixed, 1000 * t, given) - (eps - x_0.detach())).square().sum()


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("make", NETWORKS)
def test_three_roles_on_one_base_are_three_separate_networks(make, checkpointing: bool) -> None:
    agree(make(), AdapterSettings(rank=3, alpha=6.0), checkpointing)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_three_weight_decomposed_adapters_are_three_separate_networks(checkpointing: bool) -> None:
    agree(Flux(), AdapterSettings(rank=3, alpha=6.0, dora=True), checkpointing)


def test_a_network_of_edm_has_adapters_on_its_linear_layers() -> None:
    """Its convolutions also resample, and PEFT cannot make another one of their class."""
    network = students.edm(classes=3).model.network
    layers = AdapterSettings().layers(network)
    assert len(layers) > 5 and all(type(network.get_submodule(name)) is torch.nn.Linear for name in layers)
    agree(network, AdapterSettings(rank=3, alpha=6.0), False)
    with pytest.raises(ConfigError, match="lora_targets = conv0: no linear layer or convolution"):
        AdapterSettings(targets=("conv0",)).layers(network)


def agree(network: Network, settings: AdapterSettings, checkpointing: bool) -> None:
    """Check losses and gradients of both turns against those of separate networks, and which adapters were on."""
    torch.manual_seed(0)
    network = network.double()
    for parameter in network.parameters():  # of those that begin with zeros, too
        parameter.data += 0.05 * torch.randn_like(parameter)
    original = copy.deepcopy(network)
    base = SharedBase(network)
    student, fake = role_of(base, "student", 1, settings), role_of(base, "fake", 2, settings)
    if checkpointing:
        student.recompute_activations()
    calls = []
    blocks = network.unet.down_blocks[0].resnets if isinstance(network, UNet) else network.units()
    first = network.first if hasattr(network, "first") else blocks[0]
    first.register_forward_pre_hook(lambda *_: calls.append(base._active))
    roles = [student, base.plain(), fake]
    separate = [Separate(original, student, 2.0), Separate(original), Separate(original, fake, 2.0)]
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


def test_an_adapter_s_parameters_are_all_that_a_role_has() -> None:
    base = SharedBase(attention_unet())
    student, plain = base.role("student", AdapterSettings(rank=2), 0), base.plain()
    layers = {n.rpartition(".lora_")[0] for n in student.state_dict()}
    ends = {n.rpartition("attentions.")[2].partition(".")[2] for n in layers}
    assert ends == {"to_q", "to_k", "to_v", "to_out.0"}
    assert not list(plain.parameters()) and not plain.state_dict()
    assert all(p.requires_grad for p in student.parameters())
    assert [p for p in base.network.parameters() if p.requires_grad] == list(student.parameters())


def test_layers_are_chosen_by_the_user_then_by_the_architecture() -> None:
    network = Flux()
    network.lora_targets = ("single_transformer_blocks.*.proj_out", "ff.net.2")
    singles = [f"transformer.single_transformer_blocks.{i}.proj_out" for i in range(2)]
    assert AdapterSettings().layers(network) == ["transformer.transformer_blocks.0.ff.net.2", *singles]
    assert AdapterSettings(targets=("transformer.proj_out",)).layers(network) == ["transformer.proj_out"]
    network.lora_targets = ()
    ends = {name.rpartition("blocks.0.")[2] for name in AdapterSettings().layers(network) if "single" not in name}
    assert ends == {f"attn.{name}" for name in PROJECTIONS[:8]} | set(PROJECTIONS[8:])


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
