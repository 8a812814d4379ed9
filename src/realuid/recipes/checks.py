"""Errors that a demo would otherwise only meet after training its teacher."""

from __future__ import annotations

from realuid.data import Dataset
from realuid.models import MatchingModel
from realuid.recipes.config import Recipe
from realuid.recipes.prompts import texts_of
from realuid.training.accelerate import make_accelerator
from realuid.training.compatibility import check_sampling, check_settings
from realuid.training.machine import check_machine


def check_demo(recipe: Recipe, model: MatchingModel, data: Dataset) -> None:
    """Raise errors that a demo would otherwise only meet after training its teacher.

    Args:
        recipe, model, data: of the demo; model is its teacher, trained or not.
    """
    how = recipe.evaluate
    check_sampling(model, how.steps, how.sampler, how.guidance)
    check_machine(recipe.teacher, make_accelerator(recipe.teacher).device)
    for name in recipe.students:
        check_machine(recipe.student(name), make_accelerator(recipe.student(name)).device)
        check_settings(model, data, recipe.student(name), f"students.{name}")
    texts_of(data, how)
