"""Form A of several calls: the law that is judged is the mixture over calls. Closed forms in one dimension, float64."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from oracles import FAMILIES

from realuid.models import Condition, MatchingModel, Network, Plain, Student
from realuid.objectives import RealUID
from realuid.paths import LinearPath, make_path, target
from realuid.training.draws import Draw
from realuid.training.updates import Game, fake_loss, generator_loss

T, STD = 0.35, 0.4
#: The data: half of it around each of two points, like a student whose first call makes one and whose second the other.
MATCHED = (-1.0, 1.0)
APART = (-0.7, 1.2)
GRID = torch.linspace(-9, 9, 4001, dtype=torch.float64)
NORMAL = torch.exp(-(GRID**2) / 2) / torch.exp(-(GRID**2) / 2).sum()


def fields(means: tuple[float, ...], x):
    """Density of x_t and its velocity E[x_T - x_0 | x_t], for data of equal parts N(mean, STD^2): linear path."""
    module = torch if isinstance(x, torch.Tensor) else np
    variance = (1 - T) ** 2 * STD**2 + T**2
    density = velocity = 0
    for mean in means:
        away = x - (1 - T) * mean
        part = module.exp(-(away**2) / (2 * variance)) / len(means)
        density, velocity = density + part, velocity + part * ((T - (1 - T) * STD**2) / variance * away - mean)
    return density, velocity / density


def optimal_fake(objective: RealUID, means: tuple[float, ...], x):
    """Eq. 22, of generated samples that are a mixture."""
    (p, f_star), (q, f_g) = fields(MATCHED, x), fields(means, x)
    (a, b) = objective.alpha, objective.beta
    return ((1 - b) * p * f_star + b * q * f_g) / ((1 - a) * p + a * q)


def distance(objective: RealUID, means: tuple[float, ...]) -> float:
    """Lemma 2, by a sum in plain numbers."""
    x = np.linspace(-9, 9, 20_001)
    (p, f_star), (q, f_g), (a, b) = fields(MATCHED, x), fields(means, x), (objective.alpha, objective.beta)
    pull = b * (p * f_star - q * f_g) + a * (q - p) * f_star
    return float(np.sum(pull**2 / ((1 - a) * p + a * q)) * (x[1] - x[0]) / math.sqrt(2 * math.pi * VARIANCE))


VARIANCE = (1 - T) ** 2 * STD**2 + T**2


def gradient(objective: RealUID, means: tuple[float, ...], told: bool) -> list[float]:
    """Of the generator's loss in the mean of each call, with the optimal fake model of the mixture or of each call."""
    knobs = [torch.tensor(mean, dtype=torch.float64, requires_grad=True) for mean in means]
    loss = torch.zeros((), dtype=torch.float64)
    for mean, knob in zip(means, knobs, strict=True):
        x_t = (1 - T) * knob + math.sqrt(VARIANCE) * GRID
        # x_T - x_0 given what makes x_t: the rest of the noise is of mean 0, and the loss linear in it
        y = -knob + (T - (1 - T) * STD**2) / math.sqrt(VARIANCE) * GRID
        f_star, fake = fields(MATCHED, x_t)[1], optimal_fake(objective, (mean,) if told else means, x_t)
        losses = objective.generator(f_star[:, None], fake[:, None], y[:, None], x_t[:, None])
        loss = loss + (NORMAL * losses).sum() / len(means)
    return [float(g) for g in torch.autograd.grad(loss, knobs)]


@pytest.mark.parametrize("objective", [RealUID(1.0, 1.0), RealUID(0.92, 0.94), RealUID(0.96, 0.98)])
def test_the_generator_descends_lemma_2_of_the_mixture(objective) -> None:
    step, found = 1e-4, gradient(objective, APART, told=False)
    for call in range(2):
        ahead, behind = (tuple(m + s * (i == call) for i, m in enumerate(APART)) for s in (step, -step))
        slope = (distance(objective, ahead) - distance(objective, behind)) / (2 * step)
        assert found[call] == pytest.approx(slope, abs=1e-6) and abs(slope) > 1e-2


