"""Old name of `realuid.recipes.evaluate`."""

from __future__ import annotations

from realuid.recipes.evaluate import evaluate_model as measure
from realuid.recipes.evaluate import make_evaluator

__all__ = ["make_evaluator", "measure"]
