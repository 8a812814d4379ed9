"""The one-step generator is the data prediction of its model at the start of the path."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from exact import exact_teacher
from oracles import FAMILIES, SOURCE, world

from realuid.errors import ConfigError
from realuid.models import MLP, Condition, Generator, MatchingModel
from realuid.paths import make_path


def model(path: str = "linear", prediction: str | None = None, **settings) -> MatchingModel:
    torch.manual_seed(0)
    return MatchingModel(MLP(3, width=16, depth=1, **settings), make_path(path), prediction)


def test_one_full_step_of_a_flow():
    """App. B at t_init = 1: G(z) = z - f(z, 1)."""
    flow, z = model(), torch.randn(4, 3)
    velocity = flow.network(z, torch.full((4,), 1000.0), Condition())
    torch.testing.assert_close(Generator(flow, 1.0)(z), z - velocity)


def test_start_at_sigma_init_is_sids():
    """SiD: G(z) = D(2.5 z; 2.5), which on the linear path is t = 2.5 / 3.5 and x_t = t z."""
    flow, z = model(), torch.randn(4, 3)
    generator = Generator(flow)
    assert generator.t_init == pytest.approx(2.5 / 3.5, abs=1e-9)
    t = 2.5 / 3.5
    velocity = flow.network(t * z, torch.full((4,), 1000 * t), Condition())
    torch.testing.assert_close(generator(z), t * z - t * velocity)


@pytest.mark.parametrize("name", FAMILIES)
def test_generator_is_the_teachers_first_guess(name):
    family, w = FAMILIES[name], world(FAMILIES[name].coupled)
    teacher = exact_teacher(name, w, "velocity", sees_source=family.coupled)
    z, x_T = torch.randn(2, 6, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    _, b, c = family.abc(0.6004)
    if family.coupled:
        x_t, (gain, offset) = b * x_T + c * z, w.regress((1, 0, 0), family.abc(0.6004), SOURCE)
        expected = torch.cat([x_t, x_T], dim=1).numpy() @ gain.T + offset
    else:
        x_t, (gain, offset) = np.hypot(b, c) * z, w.regress((1, 0, 0), family.abc(0.6004))
        expected = x_t.numpy() @ gain.T + offset
    x_0 = Generator(teacher, 0.6004)(z, Condition(source=x_T))
    np.testing.assert_allclose(x_0, expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(
    ("path", "settings", "start"),
    [
        ("brownian_bridge", {"noise": 0.5}, 1 / 1.25),  # s^2 t (1 - t) = (1 - t)^2
        ("brownian_bridge", {"noise": 1.0}, 1 / 2),
        ("ve_bridge", {"sigma_max": 0.5}, (1 / 1.25) ** 0.5),  # the same in t^2
        ("interpolant", {"coupled": True, "noise": 0.5}, 1 / 1.5),  # s^2 2 t (1 - t) = (1 - t)^2
        ("interpolant", {"coupled": True, "noise": 0.01, "gamma": "sin2"}, 1 - 1e-4),  # never: as late as can be
        (
            "interpolant",
            {"coupled": False, "noise": 2**-0.5},
            (13.5 - 26**0.5) / 12.5,
        ),  # t^2 + t (1 - t) = 2.5^2 (1 - t)^2
        ("trigonometric", {}, 2 / np.pi * np.arctan(2.5)),
    ],
)
def test_the_start_is_where_noise_hides_what_is_left_of_the_data(path, settings, start):
    flow = MatchingModel(
        MLP(3, width=8, depth=1, sees_source=settings.get("coupled", "bridge" in path)), make_path(path, **settings)
    )
    assert Generator(flow).t_init == pytest.approx(start, abs=1e-4)


@pytest.mark.parametrize("name", [name for name, family in FAMILIES.items() if family.coupled])
def test_samplers_accept_the_start_of_every_coupled_path(name):
    """The first of many times at which c >= a; noise that fades too early never is so strong."""
    family = FAMILIES[name]
    path = make_path(family.path, **family.settings)
    strong = [t for t in np.arange(2e-3, 1, 1e-3) if family.abc(t)[2] >= family.abc(t)[0]]
    assert path.start_time(2.5) == pytest.approx(strong[0] if strong else path.t_max, abs=1e-3)
    assert bool(strong) != (name == "interpolant trigonometric sin2 coupled")


@pytest.mark.parametrize("t_init", [0.0, 1.1, -0.5])
def test_times_off_the_path_are_refused(t_init):
    with pytest.raises(ConfigError, match=r"outside \(0, 1\], the times of path 'linear'"):
        Generator(model(), t_init)


def test_two_heads_from_one_network():
    both = model("interpolant", "velocity_and_noise", heads=2)
    x, t = torch.randn(4, 3), torch.full((4,), 0.3)
    stacked = both(x, t)
    assert stacked.shape == (4, 6)
    torch.testing.assert_close(both(x, t, space="velocity"), stacked[:, :3])
    torch.testing.assert_close(both(x, t, space="noise_prediction"), stacked[:, 3:])
    assert both(x, t, space="data_prediction").shape == (4, 3)
    with pytest.raises(ConfigError, match="needs a network of 2 heads, this one has 1"):
        model("interpolant", "velocity_and_noise")
    with pytest.raises(ConfigError, match="needs a network of 1 heads, this one has 2"):
        model("interpolant", "velocity", heads=2)
