"""Settings of paths as YAML, JSON and command lines hand them over."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import torch

from realuid.errors import ConfigError
from realuid.models.preconditioning import PRECONDITIONINGS, make_preconditioning
from realuid.paths import PATHS, Path, make_path, path_from_config


@pytest.mark.parametrize(
    ("name", "given", "taken"),
    [
        ("ddpm", {"num_train_timesteps": 500.0}, {"num_train_timesteps": 500}),
        ("ddpm", {"num_train_timesteps": "500"}, {"num_train_timesteps": 500}),
        ("brownian_bridge", {"noise": 2}, {"noise": 2.0}),
        ("ve", {"sigma_min": "2e-3"}, {"sigma_min": 0.002}),
        ("interpolant", {"gamma": "sin2", "coupled": True}, {"gamma": "sin2", "coupled": True}),
    ],
)
def test_numbers_become_what_the_path_needs(name, given, taken) -> None:
    path = make_path(name, **given)
    for key, value in taken.items():
        assert getattr(path, key) == value and type(getattr(path, key)) is type(value)


@pytest.mark.parametrize(
    ("name", "settings", "says"),
    [
        ("ve", {"sigma_max": "large"}, "sigma_max = 'large': a str, but needed is float."),
        ("ddpm", {"num_train_timesteps": 2.5}, "num_train_timesteps = 2.5: a float, but needed is int."),
        ("brownian_bridge", {"noise": [1]}, "noise = [1]: a list, but needed is float."),
        ("brownian_bridge", {"noise": float("inf")}, "noise = inf is no finite number."),
        ("ve", {"p_mean": float("nan")}, "p_mean = nan is no finite number."),
        ("interpolant", {"gamma": "cube"}, "unknown gamma 'cube'. Allowed: sin2, sqrt."),
        ("interpolant", {"coupled": "maybe"}, "coupled = 'maybe': a str, but needed is bool."),
    ],
)
def test_what_is_of_no_use_is_named(name, settings, says) -> None:
    with pytest.raises(ConfigError) as error:
        make_path(name, **settings)
    assert str(error.value) == says


@pytest.mark.parametrize("name", PATHS)
def test_a_path_survives_its_description(name) -> None:
    path = make_path(name)
    assert path_from_config(path.to_config()) == path


def _use_path(path: Path) -> None:
    x, half = torch.zeros(2, 3), torch.full((2,), (path.t_min + path.t_max) / 2)
    times = path.sample_time(torch.tensor([0.1, 0.9]))
    path.coefficients(times), path.smooth_time(times), path.grid(4), path.weight(half, "data_prediction")
    path.sample(x, x, half, x if path.has_eps else None)
    path.start_time(1.0), path.time_at_noise_ratio(1.0)


def _use_scales(preconditioning: Any) -> None:
    preconditioning.scales(make_path("ve").coefficients(torch.tensor([0.1, 80.0])))


EXTREMES = (1e300, 1e200, 1e30, 1e10, 1e6, 1e3, 1e-3, 1e-10, 1e-30, 1e-300, 0.0, -1e-300, -1e10, -1e300)


@pytest.mark.parametrize(
    ("table", "make", "use"),
    [(PATHS, make_path, _use_path), (PRECONDITIONINGS, make_preconditioning, _use_scales)],
)
def test_numbers_of_any_size_work_or_are_refused(table: dict, make: Callable, use: Callable) -> None:
    """Their powers and exponentials were an OverflowError at the first use, for instance sigma_data = 1e300."""
    refused = 0
    for name in list(table):
        numbers = [field.name for field in dataclasses.fields(table[name]) if type(field.default) is float]
        for setting in numbers:
            for value in EXTREMES:
                made = None
                with suppress(ConfigError):
                    made = make(name, **{setting: value})
                if made is None:
                    refused += 1
                else:
                    use(made)
    assert refused > 50
