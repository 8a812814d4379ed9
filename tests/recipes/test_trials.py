"""The trials of a sweep: which there are, what they are called, and what their settings become."""

from __future__ import annotations

import pytest

from realuid.errors import ConfigError
from realuid.recipes import SweepConfig
from realuid.recipes.trials import Trial, make_trials
from realuid.training import DistillConfig


def test_a_grid_has_every_legal_setting_once_a_seed() -> None:
    config = SweepConfig(alpha=(0.9, 1.0), ratio=(0.98, 1.0, 1.2), others={"fake_updates": (3.0, 5.0)}, seeds=2)
    trials, refused = make_trials(config, DistillConfig(seed=7))
    settings = [tuple(t.settings.values()) for t in trials]
    legal = [(0.9, 0.98), (0.9, 1.0), (1.0, 1.0)]  # 1.2 asks for beta > 1, and alpha = 1 for beta = 1
    assert settings == [(a, r, k, s) for a, r in legal for k in (3.0, 5.0) for s in (7, 8)]
    assert len(refused) == 6 and "alpha = 0.9, ratio = 1.2" in refused[0] and "beta = 1.08 is outside" in refused[0]
    built = trials[1].config(DistillConfig(updates=50))
    assert (built.alpha, built.beta, built.seed, built.fake_updates) == (0.9, 0.882, 8, 3)
    assert (built.evaluate_every, built.save_every) == (5, 5) and type(built.fake_updates) is int


def test_a_random_search_is_legal_and_the_same_every_time() -> None:
    config = SweepConfig(alpha=(0.8, 1.0), ratio=(0.9, 1.1), search="random", trials=50)
    trials, refused = make_trials(config, DistillConfig())
    assert refused == [] and len(trials) == 50 and trials == make_trials(config, DistillConfig())[0]
    alphas, ratios = ([t.settings[k] for t in trials] for k in ("alpha", "ratio"))
    assert min(alphas) >= 0.8 and max(alphas) - min(alphas) > 0.15 and max(ratios) - min(ratios) > 0.15
    assert all(t.config(DistillConfig()).beta <= 1 for t in trials)
    assert len({t.name for t in trials}) == 50


def test_a_sweep_without_a_legal_setting_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"no legal setting. alpha = 1, ratio = 0.9"):
        make_trials(SweepConfig(alpha=(1.0,), ratio=(0.9,)), DistillConfig())
    with pytest.raises(ConfigError, match=r"unknown setting 'gama'. Did you mean 'gamma'"):
        SweepConfig(others={"gama": (0.9,)})


def test_names_of_trials_tell_their_settings() -> None:
    assert Trial(3, {"alpha": 0.92, "ratio": 1.02, "seed": 1}).name == "003-alpha=0.92-ratio=1.02-seed=1"


def test_values_of_a_sweep_become_what_their_settings_are() -> None:
    others = {"calls": (1.0, 2.0), "normalise": (0.0, 1.0), "lora_rank": (4.0,)}
    trials, _ = make_trials(SweepConfig(alpha=(1.0,), ratio=(1.0,), others=others), DistillConfig())
    built = [trial.config(DistillConfig()) for trial in trials]
    found = [(c.calls, c.normalise, c.lora_rank) for c in built]
    assert found == [(1, False, 4), (1, True, 4), (2, False, 4), (2, True, 4)]
    assert {tuple(map(type, row)) for row in found} == {(int, bool, int)}
    with pytest.raises(ConfigError, match=r"fake_updates = 2.5: a float, but needed is int"):
        make_trials(SweepConfig(others={"fake_updates": (2.5,)}), DistillConfig())
