"""check-teacher names what a network predicts, which way its time runs, and on which scale it learnt."""

from __future__ import annotations

import dataclasses
import functools
import itertools

import pytest
import torch
from conftest import small_teacher
from torch import nn

import realuid
from realuid.cli.main import main
from realuid.data import Dataset, to_float
from realuid.errors import CheckpointError
from realuid.loaders.check import LEVELS, RANGES, check_teacher
from realuid.loaders.readings import AS_GIVEN
from realuid.models import EDM, Steps, Teacher, save_pretrained
from realuid.paths import Path, make_path, target
from realuid.sampling import sample_teacher

SHAPE = (1, 8, 8)
TYPES = ("velocity", "noise_prediction", "data_prediction", "v_prediction")
NAMES = {"noise_prediction": "noise", "data_prediction": "data"}


class Net(nn.Module):
    """A perceptron on 8x8 images; it is told times between 0 and 1."""

    def __init__(self):
        super().__init__()
        self.time = nn.Linear(8, 128)
        self.layers = nn.Sequential(nn.Linear(64, 128), nn.SiLU(), nn.Linear(128, 128), nn.SiLU(), nn.Linear(128, 64))

    def forward(self, x, time):
        waves = torch.cat([f(time[:, None] * torch.tensor([0.5, 1.5, 4.0, 9.0])) for f in (torch.sin, torch.cos)], 1)
        h = self.layers[0](x.flatten(1)) + self.time(waves)
        return self.layers[1:](h).reshape(x.shape)


