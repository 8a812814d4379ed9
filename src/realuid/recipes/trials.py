"""The trials of a sweep."""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass
from typing import Any, get_type_hints

import torch

from realuid.errors import ConfigError
from realuid.recipes.sections import SweepConfig
from realuid.seeds import stream
from realuid.settings import as_number
from realuid.training import DistillConfig


@dataclass(frozen=True)
class Trial:
    """One setting with one seed."""

    number: int
    #: alpha, ratio, seed and other varied settings.
    settings: dict[str, float]

    @property
    def name(self) -> str:
        """Name of its folder."""
        return "-".join([f"{self.number:03d}", *(f"{key}={value:g}" for key, value in self.settings.items())])

    def config(self, base: DistillConfig) -> DistillConfig:
        """The settings of its distillation, with evaluations and checkpoints during training."""
        hints = get_type_hints(DistillConfig)
        changes = {key: _as(value, hints[key]) for key, value in self.settings.items() if key != "ratio"}
        changes["beta"] = round(self.settings["alpha"] * self.settings["ratio"], 6)
        every = base.evaluate_every or max(1, base.updates // 10)
        return dataclasses.replace(base, **changes, evaluate_every=every, save_every=base.save_every or every)


def _as(value: float, hint: Any) -> Any:
    """A value of a sweep, where all are numbers, as the kind of a setting: a switch is 0 or 1."""
    return bool(value) if hint is bool and value in (0, 1) else as_number(value, hint)


def make_trials(sweep: SweepConfig, base: DistillConfig) -> tuple[list[Trial], list[str]]:
    """All trials of a sweep, and the reasons for excluded settings. Deterministic."""
    if sweep.search == "grid":
        names = ("alpha", "ratio", *sweep.others)
        columns = (sweep.alpha, sweep.ratio, *sweep.others.values())
        settings = [dict(zip(names, row, strict=True)) for row in itertools.product(*columns)]
    else:
        settings = [_random_setting(sweep, base.seed, i) for i in range(sweep.trials)]
    trials, refused = [], []
    for setting in settings:
        try:
            Trial(0, setting).config(base)
        except ConfigError as error:
            refused.append(f"{', '.join(f'{k} = {v:g}' for k, v in setting.items())}: {error}")
            continue
        trials += [setting | {"seed": base.seed + i} for i in range(sweep.seeds)]
    if not trials:
        raise ConfigError(f"the sweep has no legal setting. {refused[0]}")
    return [Trial(i, setting) for i, setting in enumerate(trials)], refused


def _random_setting(sweep: SweepConfig, seed: int, number: int) -> dict[str, float]:
    """alpha and beta / alpha uniform between their ends, with beta <= 1; other settings among their values."""
    random = stream(seed, "sweep", number)

    def between(values: tuple[float, ...]) -> float:
        u = float(torch.rand((), generator=random, dtype=torch.float64))
        return round(min(values) + (max(values) - min(values)) * u, 4)

    alpha, ratio = between(sweep.alpha), between(sweep.ratio)
    setting = {"alpha": alpha, "ratio": min(ratio, round(1 / alpha - 5e-5, 4)) if alpha < 1 else 1.0}
    for name, values in sweep.others.items():
        setting[name] = values[int(torch.randint(len(values), (), generator=random))]
    return setting
