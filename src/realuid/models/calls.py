"""Number and times of a student's network calls for a sample."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Protocol

from realuid.errors import ConfigError
from realuid.paths import Path
from realuid.settings import MOST_CALLS, check_whole

#: Noise-to-signal ratio at which a student starts by default: SiD's sigma_init.
SIGMA_INIT = 2.5


class HasCalls(Protocol):
    """A student, ours or one that another library computes."""

    @property
    def calls(self) -> int: ...


def check_calls(student: HasCalls, calls: int | None) -> int:
    """The number of calls that a student is sampled with, by default all of its own.

    Raises:
        ConfigError: for more than it has, or none.
    """
    if calls is None:
        return student.calls
    if not 1 <= calls <= student.calls:
        allowed = "1" if student.calls == 1 else f"1 to {student.calls}"
        raise ConfigError(f"calls = {calls}: the student makes {student.calls}, so allowed is {allowed}.")
    return calls


def student_times(path: Path, times: float | Sequence[float] | None, calls: int | None = None) -> tuple[float, ...]:
    """Checked times of a student, arguments as there; by default one, where noise has SiD's ratio to data."""
    if times is None:
        times = path.start_time(SIGMA_INIT)
    if calls is not None:
        check_whole("calls", calls, 1, MOST_CALLS)
    try:
        falling = tuple(float(t) for t in times) if isinstance(times, Sequence) else (float(times),)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"times = {times!r}: needed are a number or several.") from error
    name = "t_init" if len(falling) == 1 else "times"
    shown = falling[0] if len(falling) == 1 else falling
    if not falling or not all(path.t_min < t <= path.t_max for t in falling):
        raise ConfigError(
            f"{name} = {shown} is outside ({path.t_min:g}, {path.t_max:g}], the times of path '{path.name}'."
        )
    if calls is not None and len(falling) == 1:
        return path.call_times(calls, falling[0])
    if calls is not None and len(falling) != calls:
        raise ConfigError(f"calls = {calls} with times = {falling}: pass {calls} times, or one of the two.")
    if any(later >= earlier for earlier, later in itertools.pairwise(falling)):
        raise ConfigError(f"times = {falling}: they have to decrease, from noise to data.")
    return falling