@functools.cache
def trained(prediction: str, values: str = AS_GIVEN, path: str = "linear", steps: int = 700) -> nn.Module:
    """A network that really learnt digits; its inputs and targets are scaled as the data is."""
    factor, offset = RANGES[values]
    data = factor * to_float(realuid.load_dataset("digits").values) + offset
    line: Path = make_path(path)
    torch.manual_seed(0)
    net = Net()
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    for step in range(steps):
        x_0 = data[torch.randint(len(data), (128,))]
        t, x_T = line.t_min + (line.t_max - line.t_min) * torch.rand(128), torch.randn_like(x_0)
        x_t, k = line.sample(x_0, x_T, t)
        loss = (net(x_t, t) - target(prediction, line, k, x_0, x_T, None)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.param_groups[0]["lr"] = 3e-3 * (1 - step / steps)
        optimizer.step()
    return net.eval()


class Backwards(nn.Module):
    """The same network for whom time 0 is noise; its velocity is data - noise."""

    def __init__(self, net: nn.Module, sign: int):
        super().__init__()
        self.net, self.sign = net, sign

    def forward(self, x, time):
        return self.sign * self.net(x, 1 - time)


def network(prediction: str, backwards: bool) -> nn.Module:
    net = trained(prediction)
    return Backwards(net, -1 if prediction == "velocity" else 1) if backwards else net


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("prediction", TYPES)
def test_the_declared_reading_is_confirmed(prediction, backwards, digits):
    teacher = Teacher(network(prediction, backwards), SHAPE, prediction=prediction, reverse_time=backwards)
    check = check_teacher(teacher, digits, thorough=True)
    assert check.ok and check.best is check.declared and check.declared.score < 0.9
    assert "the teacher fits" in check.verdict


@pytest.mark.parametrize(
    ("truth", "declared"),
    [
        pair
        for pair in itertools.product(itertools.product(TYPES, (False, True)), repeat=2)
        if (pair[0][0] == pair[1][0]) != (pair[0][1] == pair[1][1])
    ],
)
def test_a_wrong_declaration_is_found_out(truth, declared, digits):
    """4 types x 2 directions, each declared as every other type, and with its time the other way round."""
    teacher = Teacher(network(*truth), SHAPE, prediction=declared[0], reverse_time=declared[1])
    check = check_teacher(teacher, digits, images=32)
    assert not check.ok and check.declared.score > check.best.score / 0.9
    assert (check.best.reading.prediction, check.best.reading.reversed_time) == truth
    assert not check.best.reading.negative and check.best.reading.values == AS_GIVEN
    assert check.best.reading.time_scale == 1
    if truth[0] != declared[0]:
        what, not_this = (NAMES.get(name, name) for name in (truth[0], declared[0]))
        assert f"seems to predict {what}, not {not_this}" in check.verdict
    if truth[1] != declared[1]:
        assert f"have time 0 at {'noise' if truth[1] else 'data'}" in check.verdict


@pytest.mark.slow
@pytest.mark.parametrize("values", ["[0, 1]", "[0, 255]", "[-0.5, 0.5]"])
def test_a_wrong_range_of_values_is_found_out(values, digits):
    if values == "[0, 255]":  # a network for such numbers, made of one for [-1, 1], exactly
        net = trained("data_prediction")

        def wide(x, time):
            """With noise of one grey level, x_t / 127.5 - a is a point for [-1, 1] with noise 1 / 127.5."""
            a, b = (1 - time), time / 127.5
            own = b / (a + b)
            scale = ((1 - own) / a)[:, None, None, None]
            return 127.5 * (net(scale * (x / 127.5 - a[:, None, None, None]), own) + 1)

        teacher = Teacher(wide, SHAPE, prediction="data_prediction")
    else:
        teacher = Teacher(trained("velocity", values, steps=1500), SHAPE)
    check = check_teacher(teacher, digits)
    assert not check.ok and check.best.reading.values == values
    assert f"trained on values in {values}, not in [-1, 1]" in check.verdict


@pytest.mark.parametrize(("told", "declared"), [(1.0, 1000.0), (1000.0, 1.0)])
def test_a_wrong_scale_of_time_is_found_out(told, declared, digits):
    net = trained("velocity")
    teacher = Teacher(lambda x, time: net(x, time / told), SHAPE, time_scale=declared)
    check = check_teacher(teacher, digits)
    assert check.best.reading.time_scale == told and check.best.reading.prediction == "velocity"
    assert f"times on a scale of {told:g}, not {declared:g}" in check.verdict


def test_minus_the_velocity_is_found_out(digits):
    net = trained("velocity")
    check = check_teacher(Teacher(lambda x, time: -net(x, time), SHAPE), digits)
    assert "predict the negative of velocity, not velocity" in check.verdict


@pytest.mark.parametrize("path", ["vp", "trigonometric"])
def test_other_paths(path, digits):
    net = trained("noise_prediction", path=path)
    right = check_teacher(Teacher(net, SHAPE, path, "noise_prediction"), digits, thorough=True)
    wrong = check_teacher(Teacher(net, SHAPE, path, "v_prediction"), digits)
    assert right.ok and "predict noise, not v_prediction" in wrong.verdict


def test_steps_and_scaled_inputs(digits):
    """A DDPM's network that is told the time itself; and EDM's preconditioning with the wrong sign."""
    net = trained("noise_prediction", path="vp")
    teacher = Teacher(net, SHAPE, make_path("ddpm"), "noise_prediction", preconditioning=Steps(1000.0))
    assert "expect times on a scale of 1, not 1000" in check_teacher(teacher, digits).verdict

    line, data = trained("data_prediction"), make_path("ve")

    def inner(x, time, sign=1):
        """F of EDM's form with D = the network on the linear path, where t = sigma / (1 + sigma)."""
        sigma = torch.exp(4 * time)
        root = (sigma**2 + 0.25).sqrt()[:, None, None, None]
        s = sigma[:, None, None, None]
        denoised = line(x * root / (1 + s), sigma / (1 + sigma))
        return sign * (denoised - 0.25 / root**2 * x * root) * root / (s * 0.5)

    for sign, ok in ((1, True), (-1, False)):
        edm = Teacher(functools.partial(inner, sign=sign), SHAPE, data, "data_prediction", preconditioning=EDM())
        check = check_teacher(edm, digits)
        assert check.ok == ok and (ok or "the negative of data, not data" in check.verdict)


def test_the_trivial_error_is_the_best_linear_one(digits):
    """On data of independent, equal Gaussians nothing beats it: E error = v n^2 / (a^2 v + n^2)."""
    values = torch.randn(4000, *SHAPE, generator=torch.Generator().manual_seed(0)) * 0.5 + 0.3
    data = Dataset(values, name="gauss")

    def exact(x, time):
        t = time[:, None, None, None]
        return 0.3 + (1 - t) * 0.25 / ((1 - t) ** 2 * 0.25 + t**2) * (x - (1 - t) * 0.3)

    check = check_teacher(Teacher(exact, SHAPE, prediction="data_prediction"), data, images=1000)
    for level, error, trivial in zip(LEVELS, *dataclasses.astuple(check.declared)[1:], strict=True):
        ratio = level * 0.5  # n / a
        expected = 0.25 * ratio**2 / (0.25 + ratio**2)
        assert error == pytest.approx(expected, rel=0.03) and trivial == pytest.approx(expected, rel=0.03)
    assert check.declared.score == pytest.approx(1, abs=0.01)


def test_untrained_teachers_are_refused(digits, tmp_path):
    torch.manual_seed(0)
    teacher = Teacher(Net(), SHAPE)
    with pytest.raises(CheckpointError, match=r"does not denoise the data in any reading.*untrained.*trust_teacher"):
        realuid.distill(teacher, digits, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    config = realuid.DistillConfig(updates=1, batch=4, fake_updates=1, device="cpu")
    student = realuid.distill(teacher, digits, out=tmp_path / "run", config=config, trust_teacher=True)
    assert student(torch.zeros(1, *SHAPE)).shape == (1, *SHAPE)
    good = Teacher(trained("velocity"), SHAPE)
    assert sample_teacher(good, torch.zeros(1, *SHAPE), 1).shape == (1, *SHAPE)
    realuid.distill(good, digits, out=tmp_path / "good", config=config)


def test_the_command_says_what_is_wrong_and_draws(tmp_path, capsys):
    picture, folder = tmp_path / "check.png", save_pretrained(small_teacher(), tmp_path / "untrained")
    assert main(["check-teacher", str(folder), "--out", str(picture), "--images", "16"]) == 2
    printed = capsys.readouterr()
    assert "does not denoise" in printed.err and len(printed.err.splitlines()) == 1
    assert "(declared)" in printed.out and picture.is_file()
    assert main(["distill", "demo", "--teacher", str(folder), "--out", str(tmp_path / "run")]) == 2
    assert "trust_teacher" in capsys.readouterr().err and not (tmp_path / "run").exists()
