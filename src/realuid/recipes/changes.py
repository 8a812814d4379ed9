"""What a recipe sets otherwise than the defaults."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from realuid.recipes.config import Recipe, dump_recipe
from realuid.reports.page import ShownSettings
from realuid.training.settings import to_dict

#: Entries of a recipe that are no settings.
_NAMES = ("name", "description", "published")
Change = tuple[str, str, str]


def changes(recipe: Recipe, sections: Sequence[str] = ()) -> list[Change]:
    """Name, value and default of every setting that differs from the defaults.

    Args:
        recipe: whose settings.
        sections: only these sections; none: all.
    """
    return list(_differences("", _chosen(recipe, sections), _chosen(Recipe(), sections)))


def _chosen(recipe: Recipe, sections: Sequence[str]) -> dict[str, Any]:
    return {k: v for k, v in to_dict(recipe).items() if k not in _NAMES and (not sections or k in sections)}


def _differences(place: str, value: Any, usual: Any) -> Iterator[Change]:
    if not isinstance(value, dict):
        if value != usual:
            yield place, _text(value), _text(usual)
        return
    usual = usual if isinstance(usual, dict) else {}
    for name in [*value, *(name for name in usual if name not in value)]:
        yield from _differences(f"{place}.{name}" if place else name, value.get(name), usual.get(name))


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value))
    return "" if value is None else str(value)


def shown_settings(recipe: Recipe, sections: Sequence[str] = ()) -> ShownSettings:
    """A recipe for the end of a page."""
    return ShownSettings(dump_recipe(recipe), changes(recipe, sections))
