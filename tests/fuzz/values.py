"""Values that JSON and YAML can hold and that no setting should be."""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Iterator
from typing import Any


def _nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


#: Wrong types, sizes and names.
ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2, 3, 7, 10**6, 10**9, 10**12, 2**31, 2**63, 2**64, 10**30, -(10**12)),
    *(0.5, -0.5, 1e-300, 1e300, 1e308, math.nan, math.inf, -math.inf, "", " ", "x", "0", "1e5", "nan", "None", "true"),
    *([], {}, [[]], [None], [0], [-1], [1, 2], [8, 8, 8, 8, 8], ["a"], ["a", 1], {"a": 1}, {"a": {"b": []}}),
    *("../../etc/passwd", "/dev/zero", "/etc/passwd", "a/b", "\0", "\x1b[31mred", "[/b]", "é", "\udc80", "x" * 10_000),
    *([0] * 1000, [[0] * 8] * 8, _nested(50), _nested(100), "DownBlock2D", "silu", "linear", "vp", "edm"),
)


def odd(chance: random.Random) -> Any:
    """One of them, which may be changed further."""
    return copy.deepcopy(chance.choice(ODD))


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where every value in a value is."""
    if at:
        yield at
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(inner, (*at, key))


def changed(value: Any, chance: random.Random) -> Any:
    """A copy with one or two entries replaced by something odd, left out, doubled, or renamed."""
    value = copy.deepcopy(value)
    for _ in range(chance.choice((1, 1, 2))):
        *above, last = chance.choice(list(places(value)))
        where = value
        for key in above:
            where = where[key]
        match chance.randrange(12):
            case 0:
                del where[last]
            case 1 if isinstance(where, dict):
                where[chance.choice(("x", "", "path", "__class__", "_class_name", "a" * 300))] = odd(chance)
            case 2 if isinstance(where, list):
                where.append(odd(chance))
            case 3 if isinstance(where[last], int | float) and not isinstance(where[last], bool):
                where[last] *= chance.choice((-1, 0, 2, 0.5, 3, 1000, 10**6))
            case 4:
                where[last] = [where[last]]
            case 5:
                where[last] = str(where[last])
            case _:
                where[last] = odd(chance)
        if not list(places(value)):
            break
    return value
