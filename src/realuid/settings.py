"""What the values of a configuration may be, checked in one place and said in one way."""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any, Literal, get_args, get_origin, get_type_hints

from dacite.types import is_instance

from realuid.errors import ConfigError, unknown_name


def check_types(config: Any) -> None:
    """Compare the values of a dataclass with its annotations: names out of a list, numbers, tuples of them.

    Raises:
        ConfigError: naming the setting, its value and what is allowed.
    """
    for name, hint in _hints(type(config)).items():
        value = getattr(config, name)
        if get_origin(hint) is Literal and value not in get_args(hint):
            raise ConfigError(unknown_name(name, str(value), get_args(hint)))
        if not is_instance(tuple(value) if isinstance(value, list) else value, hint):
            needed = hint.__name__ if isinstance(hint, type) else str(hint)
            raise ConfigError(f"{name} = {value!r}: a {type(value).__name__}, but needed is {needed}.")


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    hints = get_type_hints(cls)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}


def check_range(config: Any, interval: str, *names: str) -> None:
    """Raise ConfigError unless numbers, or all numbers of a tuple, lie in an interval such as '[0, 1)'."""
    low, high = (float(end) for end in interval[1:-1].split(","))
    for name in names:
        value = getattr(config, name)
        for number in value if isinstance(value, tuple | list) else (value,):
            inside = low <= number <= high and not math.isnan(number)
            if not inside or (number == low and interval[0] == "(") or (number == high and interval[-1] == ")"):
                raise ConfigError(f"{name} = {value} is outside {interval}.")
