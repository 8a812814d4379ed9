"""A frozen base in four bits: predictions near those of the weights, exact gradients of adapters, merged copies."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from realuid.compat import allocated_memory, sizes_only
from realuid.errors import ConfigError
from realuid.models.networks import quantised
from realuid.models.networks.adapters import AdapterSettings, SharedBase
from realuid.models.networks.base import Network
from realuid.models.networks.condition import Condition
from realuid.models.networks.quantised import set_precision


class Wide(Network):
    """Two layers that are quantised, and a narrow one that is not."""

    shape = (64,)

    def __init__(self) -> None:
        super().__init__({})
        self.to_q, self.to_v, self.last = nn.Linear(64, 128), nn.Linear(128, 64), nn.Linear(64, 3)

    def forward(self, x: torch.Tensor, time: torch.Tensor, condition: Condition) -> torch.Tensor:
        return self.last(self.to_v(torch.tanh(self.to_q(x)))).repeat(1, 22)[:, :64]


def test_bf16_is_half_and_the_teacher_s_own_precision_is_kept() -> None:
    network = Wide()
    set_precision(network, "teacher")
    assert {p.dtype for p in network.parameters()} == {torch.float32}
    base = SharedBase(network, "bf16")
    role = base.role("student", AdapterSettings(2), 0)
    assert {p.dtype for p in network.parameters() if not p.requires_grad} == {torch.bfloat16}
    assert {p.dtype for p in role.parameters()} == {torch.float32}


def test_a_missing_library_is_named(monkeypatch) -> None:
    monkeypatch.setattr(quantised.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"lora_base = nf4 needs the extra: pip install 'realuid\[bits\]'"):
        SharedBase(Wide(), "nf4")


def test_adapters_on_four_bits() -> None:
    pytest.importorskip("bitsandbytes")
    torch.manual_seed(0)
    network = Wide()
    x, t = torch.randn(8, 64).bfloat16(), torch.ones(8)
    exact = network(x.float(), t, Condition())
    base = SharedBase(network, "nf4")
    role = base.role("student", AdapterSettings(4), 0)
    rounded = role(x, t, Condition())
    assert 0 < (rounded - exact).norm() / exact.norm() < 0.2
    with torch.no_grad():
        for parameter in role.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    merged = copy.deepcopy(role)
    assert type(merged.to_q) is nn.Linear and merged.to_q.weight.dtype == torch.bfloat16
    whole = merged.float()  # an ordinary network of the dequantised weights and the adapter
    weight = whole.to_q.weight.detach().requires_grad_()
    ours = role(x, t, Condition())
    torch.testing.assert_close(ours.float(), whole(x.float(), t, Condition()), rtol=0.05, atol=0.05)
    ours.float().square().sum().backward()
    y = torch.func.functional_call(whole, {"to_q.weight": weight}, (x.float(), t, Condition()))
    y.square().sum().backward()
    a, b = (next(p for n, p in role.named_parameters() if n.startswith(f"to_q.lora_{k}")) for k in "AB")
    expected = b.detach().T @ weight.grad  # of y = (W + B A) x
    assert (a.grad - expected).norm() / expected.norm() < 0.05


def test_without_memory_four_bits_take_an_eighth() -> None:
    with sizes_only(), allocated_memory() as memory:
        network = Wide()
        set_precision(network, "nf4")
        x = torch.randn(8, 64, dtype=torch.bfloat16, requires_grad=True)
        network(x, torch.ones(8), Condition()).sum().backward()
        held = sum(t.numel() * t.element_size() for t in (*network.parameters(), *network.buffers()))
    packed = 2 * 64 * 128 // 2 + 2 * 64 * 128 // 64
    assert held == packed + 2 * (128 + 64) + 2 * (64 * 3 + 3)
    assert x.grad is not None and memory.peak > held
