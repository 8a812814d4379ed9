"""Is what is asked for possible? Found out before anything is trained, with a network that costs nothing."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor

from realuid.data import Dataset
from realuid.errors import PredictionError, RealUIDError
from realuid.models import Condition, ConditionSpec, MatchingModel, Network, example
from realuid.objectives import UnwiseSettingWarning
from realuid.recipes.config import EvaluateConfig, Recipe
from realuid.sampling import generate
from realuid.training.distill import check_distillation
from realuid.training.teacher import check_batch


class _Silent(Network):
    """Says 0, in the form in which another network speaks."""

    def __init__(self, like: Network):
        super().__init__({})
        self.shape, self.num_classes = like.shape, like.num_classes
        self.sees_source, self.heads = like.sees_source, like.heads
        self._conditions = like.conditions

    @property
    def conditions(self) -> tuple[ConditionSpec, ...]:
        return self._conditions

    def forward(self, x: Tensor, time: Tensor, condition: Condition) -> Tensor:
        return torch.cat([torch.zeros_like(x)] * self.heads, dim=1)


def check_sampling(model: MatchingModel, how: EvaluateConfig) -> None:
    """Draw one sample as a teacher is to be sampled, with a network that says 0.

    Raises:
        ConfigError, PredictionError: what `generate` says where the model cannot be sampled so.
    """
    silent = MatchingModel(
        _Silent(model.network), model.path, model.prediction, model.preconditioning, null_class=model.null_class
    )
    settings: dict[str, Any] = {"steps": how.steps, "sampler": how.sampler, "guidance": how.guidance}
    for _ in generate(silent, 1, condition=example(silent.conditions, 1), **settings):
        pass


def check_teacher_run(model: MatchingModel, steps: int) -> None:
    """Raise what `check_sampling` does where a teacher could be trained, but not sampled; warn where not distilled."""
    check_sampling(model, EvaluateConfig(steps=steps))
    try:
        model.check_space("data_prediction")
    except PredictionError as error:
        warnings.warn(f"this teacher can be sampled, but not distilled: {error}", UnwiseSettingWarning, stacklevel=2)


def check_demo(recipe: Recipe, model: MatchingModel, data: Dataset) -> None:
    """Raise an error where a demo would only find out after its teacher is trained.

    Args:
        recipe: of the demo.
        model: its teacher, trained or not.
        data: what it is about.
    """
    check_sampling(model, recipe.evaluate)
    for name in recipe.students:
        config = recipe.student(name)
        try:
            check_distillation(model, config)
            check_batch(max(config.real_batch, config.gan_batch), data)
        except RealUIDError as error:
            raise type(error)(f"students.{name}: {error}") from error
