"""The coefficients of renoising between the calls of a student, for use without its path."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, cast, get_args

import torch
from torch import Tensor

from realuid.models import Student
from realuid.models.names import Renoise
from realuid.settings import MOST_CALLS


@dataclass(frozen=True)
class Schedule:
    """The input of call k is data[k] x_0 + source[k] x_T + noise[k] e, with x_0 the prediction of the call before.

    The first call has no x_0 (that term is left out), and e is the student's noise z. `fresh`: later calls draw e anew.
    `deterministic`: it is what the call before implies, e = (x_t - data x_0 - source x_T) / noise.

    Attributes:
        times: what the network is called with, one for each call.
        data, source, noise: one number for each call.
        renoise: fresh or deterministic.
    """

    times: tuple[float, ...]
    data: tuple[float, ...]
    source: tuple[float, ...]
    noise: tuple[float, ...]
    renoise: Renoise

    @classmethod
    def of(cls, student: Student) -> Schedule:
        """The schedule of a student."""
        path, zeros = student.model.path, (0.0,) * student.calls
        k = path.coefficients(torch.tensor(student.times, dtype=torch.float64))
        source = tuple(k.b.tolist()) if path.coupled else zeros
        noise = tuple(path.noise_std(k).tolist()) if student.noise else zeros
        return cls(student.times, tuple(k.a.tolist()), source, noise, student.renoise)

    @property
    def calls(self) -> int:
        """Number of network calls for a sample."""
        return len(self.times)

    @property
    def draws(self) -> bool:
        """Whether later calls take noise of their own."""
        return self.calls > 1 and self.renoise == "fresh" and any(self.noise)

    def first(self, calls: int) -> Schedule:
        """Of the first calls only."""
        numbers = {name: getattr(self, name)[:calls] for name in ("times", "data", "source", "noise")}
        return dataclasses.replace(self, **numbers)

    def start(self, z: Tensor, x_T: Tensor | None = None) -> Tensor:
        """The input of the first call, shape (b, *shape)."""
        x = self.noise[0] * z
        return x if x_T is None else x + self.source[0] * x_T

    def next_input(
        self, k: int, x_t: Tensor, x_0: Tensor, x_T: Tensor | None = None, e: Tensor | None = None
    ) -> Tensor:
        """The input of the call after call k, counted from 0: `Student.next_input`."""
        source = 0.0 if x_T is None else x_T
        if self.noise[k + 1] and self.renoise == "deterministic":
            e = (x_t - self.data[k] * x_0 - self.source[k] * source) / self.noise[k]
        x = self.data[k + 1] * x_0 + self.source[k + 1] * source
        return x if e is None or not self.noise[k + 1] else x + self.noise[k + 1] * e

    def to_dict(self) -> dict[str, Any]:
        """As plain values; `from_dict` reads them back."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Schedule:
        """The schedule in a file.

        Raises:
            ValueError, TypeError, KeyError: where it is damaged.
        """
        numbers = {name: tuple(float(v) for v in values[name]) for name in ("times", "data", "source", "noise")}
        if len(set(map(len, numbers.values()))) != 1 or not 1 <= len(numbers["times"]) <= MOST_CALLS:
            raise ValueError("its schedule does not say the same for every call")
        if not all(map(math.isfinite, sum(numbers.values(), ()))) or values["renoise"] not in get_args(Renoise):
            raise ValueError("its schedule holds what is no number, or an unknown way of renoising")
        return cls(**numbers, renoise=cast(Renoise, values["renoise"]))
