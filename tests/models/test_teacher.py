"""Teachers around modules and functions of the user's own."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import realuid
from realuid.errors import CheckpointError, ConfigError
from realuid.models import (
    Condition,
    Generator,
    Plain,
    Reversed,
    Teacher,
    fresh,
    from_pretrained,
    save_pretrained,
)
from realuid.paths import make_path
from realuid.training import DistillConfig, distill_teacher

SHAPE = (1, 8, 8)


class Net(nn.Module):
    """A convolution that also looks at time and class."""

    def __init__(self, classes: int = 0):
        super().__init__()
        self.first, self.last = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 1, 3, padding=1)
        self.classes = nn.Embedding(classes, 4) if classes else None

    def forward(self, x, time, labels=None):
        h = self.first(x) + time[:, None, None, None]
        if self.classes is not None:
            h = h + self.classes(labels)[:, :, None, None]
        return self.last(torch.tanh(h))


class Odd(nn.Module):
    """A parameter that nothing re-initialises."""

    def __init__(self):
        super().__init__()
        self.inner, self.gain = nn.Linear(2, 2), nn.Parameter(torch.ones(2))

    def forward(self, x, time):
        return self.inner(x) * self.gain


@pytest.fixture
def x() -> torch.Tensor:
    return torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(0))


T = torch.tensor([0.2, 0.5, 0.9])


@torch.no_grad()
def test_what_the_network_is_given_and_what_becomes_of_its_answer(x):
    net = Net()
    assert torch.equal(Teacher(net, SHAPE)(x, T), net(x, T))
    assert torch.equal(Teacher(net, SHAPE, time_scale=1000)(x, T), net(x, 1000 * T))
    reverse = Teacher(net, SHAPE, reverse_time=True)
    assert torch.equal(reverse(x, T), -net(x, 1 - T)) and reverse.preconditioning == Reversed()
    data = Teacher(net, SHAPE, prediction="data_prediction", reverse_time=True)
    assert torch.equal(data(x, T), net(x, 1 - T))
    # x_t = (1 - t) x_0 + t x_T and velocity x_T - x_0: x_0 = x_t - t velocity
    found = Teacher(net, SHAPE)(x, T, space="data_prediction")
    torch.testing.assert_close(found, x - T[:, None, None, None] * net(x, T))


@torch.no_grad()
def test_labels(x):
    net, labels = Net(classes=5), torch.tensor([4, 0, 2])
    teacher = Teacher(net, SHAPE, num_classes=5)
    assert torch.equal(teacher(x, T, Condition(label=labels)), net(x, T, labels))
    with pytest.raises(ConfigError, match="no labels were passed"):
        teacher(x, T)


def test_mistakes(x):
    with pytest.raises(ConfigError, match="a str cannot be called"):
        Teacher("net", SHAPE)
    with pytest.raises(ConfigError, match="pass either"):
        Teacher(Net(), SHAPE, time_scale=2, preconditioning=Plain())
    with pytest.raises(ConfigError, match=r"returned shape \(3,\) for x of shape \(3, 1, 8, 8\)"):
        Teacher(lambda x, t: t, SHAPE)(x, T)
    with pytest.raises(ConfigError, match="unknown path 'lineal'"):
        Teacher(Net(), SHAPE, path="lineal")


def test_fresh_weights_come_from_reset_parameters():
    torch.manual_seed(0)
    teacher = Teacher(Net(), SHAPE)
    a, b, c = fresh(teacher, 1), fresh(teacher, 1), fresh(teacher, 2)
    for p, q, r, old in zip(*(m.parameters() for m in (a, b, c, teacher)), strict=True):
        assert torch.equal(p, q) and not torch.equal(p, r) and not torch.equal(p, old)
    torch.manual_seed(1)
    bound = 1 / 3  # PyTorch's start of a convolution of fan-in 9 is uniform in +- 1 / sqrt(9)
    assert a.network.function.first.weight.abs().max() <= bound
    with pytest.raises(ConfigError, match=r"1 parameters have no random start.*: gain. Start the fake"):
        fresh(Teacher(Odd(), (2,)), 0)


def distilled(teacher, tmp_path, digits, **starts) -> Generator:
    config = DistillConfig(updates=2, batch=8, fake_updates=1, alpha=0.9, beta=0.95, device="cpu")
    return distill_teacher(teacher, digits, config, tmp_path / "run", **starts)


def test_a_student_of_ones_own_network_is_saved_as_weights(tmp_path, digits, x):
    teacher = Teacher(Net(), SHAPE)
    student = distilled(teacher, tmp_path, digits)
    assert not torch.equal(student.model.network.function.first.weight, teacher.network.function.first.weight)
    with pytest.raises(CheckpointError, match="whose code is not stored"):
        realuid.load_generator(tmp_path / "run")
    again = realuid.load_generator(tmp_path / "run", network=Net())
    assert torch.equal(again(x), student(x))
    with pytest.raises(CheckpointError, match="of another model"):
        realuid.load_generator(tmp_path / "run", network=Net(classes=3))


def test_tied_weights_are_saved(tmp_path):
    net = Net()
    net.first.bias = nn.Parameter(torch.zeros(4))
    net.twin = net.first
    save_pretrained(Teacher(net, SHAPE), tmp_path / "m")
    other = Net()
    other.twin = other.first
    again = from_pretrained(tmp_path / "m", other)
    assert torch.equal(again.network.function.twin.weight, net.first.weight)


def test_a_function_without_parameters_teaches_a_network(tmp_path, digits, x):
    def exact(x, time):
        """The best linear denoiser of unit Gaussians, as a velocity."""
        t = time[:, None, None, None]
        return x * (2 * t - 1) / ((1 - t) ** 2 + t**2)

    teacher = Teacher(exact, SHAPE)
    with pytest.raises(ConfigError, match=r"the teacher has no parameters.*pass start = a model"):
        distilled(teacher, tmp_path, digits)
    start, fake = Teacher(Net(), SHAPE), Teacher(Net(), SHAPE)
    with pytest.raises(ConfigError, match="pass fake = a model"):
        distilled(teacher, tmp_path, digits, start=start)
    with pytest.raises(ConfigError, match="they have to be the same"):
        distilled(teacher, tmp_path, digits, start=start, fake=Teacher(Net(), SHAPE, make_path("vp")))
    student = distilled(teacher, tmp_path, digits, start=start, fake=fake)
    assert student(x).shape == x.shape
    with pytest.raises(CheckpointError, match=r"weights in .* are of another model"):
        from_pretrained(tmp_path / "run" / "model", Odd())
