"""Checks of the types and ranges of settings."""

from __future__ import annotations

import dataclasses
import math
import operator
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from inspect import signature
from types import UnionType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import dacite
from dacite.types import is_instance

from realuid.errors import ConfigError, RealUIDError, unknown_name
from realuid.reading import is_finite

T = TypeVar("T")

#: Far above what anybody waits for or has room for; beyond it, tables for all of them would end in a lack of memory.
MOST_SAMPLES, MOST_STEPS, MOST_BATCH, MOST_CALLS = 10**8, 10**6, 10**9, 1000
#: Settings that may be infinite, which switches something off.
NO_LIMIT = ("clip",)


_CHECKED: ContextVar[bool] = ContextVar("checked", default=True)


@contextmanager
def only_shown() -> Iterator[None]:
    """In this block settings are made for a help text: checks that would import torch are left out."""
    token = _CHECKED.set(False)
    try:
        yield
    finally:
        _CHECKED.reset(token)


def are_checked() -> bool:
    """Whether settings are checked in full, as they are outside of `only_shown`."""
    return _CHECKED.get()


def check_types(config: Any) -> None:
    """Compare the values of a dataclass with its annotations: names out of a list, finite numbers, tuples of them.

    Raises:
        ConfigError: naming the setting, its value and what is allowed.
    """
    hints = get_type_hints(type(config))
    for field in dataclasses.fields(config):
        name, value = field.name, getattr(config, field.name)
        check_type(name, value, hints[name])
        if not is_finite(value) and not (name in NO_LIMIT and value == math.inf):
            raise ConfigError(f"{name} = {in_words(value)} is no finite number.")


def check_type(name: str, value: Any, hint: Any) -> None:
    """The same for one value."""
    optional = type(None) in get_args(hint)
    named = [kind for kind in (get_args(hint) if optional else (hint,)) if get_origin(kind) is Literal]
    if named and value not in get_args(named[0]) and not (optional and value is None):
        raise ConfigError(unknown_name(name, str(value), get_args(named[0])))
    plain = tuple(value) if isinstance(value, list) else value
    if not is_instance(plain, hint) or (_holds_flag(plain) and not _allows_flag(hint)):
        needed = hint.__name__ if isinstance(hint, type) else str(hint)
        raise ConfigError(f"{name} = {value!r}: a {type(value).__name__}, but needed is {needed}.")


def _holds_flag(value: Any) -> bool:
    """Whether a value, or one in a tuple, is True or False, which Python takes for numbers."""
    return any(map(_holds_flag, value)) if isinstance(value, tuple) else isinstance(value, bool)


def _allows_flag(hint: Any) -> bool:
    return hint in (bool, Any, object) or any(map(_allows_flag, get_args(hint)))


def from_keywords(function: Callable[..., Any], cls: type[T], options: Mapping[str, object]) -> T:
    """The options of a function from its further keyword arguments.

    Raises:
        ConfigError: for one that neither the function nor its options have, naming the nearest one.
    """
    names = [name for name, p in signature(function).parameters.items() if p.kind is not p.VAR_KEYWORD]
    fields = [field.name for field in dataclasses.fields(cls)]  # type: ignore[arg-type]
    for name in options.keys() - set(fields):
        raise ConfigError(unknown_name(f"argument of {function.__name__}", name, [*names, *fields]))
    return cls(**options)


def from_plain(cls: type[T], values: Mapping[str, Any], where: str) -> T:
    """A dataclass from plain values, as YAML and JSON have them.

    Raises:
        ConfigError: for a key that no dataclass has, naming the nearest one, or a value of the wrong type.
    """
    _check_keys(values, cls, where)
    try:
        hooks = {float: lambda value: as_number(value, float)}
        return dacite.from_dict(cls, values, dacite.Config(type_hooks=hooks, cast=[tuple]))
    except RealUIDError:
        raise
    except (dacite.DaciteError, TypeError, ValueError) as error:  # TypeError: one value in the place of several
        raise ConfigError(f"'{where}': {error}.") from error


