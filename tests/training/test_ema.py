from __future__ import annotations

import pytest
import torch
from torch import nn

from realuid.training import EMA


def test_every_decay_follows_its_recursion() -> None:
    module = nn.Linear(1, 1, bias=False)
    nn.init.constant_(module.weight, 1.0)
    ema = EMA(module, (0.9, 0.5))
    expected = {0.9: 1.0, 0.5: 1.0}
    for n, value in enumerate((2.0, -1.0, 4.0, 0.5), start=1):
        nn.init.constant_(module.weight, value)
        ema.update()
        for decay in expected:
            now = min(decay, (1 + n) / (5 + n))
            expected[decay] = now * expected[decay] + (1 - now) * value
    for decay, value in expected.items():
        with ema.applied(decay) as averaged:
            assert averaged.weight.item() == pytest.approx(value, rel=1e-6)
        assert module.weight.item() == 0.5


def test_short_runs_average_by_powers_of_the_update() -> None:
    """Weights (k / n)^3 have their centre at 4/5 of the run and the width sqrt(4 / (5^2 * 6)) = 0.16 of it."""
    updates = 20_000
    first, second = nn.Linear(1, 1, bias=False).double(), nn.Linear(1, 1, bias=False).double()
    averages = [EMA(module, (0.9999999,)) for module in (first, second)]
    for n in range(1, updates + 1):
        for module, ema, power in zip((first, second), averages, (1, 2), strict=True):
            nn.init.constant_(module.weight, (n / updates) ** power)
            ema.update()
    mean, square = (ema.averages[0.9999999][0].item() for ema in averages)
    assert mean == pytest.approx(0.8, abs=1e-3)
    assert (square - mean**2) ** 0.5 == pytest.approx((4 / 150) ** 0.5, abs=1e-3)


def test_weights_return_even_after_an_error() -> None:
    module = nn.Linear(2, 2).train()
    ema, before = EMA(module, (0.9,)), module.weight.detach().clone()
    nn.init.zeros_(module.weight)
    with pytest.raises(RuntimeError), ema.applied(0.9):
        assert torch.equal(module.weight, before) and not module.training
        raise RuntimeError
    assert module.weight.abs().max() == 0 and module.training


def test_state_comes_back_bit_identical() -> None:
    module = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    ema = EMA(module, (0.9, 0.99))
    for _ in range(3):
        with torch.no_grad():
            for p in module.parameters():
                p.add_(torch.randn_like(p))
        ema.update()
    other = EMA(nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)), (0.9, 0.99))
    other.load_state_dict({k: v.clone() for k, v in ema.state_dict().items()})
    assert other.updates == 3
    for decay in ema.decays:
        assert all(torch.equal(a, b) for a, b in zip(ema.averages[decay], other.averages[decay], strict=True))
