"""Conventions of a network's inputs and outputs, their denoising errors, and the choice among them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from realuid.models import EDM, Plain, Preconditioning, Reversed, Steps

#: Another reading is believed where its error is below this share of the declared one's.
CLEARLY = 0.9
AS_GIVEN = "[-1, 1]"

_TINY = 1e-12


@dataclass(frozen=True)
class Reading:
    """Conventions of a network: prediction, sign, direction and scale of time, range of values."""

    prediction: str
    preconditioning: Preconditioning
    values: str = AS_GIVEN

    @property
    def reversed_time(self) -> bool:
        """Whether its time runs from noise to data."""
        return isinstance(self.preconditioning, Reversed)

    @property
    def negative(self) -> bool:
        """Whether it is the negative of what is predicted; a velocity changes sign with the direction of time."""
        usual = -1 if self.reversed_time and self.prediction == "velocity" else 1
        return isinstance(self.preconditioning, Plain | EDM) and self.preconditioning.sign != usual

    @property
    def time_scale(self) -> float | None:
        """The network's time input at t = 1; None with preconditioned inputs, where it is not a multiple of t."""
        return self.preconditioning.time_scale if isinstance(self.preconditioning, Plain) else None

    def __str__(self) -> str:
        direction = "0 = noise" if self.reversed_time else "0 = data"
        time = f"time {direction}, scale {self.time_scale:g}" if self.time_scale else self.preconditioning.name
        time += ", in whole steps" if isinstance(self.preconditioning, Steps) else ""
        return f"{'minus ' if self.negative else ''}{self.prediction}, {time}, values in {self.values}"


@dataclass(frozen=True)
class Finding:
    """The errors of one reading: mean squares per element, one a noise level, and the trivial ones beside them."""

    reading: Reading
    errors: tuple[float, ...]
    trivial: tuple[float, ...]

    @property
    def score(self) -> float:
        """Geometric mean of error / trivial error over the levels: below 1 is better than trivial."""
        ratios = [e / t for e, t in zip(self.errors, self.trivial, strict=True)]
        if not all(map(math.isfinite, ratios)):
            return math.inf
        return math.exp(sum(math.log(max(r, _TINY)) for r in ratios) / len(ratios))


@dataclass(frozen=True, repr=False)
class Check:
    """What `check_teacher` found: the declared reading and the best one; all of them, best first."""

    declared: Finding
    findings: tuple[Finding, ...]
    #: For people to look at, shape (rows * columns, *image_shape): for each level some noisy images and, below, what
    #: the declared reading makes of them.
    pictures: Tensor
    columns: int

    def __repr__(self) -> str:
        return f"Check({self.verdict})"

    @property
    def best(self) -> Finding:
        """The reading that fits; the declared one unless another is clearly better."""
        first = self.findings[0]
        return first if first.score < CLEARLY * self.declared.score else self.declared

    @property
    def ok(self) -> bool:
        """Whether the teacher denoises as declared."""
        return self.best is self.declared and self.declared.score < 1

    @property
    def verdict(self) -> str:
        """In words: what fits and, where the declared reading does not, the likely cause."""
        ratio = f"its denoising error is {self.declared.score:.2g} times that of the best linear denoiser"
        if self.ok:
            return f"the teacher fits: {ratio}."
        if self.best.score < 1:
            causes = " and ".join(_differences(self.declared.reading, self.best.reading))
            return f"this network seems to {causes}: {ratio}, and {self.best.score:.2g} times as {self.best.reading}."
        return (
            f"this network does not denoise the data in any reading: {ratio}, and {self.best.score:.2g} times at best. "
            "Its weights are untrained or another model's, or it was trained on other data."
        )


def _differences(declared: Reading, best: Reading) -> Iterator[str]:
    if best.prediction != declared.prediction or best.negative != declared.negative:
        yield f"predict {_what(best)}, not {_what(declared)}"
    if best.reversed_time != declared.reversed_time:
        first, other = ("noise", "data") if best.reversed_time else ("data", "noise")
        yield f"have time 0 at {first}, not at {other}"
    if best.time_scale != declared.time_scale:
        yield f"expect times on a scale of {best.time_scale:g}, not {declared.time_scale:g}"
    elif isinstance(declared.preconditioning, Steps) and not isinstance(best.preconditioning, Reversed | Steps):
        yield "expect the time, not the number of a step"
    if best.values != declared.values:
        yield f"be trained on values in {best.values}, not in {declared.values}"


def _what(reading: Reading) -> str:
    names = {"noise_prediction": "noise", "data_prediction": "data"}
    return f"{'the negative of ' if reading.negative else ''}{names.get(reading.prediction, reading.prediction)}"
