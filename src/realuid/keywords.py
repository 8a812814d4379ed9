"""Keyword arguments of `train` and `distill`: options of the run, and any setting by its name."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any, TypeVar

from realuid.errors import ConfigError, unknown_name
from realuid.models import MatchingModel, Student
from realuid.recipes import EvaluateConfig, Recipe, load_recipe
from realuid.recipes.choose import Choice
from realuid.recipes.run import recipe_of_run
from realuid.settings import check_kind
from realuid.training.config import LoopConfig
from realuid.training.folder import refuse_existing
from realuid.training.settings import RENAMED
from realuid.training.task import Callback

Options = TypeVar("Options", bound="RunOptions")
Config = TypeVar("Config", bound=LoopConfig)
_NONE = type(None)


@dataclass(frozen=True)
class RunOptions:
    """Options of `train` and `distill`.

    recipe: for settings that are not passed: a name, or a YAML file. None: the teacher's own recipe, or one for images
        of this size, which is said; where a config (or a network or path) is passed, the defaults of those classes.
    evaluate: settings of quick FDs during training (with `evaluate_every`).
    resume: continue the run in `out` with the settings it was started with.
    callbacks: functions of (updates so far, logged values), called after every line of the log: losses every
        `log_every` updates, quick FDs every `evaluate_every`.
    """

    recipe: str | None = None
    evaluate: EvaluateConfig | None = None
    resume: bool = False
    callbacks: Sequence[Callback] = ()

    def settings(self, source: str, out: Path, choose: Callable[[], Choice] | None = None) -> Recipe:
        """The settings the run was started with, the recipe's, those chosen, or the defaults.

        Args:
            source: name of the data.
            out: folder of the run; an error if it is in use.
            choose: chooses a recipe if none is named; None: defaults.
        """
        check_kind("evaluate", self.evaluate, EvaluateConfig, _NONE)
        refuse_existing(out, self.resume)
        if self.resume:
            base = recipe_of_run(out)
        else:
            if self.recipe is not None:
                base = load_recipe(self.recipe)
            elif choose:
                choice = choose()
                print(choice.said, file=sys.stderr)
                base = choice.recipe
            else:
                base = Recipe()
            base = dataclasses.replace(base, data=dataclasses.replace(base.data, source=source))
        return dataclasses.replace(base, evaluate=self.evaluate or base.evaluate)


@dataclass(frozen=True)
class DistillOptions(RunOptions):
    """Options of `distill`: those of `RunOptions`, and

    start: fine-tune this distilled student instead of distilling from scratch; or the model of a new one.
    start_ema: EMA decay of its weights, if `start` is a run's folder; None: its best model.
    fake: initial fake model, on the teacher's path; by default as `fake_start` says.
    trust_teacher: accept a teacher that denoises worse than a linear denoiser (see `check_teacher`).
    """

    start: Student | MatchingModel | str | Path | None = None
    start_ema: float | None = None
    fake: MatchingModel | None = None
    trust_teacher: bool = False


def split_keywords(
    function: Callable[..., Any], keywords: Mapping[str, Any], options: type[Options], config: type[LoopConfig]
) -> tuple[Options, dict[str, Any]]:
    """The options of a run among keyword arguments, and the settings.

    Args:
        function: to which they are passed.
        keywords: as passed.
        options: `RunOptions` or `DistillOptions`.
        config: `TeacherConfig` or `DistillConfig`.

    Raises:
        ConfigError: for a name that neither of them has.
    """
    names, settings = ({f.name for f in dataclasses.fields(kind)} for kind in (options, config))
    for name in keywords.keys() - names - settings:
        if name in RENAMED:
            raise ConfigError(f"{name} is called {RENAMED[name]} now.")
        own = {each for each, p in signature(function).parameters.items() if p.kind is not p.VAR_KEYWORD}
        raise ConfigError(unknown_name(f"argument of {function.__name__}", name, own | names | settings))
    return options(**{k: v for k, v in keywords.items() if k in names}), {
        k: v for k, v in keywords.items() if k in settings
    }
