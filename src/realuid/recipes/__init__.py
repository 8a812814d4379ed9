"""Named, complete run configurations."""

from __future__ import annotations

from realuid.recipes.config import (
    DataConfig,
    EvaluateConfig,
    Origin,
    PathConfig,
    Recipe,
    SweepConfig,
    dump_recipe,
    load_recipe,
    parse_recipe,
    recipe_names,
)

__all__ = [
    "DataConfig",
    "EvaluateConfig",
    "Origin",
    "PathConfig",
    "Recipe",
    "SweepConfig",
    "dump_recipe",
    "load_recipe",
    "parse_recipe",
    "recipe_names",
]
