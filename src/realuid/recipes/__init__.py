"""Named, complete run configurations."""

from __future__ import annotations

from realuid.recipes.config import (
    DataConfig,
    EvaluateConfig,
    PathConfig,
    Recipe,
    dump_recipe,
    load_recipe,
    parse_recipe,
    recipe_names,
)

__all__ = [
    "DataConfig",
    "EvaluateConfig",
    "PathConfig",
    "Recipe",
    "dump_recipe",
    "load_recipe",
    "parse_recipe",
    "recipe_names",
]
