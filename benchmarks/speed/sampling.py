"""One-step sampling against the bare network, against its teacher, and against diffusers' DDIM of the same weights."""

from __future__ import annotations

import statistics
from collections.abc import Callable

import torch
from diffusers import DDIMPipeline, DDIMScheduler, UNet2DModel

from benchmarks.speed.roofline import clock
from realuid.models import Generator, MatchingModel, UNet
from realuid.sampling import generate

#: Of the teacher and of DDIM.
STEPS = 50


def diffusers_ddim(teacher: MatchingModel) -> DDIMPipeline:
    """diffusers' own pipeline around its own network, with the teacher's weights.

    They were not trained for its schedule, so the images are none; what they cost does not depend on that.
    """
    network = teacher.network
    assert isinstance(network, UNet), "a network of diffusers"
    unet = UNet2DModel.from_config(network.unet.config)
    unet.load_state_dict(network.unet.state_dict())
    pipeline = DDIMPipeline(unet, DDIMScheduler()).to(teacher.device)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@torch.no_grad()
def sampling_rates(
    teacher: MatchingModel, count: int, allows: Callable[[float], bool], rounds: int = 3
) -> dict[str, float | None]:
    """Images per second of a batch of `count`, by name; None for what `allows` no time.

    All take turns. The first round is a warm-up; of many calls there is one more, an average in itself.
    """
    student, ddim, device = Generator(teacher, t_init=1.0), diffusers_ddim(teacher), teacher.device
    z, t = torch.randn(count, *teacher.shape, device=device), torch.full((count,), 1.0, device=device)
    runs: dict[str, tuple[int, Callable[[], object]]] = {
        "one step": (1, lambda: list(generate(student, count, batch=count))),
        "bare network": (1, lambda: teacher(z, t)),
        f"teacher, {STEPS} Euler steps": (
            STEPS,
            lambda: list(generate(teacher, count, steps=STEPS, sampler="euler", batch=count)),
        ),
        f"diffusers' DDIM, {STEPS} steps": (
            STEPS,
            lambda: ddim(batch_size=count, num_inference_steps=STEPS, output_type="np"),
        ),
    }
    times: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds + 1):
        for name, (calls, run) in runs.items():
            guess = calls * max(times["bare network"][-1:], default=0.0)
            if (calls > 1 and number > 1) or not allows(guess):
                continue
            start = clock(device)
            run()
            times[name].append(clock(device) - start)
    return {name: count / statistics.median(taken[1:] or taken) if taken else None for name, taken in times.items()}