@pytest.mark.parametrize("objective", [RealUID(1.0, 1.0), RealUID(0.92, 0.94)])
def test_a_matched_mixture_is_a_fixed_point_although_no_call_matches(objective) -> None:
    assert gradient(objective, MATCHED, told=False) == pytest.approx([0, 0], abs=1e-12)


@pytest.mark.parametrize("objective", [RealUID(1.0, 1.0), RealUID(0.92, 0.94)])
def test_told_the_call_every_call_plays_a_game_of_its_own(objective) -> None:
    step, found = 1e-4, gradient(objective, MATCHED, told=True)
    for mean, slope in zip(MATCHED, found, strict=True):
        expected = (distance(objective, (mean + step,)) - distance(objective, (mean - step,))) / (2 * step) / 2
        assert slope == pytest.approx(expected, abs=1e-6) and abs(slope) > 1e-2  # the matched mixture is no rest


class Line(Network):
    """weight x + bias for a network; with calls, another bias for each."""

    def __init__(self, weight: float, *biases: float):
        super().__init__({})
        self.shape = (1,)
        self.weight = torch.nn.Parameter(torch.tensor(weight, dtype=torch.float64))
        self.bias = torch.nn.Parameter(torch.tensor(biases, dtype=torch.float64))

    def forward(self, x, time, condition):
        call = condition["call"] if len(self.bias) > 1 else torch.zeros(len(x), dtype=torch.long)
        return self.weight * x + self.bias[call][:, None]


def model(network: Network, prediction: str = "velocity") -> MatchingModel:
    return MatchingModel(network, LinearPath(), prediction, Plain(time_scale=1.0))


def test_gradients_pass_through_the_last_call_only() -> None:
    # x_0 = theta x: x_1 = theta tau_1 z and x_2 = theta x^(2); only the last theta is differentiated
    theta, (first, second) = 0.7, (0.9, 0.4)
    student = Student(model(Line(theta, 0.0), "data_prediction"), (first, second))
    z, e = torch.randn(2, 6, 1, dtype=torch.float64)
    student(z, None, e[:, None], (0, 1) * 3).sum().backward()
    x_1, x_2 = first * z[::2], (1 - second) * theta * first * z[1::2] + second * e[1::2]
    assert float(student.model.network.weight.grad) == pytest.approx(float(x_1.sum() + x_2.sum()), abs=1e-12)


@pytest.mark.parametrize("told", [False, True])
def test_the_fake_model_fits_the_mixture_or_every_call(told: bool) -> None:
    """Least squares of y = x_T - x_0 on x_t, in moments: of both calls together, with one intercept or two."""
    spread, call = (0.5, 0.3), torch.tensor([0, 1] * 4)
    s, m = torch.tensor(spread, dtype=torch.float64)[call], torch.tensor(APART, dtype=torch.float64)[call]
    z, x_T = (torch.tensor(signs, dtype=torch.float64) for signs in ([1, 1, 1, 1, -1, -1, -1, -1], [1, 1, -1, -1] * 2))
    x_0 = (m + s * z)[:, None]  # two points a Gaussian: its first three moments, all that a line needs
    within = [((1 - T) ** 2 * d**2 + T**2, T - (1 - T) * d**2) for d in spread]  # var x_t and cov(x_t, y) of a call
    means = [((1 - T) * mean, -mean) for mean in APART]
    x_mean, y_mean = (sum(pair[i] for pair in means) / 2 for i in (0, 1))
    variance, covariance = (sum(pair[i] for pair in within) / 2 for i in (0, 1))
    if not told:
        variance += sum((x - x_mean) ** 2 for x, _ in means) / 2
        covariance += sum((x - x_mean) * (y - y_mean) for x, y in means) / 2
    weight = covariance / variance
    biases = [y - weight * x for x, y in means] if told else [y_mean - weight * x_mean]
    fake = model(Line(weight, *biases))
    draw = Draw(
        t=torch.full((8,), T, dtype=torch.float64),
        x_T=x_T[:, None],
        eps=None,
        x_0=x_0,
        z=None,
        condition=Condition(call=call),
        call=tuple(call.tolist()),
    )
    game = Game(RealUID(1.0, 1.0), LinearPath(), "velocity", model(Line(0.0, 0.0)))
    fake_loss(fake, game, draw, None, 8, 0).backward()
    assert float(fake.network.weight.grad) == pytest.approx(0, abs=1e-12)
    assert fake.network.bias.grad.tolist() == pytest.approx([0.0] * len(biases), abs=1e-12)


