"""Draw samples from a teacher in many calls, or from a generator in one, in batches and reproducibly."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from realuid.errors import ConfigError, unknown_name
from realuid.models import Condition, Generator, MatchingModel, model_device
from realuid.sampling.ode import SAMPLERS, as_batch


@torch.no_grad()
def sample_teacher(
    model: MatchingModel, x_T: Tensor, steps: int, condition: Condition | None = None, sampler: str = "euler"
) -> Tensor:
    """Integrate a teacher's ODE from the source to data.

    Args:
        model: the teacher.
        x_T: standard normal noise (or the corrupted images of a bridge), shape (b, *shape).
        steps: number of steps, at least 1.
        condition: labels and / or x_T where the teacher reads them.
        sampler: a name in `SAMPLERS`.

    Returns:
        samples in data units, shape (b, *shape).

    Raises:
        ConfigError: for an unknown sampler or a number of steps below 1.
    """
    if sampler not in SAMPLERS:
        raise ConfigError(unknown_name("sampler", sampler, SAMPLERS))
    if steps < 1:
        raise ConfigError(f"steps = {steps}: at least one step is needed.")
    times = model.path.grid(steps)
    start = model.path.coefficients(times[:1].to(x_T.dtype)).b.to(x_T)
    return SAMPLERS[sampler](lambda x, t: model(x, as_batch(t, x), condition, space="velocity"), start * x_T, times)


@torch.no_grad()
def generate(
    model: MatchingModel | Generator,
    count: int,
    *,
    labels: Tensor | None = None,
    steps: int = 50,
    sampler: str = "euler",
    seed: int = 0,
    batch: int = 500,
) -> Iterator[Tensor]:
    """Batches of unconditional or class-conditional samples, the same for any batch size.

    Args:
        model: a generator (one call) or a teacher (`steps` steps of `sampler`).
        count: how many samples in all.
        labels: class of every sample, shape (count,), for a conditional model.
        steps, sampler: how a teacher is integrated; not read for a generator.
        seed: of the noise; its stream is the samples' own.
        batch: samples at a time.

    Yields:
        samples in data units, shape (<= batch, *shape), on the model's device.
    """
    matching = model.model if isinstance(model, Generator) else model
    if matching.num_classes and labels is None:
        raise ConfigError(f"the model is conditional on {matching.num_classes} classes: pass labels, one per sample.")
    device = model_device(model)
    noise = torch.Generator().manual_seed(seed)
    for first in range(0, count, batch):
        size = min(batch, count - first)
        z = torch.stack([torch.randn(matching.shape, generator=noise) for _ in range(size)]).to(device)
        condition = Condition(labels=labels[first : first + size].to(device)) if matching.num_classes else Condition()
        if isinstance(model, Generator):
            yield model(z, condition)
        else:
            yield sample_teacher(model, z, steps, condition, sampler)


def balanced_labels(count: int, num_classes: int) -> Tensor:
    """Class labels 0, 1, ..., num_classes - 1, 0, 1, ... : every class equally often up to one, shape (count,)."""
    return torch.arange(count) % num_classes
