"""RealUID's games in Gaussian worlds: one time, everything known, as quadratures that gradients flow through."""

from __future__ import annotations

import numpy as np
import torch
from oracles import FAMILIES, Side, lemma_2, world

from realuid.objectives import Objective
from realuid.paths import STACKED, make_path, target

REAL, GENERATED = {"shift": 0.0, "stretch": 1.0}, {"shift": 0.25, "stretch": 0.8}


class Game:
    """One time of a path, real data, and a generator x_0 = m + shift + stretch mix z (+ link x_T)."""

    def __init__(self, name: str, space: str, sees_source: bool, t: float, objective: Objective):
        self.family, self.space, self.t, self.objective = FAMILIES[name], space, t, objective
        self.alpha, self.beta = objective.alpha, objective.beta
        self.gamma, self.scale = getattr(objective, "gamma", self.alpha), getattr(objective, "delta_scale", 1.0)
        self.path = make_path(self.family.path, **self.family.settings)
        self.parts = STACKED.get(space, (space,))
        self.sources = (-1.1, 0.4, 0.9) if sees_source else (None,)  # x_T takes three values, or is integrated over
        self.real = world(self.family.coupled, **REAL)

    def side(self, x_T: float | None, shift: float, stretch: float) -> Side:
        return Side.of(self.family, self.t, world(self.family.coupled, 1, shift, stretch), self.parts, x_T)

    def distance(self, shift: float, stretch: float) -> float:
        """Lemma 2, in expectation over x_T where it is seen (Def. 5)."""
        sides = [(self.side(x_T, **REAL), self.side(x_T, shift, stretch)) for x_T in self.sources]
        return sum(lemma_2(real, generated, self.alpha, self.beta, self.gamma) for real, generated in sides) / len(
            sides
        )

    def points(self, x_T: float | None, shift, stretch):
        """A quadrature of the draws of x_t: (x_t, target, weights), through the library's own path and targets."""
        axis = torch.linspace(-8, 8, 49, dtype=torch.float64)  # exact to rounding for smooth functions of Gaussians
        axes = [axis, axis, axis] if x_T is None and self.path.has_eps else [axis, axis]
        z, *rest = (v.reshape(-1, 1) for v in torch.meshgrid(*axes, indexing="ij"))
        weights = torch.exp(-(z**2 + sum(v**2 for v in rest)) / 2)[:, 0]
        if x_T is not None:
            source, eps = torch.full_like(z, x_T), rest[0]
        else:
            source, eps = rest[0], rest[1] if len(rest) > 1 else None
            source = float(self.real.cov[1, 1]) ** 0.5 * source + float(self.real.mean[1])
        link = float(self.real.cov[0, 1] / self.real.cov[1, 1])
        spread = float(self.real.cov[0, 0] - link * self.real.cov[0, 1]) ** 0.5
        mean = float(self.real.mean[0] - link * self.real.mean[1])
        x_0 = mean + shift + spread * stretch * z + link * source
        x_t, k = self.path.sample(x_0, source, torch.full((len(z),), self.t, dtype=torch.float64), eps)
        return x_t, target(self.space, self.path, k, x_0, source, eps), weights / weights.sum()

    def networks(self, x_T: float | None, shift: float, stretch: float):
        """Teacher f* and optimal fake model f, as functions of x_t that gradients flow through."""
        real, generated = self.side(x_T, **REAL), self.side(x_T, shift, stretch)

        def line(side):
            gain, offset = torch.from_numpy(side.gain), torch.from_numpy(side.offset)
            return lambda x: x * gain + offset

        def log_density(side, x):
            return -((x - side.mean) ** 2) / (2 * side.var) - np.log(side.var) / 2

        f_star, f_g = line(real), line(generated)

        def fake(x):
            odds = log_density(real, x) - log_density(generated, x)
            p, q = torch.sigmoid(odds), torch.sigmoid(-odds)
            pull = self.beta * (p * f_star(x) - q * f_g(x)) + self.alpha * (q - p) * f_star(x)
            return f_star(x) - pull / ((1 - self.gamma) * p + self.gamma * q) / self.scale

        return f_star, fake

    def value(self, shift: float, stretch: float) -> float:
        """The loss at f = f* minus the loss at the optimal fake model: for RealUID, RealUM(f*) - RealUM(f)."""
        total = 0.0
        for x_T in self.sources:
            f_star, fake = self.networks(x_T, shift, stretch)
            x_t, y, w = self.points(x_T, shift, stretch)
            on, teacher = self.objective.fake_on_generated, f_star(x_t)
            total += float((w * (on(teacher, y, teacher) - on(fake(x_t), y, teacher))).sum())
            if self.objective.uses_real_data:
                x_t, y, w = self.points(x_T, **REAL)
                on, teacher = self.objective.fake_on_real, f_star(x_t)
                total += float((w * (on(teacher, y, teacher) - on(fake(x_t), y, teacher))).sum())
        return total / len(self.sources)

    def generator_gradient(self, shift: float, stretch: float) -> np.ndarray:
        """Gradient of the generator's loss in (shift, stretch), with the optimal fake model frozen."""
        total = np.zeros(2)
        for x_T in self.sources:
            f_star, fake = self.networks(x_T, shift, stretch)
            knobs = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (shift, stretch)]
            x_t, y, w = self.points(x_T, *knobs)
            loss = (w * self.objective.generator(f_star(x_t), fake(x_t), y, x_t)).sum()
            total += [float(g) for g in torch.autograd.grad(loss, knobs)]
        return total / len(self.sources)