def _check_keys(values: Mapping[str, Any], cls: type, where: str, prefix: str = "") -> None:
    fields = {f.name: f for f in dataclasses.fields(cls)}
    for key, value in values.items():
        if key not in fields:
            raise ConfigError(f"'{where}': {unknown_name('key', f'{prefix}{key}', [prefix + f for f in fields])}")
        default = fields[key].default_factory
        if dataclasses.is_dataclass(default) and isinstance(value, dict):
            _check_keys(value, default, where, f"{prefix}{key}.")  # type: ignore[arg-type]


def as_number(value: Any, hint: Any) -> Any:
    """What YAML or a command line takes for a text or the other kind of number, as what is needed: 1e-3, 500.0.

    Anything else unchanged. What may be None, too, is needed as the number that it may be.
    """
    kinds = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    hint = next((kind for kind in (int, float) if kind in kinds), None)
    if hint is None or isinstance(value, bool):
        return value
    try:
        number = float(value)
    except (TypeError, ValueError):
        return value
    return int(number) if hint is int and number.is_integer() else number


def check_whole(name: str, value: Any, least: int, most: int) -> int:
    """A whole number of a range, as an int.

    Raises:
        ConfigError: for another number, or what is none.
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = least - 1
    if isinstance(value, bool) or not least <= number <= most:
        raise ConfigError(f"{name} = {value}: allowed are whole numbers from {least} to {most:,}.")
    return number


def check_kind(name: str, value: Any, *kinds: type) -> None:
    """Raise ConfigError unless an argument of a function is of one of some types; None is passed as `type(None)`."""
    if not isinstance(value, kinds):
        names = [kind.__name__ for kind in kinds if kind is not type(None)]
        needed = f"{', '.join(names[:-1])} or {names[-1]}" if len(names) > 1 else names[0]
        raise ConfigError(f"{name} is of type {type(value).__name__}: needed is {needed}.")


def check_finite(name: str, value: Any) -> None:
    """Raise ConfigError unless a value is a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ConfigError(f"{name} = {value}: must be a finite number.")


def check_range(config: Any, interval: str, *names: str) -> None:
    """Raise ConfigError unless numbers, or all numbers of a tuple, lie in an interval such as '[0, 1)', or are None."""
    low, high = (float(end) for end in interval[1:-1].split(","))
    excluded = [end for end, bracket in ((low, interval[0]), (high, interval[-1])) if bracket in "()"]
    for name in names:
        value = getattr(config, name)
        for number in value if isinstance(value, tuple | list) else (value,):
            if number is not None and (not low <= number <= high or number in excluded):
                raise ConfigError(f"{name} = {in_words(value)}: must be {_interval(interval)}.")


def in_words(value: Any) -> str:
    """A value, or several of them, as they are written on a command line."""
    return " ".join(map(str, value)) if isinstance(value, tuple | list) else str(value)


def _interval(interval: str) -> str:
    """'[0, 1)' as 'at least 0 and below 1'."""
    low, high = (end.strip() for end in interval[1:-1].split(","))
    words = f"{'at least' if interval[0] == '[' else 'above'} {low}"
    return words if high == "inf" else f"{words} and {'at most' if interval[-1] == ']' else 'below'} {high}"


def typed(kind: type, what: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Settings of a dataclass from a file or a command line, as the numbers its annotations ask for.

    Args:
        kind: the dataclass.
        what: for messages, for instance "path 'linear'".
        settings: of any names and values.

    Raises:
        ConfigError: for a setting that it does not have, a value of another type, and one that is not finite.
    """
    allowed = [field.name for field in dataclasses.fields(kind)]
    for key in settings:
        if key not in allowed:
            raise ConfigError(f"{what} has no setting '{key}'. Allowed: {', '.join(allowed) or 'none'}.")
    try:
        hints = get_type_hints(kind)
    except NameError:  # of a class of the user's own, defined where its annotations mean nothing to others
        hints = dict.fromkeys(allowed, Any)
    settings = {key: as_number(value, hints[key]) for key, value in settings.items()}
    for key, value in settings.items():
        check_type(key, value, hints[key])
        if isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(f"{key} = {value} is no finite number.")
    return settings
