"""Settings of paths as YAML, JSON and command lines hand them over."""

from __future__ import annotations

import pytest

from realuid.errors import ConfigError
from realuid.paths import PATHS, make_path, path_from_config


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
