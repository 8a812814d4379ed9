"""RealUID's games in Gaussian worlds: one time, everything known, as quadratures that gradients flow through."""

from __future__ import annotations

import numpy as np
import torch
from oracles import FAMILIES, world
from players import Side, Weights, general_weights, lemma_2, mixture_weights

from realuid.objectives import MixtureUID, Objective
from realuid.paths import STACKED, make_path, target

REAL, GENERATED = {"shift": 0.0, "stretch": 1.0}, {"shift": 0.25, "stretch": 0.8}
#: A teacher that is wrong: it learnt other data.
WRONG = {"shift": 0.4, "stretch": 1.1}


def weights_of(objective: Objective) -> Weights:
    """The coefficients that an objective's definition gives its terms."""
    if isinstance(objective, MixtureUID):
        return mixture_weights(objective.data_weight, objective.gamma)
    alpha, beta = objective.alpha, objective.beta
    return general_weights(alpha, beta, getattr(objective, "gamma", alpha))


class Game:
    """One time of a path, real data, and a generator x_0 = m + shift + stretch mix z (+ link x_T), in d dimensions.

    The teacher is the perfect network of the data, or of `taught` in its place.
    """

    def __init__(
        self,
        name: str,
        space: str,
        sees_source: bool,
        t: float,
        objective: Objective,
        d: int = 1,
        taught: dict[str, float] = REAL,
    ):
        self.taught = taught
        self.family, self.space, self.t, self.objective, self.d = FAMILIES[name], space, t, objective, d
        self.weights, self.scale = weights_of(objective), getattr(objective, "delta_scale", 1.0)
        self.path = make_path(self.family.path, **self.family.settings)
        self.parts = STACKED.get(space, (space,))
        values = ((-1.1, 0.3), (0.4, -0.8), (0.9, 0.5))  # that x_T takes; or it is integrated over
        self.sources = tuple(value[:d] for value in values) if sees_source else (None,)
        self.real = world(self.family.coupled, d, **REAL)

    def side(self, x_T: tuple[float, ...] | None, shift: float, stretch: float) -> Side:
        return Side.of(self.family, self.t, world(self.family.coupled, self.d, shift, stretch), self.parts, x_T)

    def distance(self, shift: float, stretch: float) -> float:
        """Lemma 2, in expectation over x_T where it is seen (Def. 5)."""
        knobs = ((*REAL.values(),), (shift, stretch), (*self.taught.values(),))
        sides = [[self.side(x_T, *each) for each in knobs] for x_T in self.sources]
        return sum(lemma_2(*each, self.weights) for each in sides) / len(sides)

    def points(self, x_T: tuple[float, ...] | None, shift, stretch):
        """A quadrature of the draws of x_t: (x_t, target, weights), through the library's own path and targets.

        Losses are any function of x_t and at most quadratic in the rest of the noise, which enters by the target: so
        the noise is turned until its first d numbers make x_t, on a fine grid, and the others take Gauss's nodes.
        """
        d, (a, b, c) = self.d, self.family.abc(self.t)
        mean, cov = self.real.mean, self.real.cov.reshape(3, d, 3, d)
        link = cov[0, :, 1] @ np.linalg.inv(cov[1, :, 1])
        spread = np.linalg.cholesky(cov[0, :, 0] - link @ cov[1, :, 0])
        blocks = [a * float(torch.as_tensor(stretch).detach()) * spread]
        if x_T is None:
            source_spread = np.linalg.cholesky(cov[1, :, 1])
            blocks.append((a * link + b * np.eye(d)) @ source_spread)
        if self.path.has_eps:
            blocks.append(c * np.eye(d))
        turn = np.linalg.svd(np.concatenate(blocks, axis=1))[2]  # its first d rows are those that x_t depends on
        fine = np.linspace(-8, 8, {1: 241, 2: 49}[d])
        coarse, coarse_weights = np.polynomial.hermite_e.hermegauss(3)
        rest = len(turn) - d
        u = np.stack([v.ravel() for v in np.meshgrid(*[fine] * d, *[coarse] * rest, indexing="ij")], axis=1) @ turn
        factors = np.meshgrid(*[np.exp(-(fine**2) / 2)] * d, *[coarse_weights] * rest, indexing="ij")
        weights = torch.from_numpy(np.prod(factors, axis=0).ravel())

        z, *others = torch.from_numpy(u).split(d, dim=1)
        if x_T is None:
            source = others[0] @ torch.from_numpy(source_spread.T) + torch.from_numpy(mean[d : 2 * d])
        else:
            source = torch.tensor(x_T, dtype=torch.float64).expand_as(z)
        at_zero = torch.from_numpy(mean[:d] - link @ mean[d : 2 * d])
        x_0 = at_zero + shift + stretch * z @ torch.from_numpy(spread.T) + source @ torch.from_numpy(link.T)
        eps = others[-1] if self.path.has_eps else None
        x_t, k = self.path.sample(x_0, source, torch.full((len(z),), self.t, dtype=torch.float64), eps)
        return x_t, target(self.space, self.path, k, x_0, source, eps), weights / weights.sum()

    def networks(self, x_T: tuple[float, ...] | None, shift: float, stretch: float):
        """Teacher f~ and optimal fake model f, as functions of x_t that gradients flow through."""
        real, generated = self.side(x_T, **REAL), self.side(x_T, shift, stretch)

        def line(side):
            gain, offset = torch.from_numpy(side.gain), torch.from_numpy(side.offset)
            return lambda x: x @ gain.T + offset

        def log_density(side, x):
            away, precision = x - torch.from_numpy(side.mean), torch.from_numpy(np.linalg.inv(side.cov))
            return -((away @ precision) * away).sum(1, keepdim=True) / 2 - np.linalg.slogdet(side.cov)[1] / 2

        f_star, f_g, f_teacher = line(real), line(generated), line(self.side(x_T, **self.taught))
        (a, b), (a_real, b_real), gamma = self.weights.on_generated, self.weights.on_real, self.weights.gamma

        def fake(x):
            odds = log_density(real, x) - log_density(generated, x)
            p, q = torch.sigmoid(odds), torch.sigmoid(-odds)
            pull = q * (a * f_teacher(x) - b * f_g(x)) + p * (a_real * f_teacher(x) - b_real * f_star(x))
            return f_teacher(x) - pull / ((1 - gamma) * p + gamma * q) / self.scale

        return f_teacher, fake

    def value(self, shift: float, stretch: float) -> float:
        """The loss at f = f~ minus the loss at the optimal fake model: for RealUID, RealUM(f~) - RealUM(f)."""
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
