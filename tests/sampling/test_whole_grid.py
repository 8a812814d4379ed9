"""Every sampler over the path's own grid, from the source to data, with perfect teachers: the data's mean and spread.

A sampler of a linear field is linear in its start, in x_T and in every noise it draws. So one batch of unit impulses
gives the moments of its samples exactly, without a draw.
"""

from __future__ import annotations

import functools

import pytest
import torch
from exact import exact_teacher
from oracles import FAMILIES, SOURCE, world

from realuid.models import Condition
from realuid.sampling import SAMPLERS, as_batch

SOURCE_AT = 0.8

#: Not of other betas, whose path does not end in pure noise.
NAMES = [name for name in FAMILIES if name != "vp, other betas"]


def cases():
    for name in NAMES:
        family = FAMILIES[name]
        for sampler in SAMPLERS:
            if not family.coupled:
                yield sampler, name, "data_prediction", False
                continue
            if sampler != "dpm_solver" and not name.endswith("sin2 coupled"):  # there noise fades before data does
                yield sampler, name, "data_prediction", True
            if sampler in ("euler", "heun", "sde"):
                yield sampler, name, "velocity_and_noise", False
            if sampler == "ancestral" and family.markov:
                yield sampler, name, "data_prediction", False


def truth(name: str, sees_source: bool) -> tuple[float, float]:
    """Mean and standard deviation of the data, given x_T where it is seen."""
    w, data = world(FAMILIES[name].coupled), (1.0, 0.0, 0.0)
    if not sees_source:
        mean, cov = w.moments(data)
        return float(mean[0]), float(cov[0, 0]) ** 0.5
    gain, offset = w.regress(data, SOURCE)
    return float((gain @ [SOURCE_AT] + offset)[0]), float(w.given(data, SOURCE)[0, 0]) ** 0.5


@functools.cache
def errors(sampler: str, name: str, prediction: str, sees_source: bool, steps: int) -> tuple[float, float]:
    """Of the mean, in standard deviations, and of the standard deviation, as a share of it.

    Row 0 of the batch is all zeros, row 1 has a unit start, row 2 a unit x_T and row 3 + i a unit i-th noise.
    """
    w = world(FAMILIES[name].coupled)
    model = exact_teacher(name, w, prediction, sees_source)
    z, source = torch.zeros(2, steps + 3, 1, dtype=torch.float64)
    z[1], source[2] = 1, 1
    drawn = []

    def impulse(x):
        xi = torch.zeros_like(x)
        xi[3 + len(drawn)] = 1
        drawn.append(xi)
        return xi

    times = model.path.grid(steps)
    x = model.path.start(as_batch(times[0], z), z, source)
    out = SAMPLERS[sampler](lambda x, t: model.estimate(x, as_batch(t, x), Condition(source=source)), x, times, impulse)
    of_start, of_source, *of_noise = (out[1:] - out[0])[:, 0].tolist()
    source_mean, source_var = (SOURCE_AT, 0.0) if sees_source else (float(w.mean[1]), float(w.cov[1, 1]))
    mean = float(out[0]) + of_source * source_mean
    std = (of_start**2 + sum(v**2 for v in of_noise) + of_source**2 * source_var) ** 0.5
    true_mean, true_std = truth(name, sees_source)
    return abs(mean - true_mean) / true_std, abs(std / true_std - 1)


def describe(value) -> str | None:
    return {True: "sees x_T", False: ""}.get(value) if isinstance(value, bool) else None


@pytest.mark.parametrize(("sampler", "name", "prediction", "sees_source"), cases(), ids=describe)
def test_samples_have_the_datas_moments(sampler, name, prediction, sees_source):
    """Within the samplers' bias at 40 and 80 steps, which falls as declared until a(t_max) x_0, left out, remains."""
    order = SAMPLERS[sampler].order
    (mean, std), (fine_mean, fine_std) = (errors(sampler, name, prediction, sees_source, n) for n in (40, 80))
    assert mean < (0.15 if order == 1 else 0.06) and std < (0.14 if order == 1 else 0.03)
    assert fine_mean < mean / 2**order * 1.4 + 0.03
    assert fine_std < std / 2**order * 1.4 + 0.002
