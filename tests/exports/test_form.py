"""A generator's five numbers, against formulas written out by hand."""

from __future__ import annotations

import math

import pytest
import students
import torch

from realuid.exports.form import Form, form_of
from realuid.models import Condition, Generator, MatchingModel, UNet
from realuid.paths import DDPMPath, make_path

T = 0.6


def numbers(form: Form) -> list[float]:
    return [form.skip, form.skip_source, form.into, form.into_source, *form.out, form.time]


def vp(t: float) -> tuple[float, float]:
    a = math.exp(-(0.1 * t + 19.9 * t * t / 2) / 2)
    return a, math.sqrt(1 - a * a)


A, B = vp(T)
S, D = 2.5, 0.5  # EDM's sigma and sigma_data
C = math.sqrt(T * (1 - T))  # noise of a Brownian bridge
G, G_DOT = math.sqrt(2 * T * (1 - T)), (1 - 2 * T) / math.sqrt(2 * T * (1 - T))  # of an interpolant


@pytest.mark.parametrize(
    ("generator", "expected"),
    [
        (students.unet(t_init=T), [T, 0, T, 0, -T, 1000 * T]),
        (students.unet(t_init=1.0), [1, 0, 1, 0, -1, 1000]),
        (students.unet(prediction="data_prediction", t_init=T), [0, 0, T, 0, 1, 1000 * T]),
        (students.unet("vp", t_init=T), [B / A, 0, B, 0, -B / A, 1000 * T]),
        (students.unet("vp", "v_prediction", t_init=T), [A * B, 0, B, 0, -B, 1000 * T]),
        (
            students.edm(),
            [S * D**2 / (S**2 + D**2), 0, S / math.hypot(S, D), 0, S * D / math.hypot(S, D), math.log(S) / 4],
        ),
        (students.ncsnpp(), [S, 0, S, 0, S, math.log(S / 2)]),
        (
            students.unet("brownian_bridge", sees_source=True, t_init=T),
            [0, 0, C, T, 1, 1000 * T],
        ),
        (
            students.unet("interpolant", "velocity_and_noise", t_init=T),
            [math.hypot(T, G), 0, math.hypot(T, G), 0, -T, T * G_DOT - G, 1000 * T],
        ),
    ],
    ids=["flow", "flow from noise", "data", "vp noise", "vp v", "edm", "ve", "bridge", "interpolant"],
)
def test_numbers_are_the_papers(generator, expected):
    assert numbers(form_of(generator)) == pytest.approx(expected, rel=2e-6, abs=1e-9)


@pytest.mark.parametrize("make", [students.bridge, students.interpolant, students.edm, students.adm])
def test_the_line_is_the_generator(make):
    generator = make()
    z, given = torch.randn(3, *generator.shape), students.condition(generator, 3)
    form, x_T = form_of(generator), torch.zeros_like(z) if "source" not in given else given["source"]
    with torch.no_grad():
        time = torch.full((3,), form.time)
        raw = generator.model.network(form.into * z + form.into_source * x_T, time, given)
    parts = raw.chunk(len(form.out), dim=1)
    line = form.skip * z + form.skip_source * x_T + sum(f * part for f, part in zip(form.out, parts, strict=True))
    torch.testing.assert_close(line, students.images(generator, z, given), atol=1e-5, rtol=1e-5)


def test_the_time_is_rounded_as_the_generator_rounds_it():
    seen = []
    generator = Generator(MatchingModel(students.unet().model.network, DDPMPath()))
    assert isinstance(generator.model.network, UNet)
    generator.model.network.register_forward_pre_hook(lambda module, inputs: seen.append(float(inputs[1][0])))
    generator(torch.randn(1, 3, 8, 8), Condition())
    assert form_of(generator).time == seen[0]


def test_asking_leaves_the_generator_as_it_was():
    generator = students.unet()
    before = {name: value.clone() for name, value in generator.state_dict().items()}
    form_of(generator)
    assert all(torch.equal(value, before[name]) for name, value in generator.state_dict().items())
    assert make_path("linear") == generator.model.path
