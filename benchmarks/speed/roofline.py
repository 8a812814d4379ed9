"""How fast the machine multiplies, measured with a network's own shapes, and how many products an update has."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.speed.worker import synchronise
from realuid.models import MatchingModel
from realuid.training import DistillTask


def convolutions(model: MatchingModel) -> dict[tuple[int, int, int, int], int]:
    """Shapes of a model's convolutions, (in, out, kernel, side), and how often each occurs in a forward pass."""
    found: dict[tuple[int, int, int, int], int] = {}

    def note(module: nn.Module, inputs: tuple[torch.Tensor, ...], _: torch.Tensor) -> None:
        assert isinstance(module, nn.Conv2d)
        shape = (module.in_channels, module.out_channels, module.kernel_size[0], inputs[0].shape[-1])
        found[shape] = found.get(shape, 0) + 1

    hooks = [m.register_forward_hook(note) for m in model.modules() if isinstance(m, nn.Conv2d)]
    device = model.device
    with torch.no_grad():
        model(torch.randn(1, *model.shape, device=device), torch.full((1,), 0.5, device=device))
    for hook in hooks:
        hook.remove()
    return found


def clock(device: torch.device) -> float:
    """Seconds: of the processor for a CPU, so that other processes do not count, else of the wall."""
    synchronise()
    return time.process_time() if device.type == "cpu" else time.perf_counter()


def peak_rate(model: MatchingModel, batch: int, dtype: torch.dtype, rounds: int = 3) -> float:
    """FLOP/s of the model's convolution that contributes most products, alone: forward, best of both memory layouts."""
    device, rates = model.device, []
    shape = max(convolutions(model).items(), key=lambda s: s[1] * s[0][0] * s[0][1] * s[0][2] ** 2 * s[0][3] ** 2)[0]
    inlet, outlet, kernel, side = shape
    flops = 2 * batch * inlet * outlet * kernel**2 * side**2
    for layout in (torch.contiguous_format, torch.channels_last):
        conv = nn.Conv2d(inlet, outlet, kernel, padding=kernel // 2).to(device, dtype, memory_format=layout)  # type: ignore[call-overload]
        x = torch.randn(batch, inlet, side, side).to(device, dtype, memory_format=layout)
        times = []
        with torch.no_grad():
            for _ in range(rounds + 1):
                start = clock(device)
                for _ in range(4):
                    conv(x)
                times.append(clock(device) - start)
        rates.append(4 * flops / statistics.median(times[1:]))
    return max(rates)


def flops_of(step: Callable[[], object]) -> int:
    """Products and sums of a step, counted by torch."""
    with FlopCounterMode(display=False) as counter:
        step()
    return counter.get_total_flops()


def flops_of_update(task: DistillTask) -> int:
    """Of one update, all of its fake steps included."""
    return flops_of(lambda: task.update(0))
