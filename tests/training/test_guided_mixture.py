"""Real data and a guided teacher in closed form: classes are Gaussians of one variance, so guidance shifts their means.

Velocities are affine in x_t and losses quadratic, so four points with the mean and the variance of a Gaussian are an
exact quadrature.
"""

from __future__ import annotations

import pytest
import torch
from tasks import distill_task

from realuid.data import Dataset
from realuid.models import Condition, MatchingModel, Network, Plain, guided
from realuid.objectives import MixtureUID
from realuid.paths import LinearPath
from realuid.training.draws import Draw
from realuid.training.updates import Game, fake_loss, generator_loss

STD, SCALE, T = 0.6, 2.5, 0.4
#: Of what a class of the teacher, another one, and all of them together were learnt from: one variance.
MEANS = torch.tensor([0.7, -0.4, 0.1], dtype=torch.float64)
LABEL, NULL = 1, 2
VARIANCE = (1 - T) ** 2 * STD**2 + T**2


class Gaussians(Network):
    """The velocity of N(mean of the class, STD^2), exact."""

    def __init__(self, error: float):
        super().__init__({})
        self.shape, self.num_classes, self.error = (1,), 3, error

    def forward(self, x, time, condition):
        mean, t = (MEANS + self.error)[condition["label"]][:, None], time[:, None]
        variance = (1 - t) ** 2 * STD**2 + t**2
        return -mean + (t - (1 - t) * STD**2) / variance * (x - (1 - t) * mean)


def four_points(mean: float) -> Draw:
    u, v = (torch.tensor(signs, dtype=torch.float64)[:, None] for signs in ((1, 1, -1, -1), (1, -1, 1, -1)))
    labels = Condition(label=torch.full((4,), LABEL))
    return Draw(torch.full((4,), T, dtype=torch.float64), v, None, mean + STD * u, u, labels)


def gradient(error: float, generated_mean: float, data_weight: float, guide_real: bool) -> torch.Tensor:
    """Of the fake model's loss in (a, b), f = f~ + a x_t + b, at f = f~."""
    path = LinearPath()
    teacher = guided(MatchingModel(Gaussians(error), path, "velocity", Plain(time_scale=1.0), null_class=True), SCALE)
    knobs = torch.zeros(2, dtype=torch.float64, requires_grad=True)

    def fake(x_t, t, condition, space):
        return teacher(x_t, t, condition, space).detach() + knobs[0] * x_t + knobs[1]

    game = Game(MixtureUID(data_weight, 0.5), path, "velocity", teacher, guide_real)
    draws = four_points(generated_mean), four_points(float(MEANS[LABEL]))
    return torch.autograd.grad(fake_loss(fake, game, *draws, 4, 4), knobs)[0]


#: Mean of the guided teacher's samples.
GUIDED_MEAN = float(MEANS[LABEL] + (SCALE - 1) * (MEANS[LABEL] - MEANS[NULL]))


@pytest.mark.parametrize("data_weight", [0.25, 1.0])
def test_real_data_leaves_the_guidance_of_a_right_teacher_alone(data_weight: float) -> None:
    """At a generator that makes the guided distribution the best fake model is the teacher: the game is over."""
    torch.testing.assert_close(
        gradient(0.0, GUIDED_MEAN, data_weight, guide_real=True),
        torch.zeros(2, dtype=torch.float64),
        rtol=0,
        atol=1e-12,
    )


@pytest.mark.parametrize("data_weight", [0.25, 1.0])
def test_without_a_guided_target_the_data_s_share_of_guidance_is_lost(data_weight: float) -> None:
    """There the pull is 2 lambda (g - 1) (f_c - f_null), and d velocity / d mean = -t / variance."""
    pull = 2 * data_weight * (SCALE - 1) * T / VARIANCE * float(MEANS[LABEL] - MEANS[NULL])
    found = gradient(0.0, GUIDED_MEAN, data_weight, guide_real=False)
    assert float(found[1]) == pytest.approx(pull, rel=1e-9) and abs(pull) > 0.1


@pytest.mark.parametrize("data_weight", [0.25, 1.0])
def test_an_error_of_the_teacher_is_corrected_beside_its_guidance(data_weight: float) -> None:
    """At a generator as far off as the guided teacher the pull is the share lambda of the error alone."""
    error = 0.3
    found = gradient(error, GUIDED_MEAN + error, data_weight, guide_real=True)
    assert float(found[1]) == pytest.approx(2 * data_weight * T / VARIANCE * error, rel=1e-9)


def test_the_generator_stays_where_the_best_fake_model_is_the_teacher() -> None:
    """Its gradient at the guided distribution, against that fake model, is zero; elsewhere it is not."""
    path, values = LinearPath(), []
    teacher = guided(MatchingModel(Gaussians(0.0), path, "velocity", Plain(time_scale=1.0), null_class=True), SCALE)
    game = Game(MixtureUID(1.0, 0.5), path, "velocity", teacher, True)
    for fake in (teacher, lambda x, t, c, space: teacher(x, t, c, space) + 0.1):
        shift = torch.zeros((), dtype=torch.float64, requires_grad=True)
        loss = generator_loss(lambda *_, by=shift: four_points(GUIDED_MEAN).x_0 + by, fake, game, four_points(0.0), 4)
        values.append(float(torch.autograd.grad(loss.loss, shift)[0]))
    assert values[0] == pytest.approx(0, abs=1e-12) and abs(values[1]) > 1e-3


@pytest.mark.parametrize(
    ("settings", "guides"),
    [
        ({"objective": "mixture"}, True),
        ({"objective": "mixture", "guide_real": False}, False),
        ({"alpha": 0.96, "beta": 0.98}, False),
    ],
)
def test_the_real_target_is_guided_by_default_with_the_mixture_objective_alone(settings: dict, guides: bool) -> None:
    images = torch.randint(0, 256, (20, 1, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    assert distill_task(Dataset(images, name="noise"), **settings).game.guide_real is guides
