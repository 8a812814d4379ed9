"""Named, complete run configurations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from realuid.lazy import on_first_use

if TYPE_CHECKING:
    from realuid.recipes.config import Origin, Recipe, dump_recipe, load_recipe, parse_recipe, recipe_names
    from realuid.recipes.sections import DataConfig, EvaluateConfig, PathConfig, SweepConfig

__getattr__, __dir__ = on_first_use(__name__)

#: Families of matching models -> the recipe that shows them on digits.
FAMILIES = {
    "flow": "demo",
    "vp": "digits-vp",
    "edm": "digits-edm",
    "bridge": "digits-bridge",
    "interpolant": "digits-interpolant",
}

__all__ = [
    "FAMILIES",
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
