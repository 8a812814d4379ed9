"""The losses of every objective as their papers define them, in numpy, as integrals over x with E[y | x] known."""

from __future__ import annotations

import numpy as np
import torch
from games import GENERATED, REAL, Game, weights_of
from players import grid

from realuid.objectives import DMD, NormalisedRealUID, RealUID


def dot(u, v):
    return (u * v).sum(axis=1)


def fake_definition(o, f, f_star, y, alpha, beta, gamma):
    """The f-dependent part of the loss that the fake model minimises, with the weights of one stratum."""
    if isinstance(o, RealUID | DMD):
        return alpha * dot(f, f) - 2 * beta * dot(f, y)  # Def. 2 without its constant
    delta = getattr(o, "delta_scale", 1.0) * (f_star - f)
    if isinstance(o, NormalisedRealUID):
        return -dot(delta, alpha * f_star - beta * y) / np.sqrt(dot(delta, delta))  # Def. 4
    return gamma * dot(delta, delta) - 2 * alpha * dot(delta, f_star) + 2 * beta * dot(delta, y)  # Def. 3


def generator_definition(o, f, f_star, y):
    delta = getattr(o, "delta_scale", 1.0) * (f_star - f)
    if isinstance(o, NormalisedRealUID):
        return dot(delta, o.alpha * f_star - o.beta * y) / np.sqrt(dot(delta, delta))
    (a, b), gamma = weights_of(o).on_generated, weights_of(o).gamma
    return -2 * o.alpha_sid * gamma * dot(delta, delta) + 2 * a * dot(delta, f_star) - 2 * b * dot(delta, y)


class Match:
    """A game with the affine fake model f(x) = gain x + offset, away from the teacher."""

    def __init__(self, world, objective):
        self.game, self.o = Game(*world, objective), objective
        self.teacher = self.game.side(self.game.sources[0], **REAL)
        self.gain, self.offset = 0.9 * self.teacher.gain + 0.05, self.teacher.offset + 5.0
        self.x_T = self.game.sources[0]

    def expected(self, knobs, generated: dict, loss) -> float:
        """E of a loss(f, f*, E[y | x]) over x on one side."""
        gain, offset = knobs
        side = self.game.side(self.x_T, **generated)
        x, volume = grid(side)
        values = loss(x @ gain.T + offset, self.teacher.f(x), side.f(x))
        return float((side.density(x) * values).sum() * volume)

    def fake(self, gain, offset) -> float:
        o, knobs, weights = self.o, (gain, offset), weights_of(self.o)
        gamma = weights.gamma
        on_g = self.expected(knobs, GENERATED, lambda *a: fake_definition(o, *a, *weights.on_generated, gamma))
        on_r = self.expected(knobs, REAL, lambda *a: fake_definition(o, *a, *weights.on_real, 1 - gamma))
        return on_g + on_r

    def library_fake(self, gain, offset) -> torch.Tensor:
        """The library's losses over a quadrature of the draws, without the constant that f = 0 leaves in RealUM."""
        total = torch.zeros((), dtype=torch.float64)
        for knobs, on in ((GENERATED, self.o.fake_on_generated), (REAL, self.o.fake_on_real)):
            x_t, y, w = self.game.points(self.x_T, **knobs)
            f_star = x_t @ torch.from_numpy(self.teacher.gain).T + torch.from_numpy(self.teacher.offset)
            values = on(x_t @ gain.T + offset, y, f_star)
            if isinstance(self.o, RealUID | DMD):
                values = values - on(torch.zeros_like(f_star), y, f_star)
            total = total + (w * values).sum()
        return total