def test_a_student_that_its_fake_model_takes_for_the_teacher_rests() -> None:
    """The training code at the fixed point: no gradient at any call, whatever the calls are."""
    student = Student(model(Line(0.6, 0.2), "data_prediction"), calls=3)
    teacher = model(Line(0.9, -0.1)).requires_grad_(False)
    z, x_T, *e = torch.randn(4, 6, 1, dtype=torch.float64)
    draw = Draw(
        t=torch.full((6,), T, dtype=torch.float64),
        x_T=x_T,
        eps=None,
        x_0=None,
        z=z,
        condition=Condition(),
        call=(0, 1, 2) * 2,
        renoising=torch.stack(e, dim=1),
    )
    game = Game(RealUID(0.92, 0.94), LinearPath(), "velocity", teacher)
    generator_loss(student, teacher, game, draw, 6).loss.backward()
    assert all(float(p.grad.abs().max()) == pytest.approx(0, abs=1e-12) for p in student.parameters())


@pytest.mark.parametrize("name", ["linear", "trigonometric", "vp", "cosine", "ve"])
def test_targets_of_form_b_from_the_prediction_are_those_from_the_next_input(name: str) -> None:
    """Form B judges x_s, the input of the next call, at t > s by the score -(x_t - r x_s) / (n_t^2 - r^2 n_s^2).

    With new noise x_s is the prediction x_0 noised to s. Then x_t has the law that x_0 noised to t at once has, and the
    library's target, which is made of x_0, has the same expectation given x_t: phases differ from form A in times only.
    """
    family, (mean, std), (s, t) = FAMILIES[name], (0.7, 0.5), ((0.3, 0.6) if name != "ve" else (0.4, 1.5))
    (a_s, n_s, _), (a_t, n_t, _) = family.abc(s), family.abc(t)
    r = a_t / a_s
    left = n_t**2 - r**2 * n_s**2
    # x_0, then e to x_s, then e' to x_t: rows are coefficients of (x_0, e, e') with variances std^2, 1, 1
    variances = np.array([std**2, 1.0, 1.0])
    x_s, x_t = np.array([a_s, n_s, 0.0]), np.array([r * a_s, r * n_s, math.sqrt(left)])
    assert x_t @ (variances * x_t) == pytest.approx(a_t**2 * std**2 + n_t**2, abs=1e-12)  # the law of x_t
    from_x_s = -(x_t - r * x_s) / left
    gain = from_x_s @ (variances * x_t) / (x_t @ (variances * x_t))

    path = make_path(family.path, **family.settings)
    x_0, x_T = torch.randn(2, 64, 1, dtype=torch.float64)
    at, k = path.sample(mean + std * x_0, x_T, torch.full((64,), t, dtype=torch.float64))
    y = target("score", path, k, mean + std * x_0, x_T, None)
    # y is affine in (x_0, x_T), which are independent and standard: its regression on x_t in closed form
    coefficients = torch.linalg.lstsq(
        torch.cat([x_0, x_T, torch.ones_like(x_0)], dim=1), torch.cat([y, at], dim=1)
    ).solution
    (y_0, x0), (y_T, xT) = coefficients[:2].tolist()
    assert (y_0 * x0 + y_T * xT) / (x0**2 + xT**2) == pytest.approx(gain, abs=1e-6)
    assert gain == pytest.approx(-1 / (a_t**2 * std**2 + n_t**2), abs=1e-9)  # the score of the law itself
