"""Samples of a teacher in many calls, or of a student in one or a few: in batches and reproducibly."""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Iterator
from typing import Unpack, cast

import torch
from torch import Tensor

from realuid.errors import ConfigError, unknown_name
from realuid.memory import InParts
from realuid.models import Condition, MatchingModel, guided
from realuid.models.networks.condition import SOURCE
from realuid.paths import Estimate
from realuid.processes import WHOLE, Part
from realuid.sampling.base import Noise, Sampler, as_batch
from realuid.sampling.clipping import USUAL, clipped
from realuid.sampling.dpm_solver import dpm_solver
from realuid.sampling.ode import euler, heun
from realuid.sampling.options import OneStep, Sampling, SamplingOptions
from realuid.sampling.posterior import ancestral, ddim
from realuid.sampling.sde import scaled_sde, sde
from realuid.seeds import stream
from realuid.settings import MOST_BATCH, MOST_SAMPLES, MOST_STEPS, check_whole, from_keywords

#: Number of samples whose noise is drawn at once.
_DRAWN = 64

SAMPLERS = cast(
    dict[str, Sampler],
    {"euler": euler, "heun": heun, "ddim": ddim, "ancestral": ancestral, "sde": sde, "dpm_solver": dpm_solver},
)


def find_sampler(name: str) -> Sampler:
    """The sampler of a name: one of `SAMPLERS`, or 'sde:0.5', the SDE with half of its usual diffusion coefficient.

    Raises:
        ConfigError: for an unknown name, or a diffusion that is not a number of at least 0.
    """
    kind, colon, factor = name.partition(":")
    if kind not in SAMPLERS:
        raise ConfigError(unknown_name("sampler", kind, SAMPLERS))
    if not colon:
        return SAMPLERS[kind]
    if SAMPLERS[kind] is not sde:
        raise ConfigError(f"sampler '{name}': only 'sde' takes a number, the multiple of its diffusion. Use '{kind}'.")
    try:
        multiple = float(factor)
    except ValueError:
        multiple = math.nan
    if not 0 <= multiple < math.inf:
        raise ConfigError(f"sampler '{name}': the multiple of the diffusion must be a number from 0 on, as in sde:0.5.")
    return scaled_sde(multiple)


@torch.no_grad()
def sample_teacher(
    model: MatchingModel,
    x_T: Tensor,
    steps: int,
    condition: Condition | None = None,
    sampler: str | Sampler | None = None,
    noise: Noise = torch.randn_like,
    clip: bool | None = None,
) -> Tensor:
    """Sample a teacher from the source to data.

    Args:
        model: the teacher.
        x_T: standard normal noise (or, on a coupled path, the source images), shape (b, *shape).
        steps: number of steps, at least 1.
        condition: what the teacher reads; on a coupled path x_T need not be repeated in it.
        sampler: a name for `find_sampler`, or a function like them; by default the model's own.
        clip: see `SamplingOptions`.
        noise: function that draws standard normal numbers, for samplers of SDEs and paths that start from images.

    Returns:
        samples in data units, shape (b, *shape).

    Raises:
        ConfigError: for an unknown sampler, a number of steps below 1 or above the path's, or a path that cannot be
            started from x_T.
        PredictionError: if the sampler needs what does not follow from the model's prediction.
    """
    path, sampler = model.path, sampler or model.default_sampler
    if isinstance(sampler, str):
        sampler = find_sampler(sampler)
    steps = check_whole("steps", steps, 1, MOST_STEPS)
    condition = condition or Condition()
    times = path.grid(steps)
    t = as_batch(times[0], x_T)
    if path.coupled:
        _check_start(model)
        condition = condition.replace(source=x_T)
        x = path.start(t, noise(x_T), x_T)
    else:
        x = path.start(t, x_T)
    limits = (model.clipping or USUAL) if clip else model.clipping if clip is None else None

    def field(x: Tensor, t: Tensor) -> Estimate:
        here = model.estimate(x, as_batch(t, x), condition)
        return clipped(here, limits) if limits else here

    return sampler(field, x.to(x_T.dtype), times, noise)


def _check_start(model: MatchingModel) -> None:
    """Raise ConfigError if the network could infer x_0 from the start of a coupled path, where x_0 is left out."""
    k = model.path.coefficients(torch.tensor([model.path.t_max], dtype=torch.float64))
    if model.network.sees_source and k.c < k.a:
        raise ConfigError(
            f"on path '{model.path.name}' noise fades faster than data near the source (c / a is {float(k.c / k.a):.2g}"
            f" at t = {model.path.t_max:g}): a network that sees x_T cannot be sampled from x_T alone. Use a path with "
            "more noise there, or a network that does not see x_T."
        )


def generate(
    model: MatchingModel | OneStep,
    count: int,
    *,
    seed: int = 0,
    batch: int = 500,
    part: Part = WHOLE,
    **options: Unpack[SamplingOptions],
) -> Iterator[Tensor]:
    """Batches of samples, the same for any batch size and number of processes.

    Args:
        model: a student or a teacher.
        count: total number of samples.
        seed: of the noise. Noise during sampling has a separate stream for every sample.
        batch: samples at a time; reduced when memory runs out.
        part: restricts to this process's batches of the same samples, `part.slices(count, batch)`.
        **options: condition, labels, sources, for teachers steps, sampler, guidance, for students calls: see
            `SamplingOptions`.

    Yields:
        samples in data units, shape (<= batch, *image_shape), on the model's device; latents are decoded.

    Raises:
        ConfigError: for a condition that is missing, wrong or superfluous, or a number out of its range, before
            anything is computed.
        OutOfMemoryError: where not even one sample fits into memory.
    """
    for found in _generate(model, count, seed, batch, part, from_keywords(generate, Sampling, options), each=False):
        yield found[-1]


def generate_each_call(
    model: MatchingModel | OneStep,
    count: int,
    *,
    seed: int = 0,
    batch: int = 500,
    part: Part = WHOLE,
    **options: Unpack[SamplingOptions],
) -> Iterator[list[Tensor]]:
    """Batches of the samples of a student after 1, 2, ..., `calls` calls, from one rollout; of a teacher one kind.

    Arguments and errors as of `generate`. The last of a list are the samples of `generate`, the others those with fewer
    calls.
    """
    return _generate(model, count, seed, batch, part, from_keywords(generate_each_call, Sampling, options), each=True)


@torch.no_grad()
def _generate(
    model: MatchingModel | OneStep, count: int, seed: int, batch: int, part: Part, asked: Sampling, each: bool
) -> Iterator[list[Tensor]]:
    model = guided(model, asked.guidance) if isinstance(model, MatchingModel) else model.first_calls(asked.calls)
    count, batch = check_whole("count", count, 1, MOST_SAMPLES), check_whole("batch", batch, 1, MOST_BATCH)
    seed = check_whole("seed", seed, 0, 2**64 - 1)
    given = asked.condition_of(model, count)
    z, first = torch.empty(0), 0

    def make(samples: range) -> list[Tensor]:
        here = given.select(slice(samples.start, samples.stop)).to(model.device)
        own = z[samples.start - first : samples.stop - first].to(model.device)
        return _make(model, own, here, _noise_of(seed, samples), asked, each)

    noise, drawn, in_parts = _normals(model.shape, seed), 0, InParts(make, "samples")
    for mine in part.slices(count, batch):
        deque(itertools.islice(noise, mine.start - drawn), maxlen=0)  # those of other processes
        first, drawn = mine.start, mine.stop
        z = torch.stack(list(itertools.islice(noise, mine.stop - mine.start)))
        yield in_parts(range(mine.start, mine.stop))


def _make(
    model: MatchingModel | OneStep, z: Tensor, here: Condition, on_the_way: Noise, asked: Sampling, each: bool
) -> list[Tensor]:
    """One batch of `_generate`."""
    if isinstance(model, MatchingModel):
        x_T = here[SOURCE] if model.coupled else z
        found = [sample_teacher(model, x_T, asked.steps, here, asked.sampler, on_the_way, asked.clip)]
    else:
        drawn = [on_the_way(z) for _ in range(model.calls - 1)]
        eps = torch.stack(drawn, dim=1) if drawn else None
        found = model.predictions(z, here, eps) if each else [model(z, here, eps)]
    return [model.codec.decode(x) for x in found] if model.codec else found


def _normals(shape: tuple[int, ...], seed: int) -> Iterator[Tensor]:
    """Standard normal numbers, sample by sample; drawn in blocks of fixed size, whatever the batch size."""
    random = torch.Generator().manual_seed(seed)
    while True:
        yield from torch.randn(_DRAWN, *shape, generator=random)


def _noise_of(seed: int, samples: range) -> Noise:
    """Noise for some of the samples of a run, each from its own stream."""
    streams: list[torch.Generator] = []

    def noise(x: Tensor) -> Tensor:
        if not streams:
            streams.extend(stream(seed, "sampler", i) for i in samples)
        return torch.stack([torch.randn(x.shape[1:], generator=own) for own in streams]).to(x)

    return noise
