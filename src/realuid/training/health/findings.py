"""What measurements of a run say about its health, in plain words: what is seen, since when, and what to try.

A min-max loss tells no story: both players' losses may fall while the samples collapse. What tells it is measured with
every evaluation (`vitals`) and judged here, over the last third of the evaluations so far, so that neither the start of
a run nor one noisy evaluation raises an alarm.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

from torch import Tensor

from realuid.files import write_json
from realuid.training.config import DistillConfig

#: Evaluations and share of the run before which nothing is judged, since everything is still far from the data.
_FIRST, _SHARE = 4, 0.25
#: Diversity below this share of the data's is a collapse.
COLLAPSED = 0.6
#: The fake model's error on generated images as a multiple of the teacher's, which never saw them: from here on the
#: fake model is behind; where its steps are small beside the generator's, from the second number on. While the student
#: still changes fast, the error of a sound fake model is up to 1.8 times the teacher's.
BEHIND, BEHIND_IF_SLOW = 2.2, 1.15
#: The teacher's error on generated images as a multiple of that on real ones from which these are unlike any data.
FAR = 3.0
#: K fake_lr / generator_lr below which the fake model takes smaller steps than the generator.
SLOW = 1.0
#: Denoising error of a teacher as a share of a linear denoiser's from which it is no teacher of this data.
POOR_TEACHER = 0.75
#: SiD's alpha from which real data is known to destabilise.
HIGH_SID = 1.1
#: Last FDs as a multiple of the lowest, share of values out of range, and growth of gradient norms that are alarming.
WORSE, SATURATED, GROWN = 2.0, 0.6, 10.0

#: Causes that explain whatever else is seen in a run.
_EXPLAIN = ("teacher", "alpha_sid")

#: Causes as headings.
_TITLES = {
    "data": "Data of other classes",
    "teacher": "Poor teacher",
    "alpha_sid": "alpha_sid too high",
    "fake model": "Fake model too slow",
    "learning rates": "Learning rates too high",
}

#: A line of metrics.jsonl.
Line = Mapping[str, float]


@dataclass(frozen=True)
class Finding:
    """Something that is wrong with a run.

    Attributes:
        cause: what probably causes it: data, teacher, alpha_sid, fake model or learning rates.
        text: what is seen, since when.
        advice: what to try.
    """

    cause: str
    text: str
    advice: str

    @property
    def title(self) -> str:
        """The cause in the words of a heading."""
        return _TITLES.get(self.cause, self.cause)


@dataclass(frozen=True)
class Facts:
    """What the settings and the data of a run say before it starts.

    Attributes:
        updates: length of the run.
        steps: K fake_lr / generator_lr, the fake model's steps beside the generator's; None without a fake model.
        alpha_sid: SiD's alpha where real data is in the loss, else 0.
        classes, present: of the model, and those of them that the data holds.
    """

    updates: int
    steps: float | None = None
    alpha_sid: float = 0.0
    classes: int = 0
    present: int = 0

    @property
    def is_slow(self) -> bool:
        """Whether the fake model's steps are small beside the generator's."""
        return self.steps is not None and self.steps < SLOW

    @classmethod
    def of(cls, config: DistillConfig, classes: int, labels: Tensor | None) -> Facts:
        """Of a distillation.

        Args:
            config: its settings.
            classes: of the teacher.
            labels: of the data, or None.
        """
        present = 0 if labels is None else len(labels.unique())
        real = config.make_objective().uses_real_data
        steps = config.fake_updates * config.fake_lr / config.generator_lr
        return cls(config.updates, steps, config.alpha_sid if real else 0.0, classes, present)


def diagnose(lines: Sequence[Line], facts: Facts) -> list[Finding]:
    """What is wrong with a run, at most one finding a cause, the most certain first.

    Args:
        lines: of metrics.jsonl so far.
        facts: of the run.
    """
    seen = _Seen.of(lines)
    found = list(_from_the_start(seen, facts))
    if len(seen.evaluations) < _FIRST or seen.evaluations[-1]["update"] < _SHARE * facts.updates:
        return found
    if not (seen_in_course := _course(seen, facts)):
        return found
    enough = next((i for i, finding in enumerate(found) if finding.cause in _EXPLAIN), None)
    if enough is None:
        return [*found, _of_course(seen_in_course, facts)]
    text = f"{found[enough].text} Seen since: {'; '.join(seen_in_course)}."
    return [*found[:enough], dataclasses.replace(found[enough], text=text), *found[enough + 1 :]]


@dataclass(frozen=True)
class _Seen:
    """The lines of evaluations, and of training between them."""

    evaluations: list[Line]
    training: list[Line]

    @classmethod
    def of(cls, lines: Sequence[Line]) -> _Seen:
        evaluations = [line for line in lines if line.get("fd") is not None]
        return cls(evaluations, [line for line in lines if line.get("fd") is None])

    def recent(self, key: str) -> list[float]:
        """Values of the last third of the evaluations, three at least."""
        return [line[key] for line in self._last() if line.get(key) is not None]

    def ratios(self, key: str, other: str) -> list[float]:
        """Recent values of one measurement as multiples of those of another."""
        both = [line for line in self._last() if line.get(key) is not None and line.get(other) is not None]
        return [line[key] / max(line[other], 1e-12) for line in both]

    def _last(self) -> list[Line]:
        return self.evaluations[-max(3, len(self.evaluations) // 3) :]

    def since(self, holds: Callable[[Line], bool]) -> int:
        """The update from which on something held at every evaluation."""
        first = self.evaluations[-1]["update"]
        for line in reversed(self.evaluations):
            if not holds(line):
                break
            first = line["update"]
        return int(first)


def _from_the_start(seen: _Seen, facts: Facts) -> Iterator[Finding]:
    """What data, teacher and settings tell before anything is learned."""
    if 0 < facts.present < facts.classes:
        yield Finding(
            "data",
            f"the data holds {facts.present} of the {facts.classes} classes that the teacher makes: the student learns "
            "no others, and is measured on no others.",
            "Use data with all classes, as the teacher was trained on, or a teacher of these classes alone.",
        )
    scores = [line["health/teacher"] for line in seen.evaluations if line.get("health/teacher") is not None]
    if scores and scores[-1] > POOR_TEACHER:
        yield Finding(
            "teacher",
            f"the teacher hardly denoises this data: its error is {scores[-1]:.2g} times that of a linear denoiser. A "
            "student comes as close to the data as its teacher.",
            "Run `realuid check-teacher`: the teacher may be undertrained, of other data, or read with other "
            "conventions.",
        )
    if facts.alpha_sid >= HIGH_SID:
        yield Finding(
            "alpha_sid",
            f"alpha_sid = {facts.alpha_sid:g} with real data in the loss is known to destabilise training.",
            "Set alpha_sid to 0.5, the true gradient, or leave real data out (alpha = beta = 1).",
        )


def _course(seen: _Seen, facts: Facts) -> list[str]:
    """What the measurements of the run tell."""
    behind = _behind(seen)
    if behind <= (BEHIND_IF_SLOW if facts.is_slow else BEHIND):
        return list(_symptoms(seen))
    text = f"the fake model is behind: on generated images its error is {behind:.2g} times the teacher's, which never "
    return [f"{text}saw them", *_symptoms(seen)]


def _of_course(symptoms: Sequence[str], facts: Facts) -> Finding:
    """The probable cause of what is seen in a run whose data, teacher and objective are sound."""
    text = "; ".join(symptoms) + "."
    if facts.is_slow:
        return Finding(
            "fake model",
            text,
            f"The fake model's steps are {facts.steps:.2g} of the generator's (fake_updates fake_lr / generator_lr): "
            "raise fake_lr or fake_updates, or lower generator_lr.",
        )
    return Finding(
        "learning rates",
        text,
        "Lower both learning rates by 3 to 10 times, or let them fall (lr_decay = cosine); a larger batch and a "
        "longer average (ema) help, too.",
    )


def _behind(seen: _Seen) -> float:
    """The fake model's error on generated images as a multiple of the teacher's."""
    ratios = seen.ratios("health/fake_on_generated", "health/teacher_on_generated")
    return statistics.median(ratios) if ratios else 0.0


def _symptoms(seen: _Seen) -> Iterator[str]:
    for key, what in (("diversity", "diversity"), ("spread_within", "diversity within a class")):
        values = seen.recent(f"health/{key}")
        grows = all(earlier < later for earlier, later in pairwise(values))  # a student on its way from blurred images
        if values and max(values) < COLLAPSED and not grows:
            since = seen.since(lambda line, key=key: (line.get(f"health/{key}") or 0) < COLLAPSED)  # type: ignore[misc]
            yield f"mode collapse: {what} at {values[-1]:.2g} of the data's since update {since:,}"
    far = seen.ratios("health/teacher_on_generated", "health/teacher_on_real")
    if far and min(far) > FAR:
        yield f"samples far from the data: the teacher's error on them is {far[-1]:.2g} times that on real images"
    beyond = seen.recent("health/out_of_range")
    if beyond and min(beyond) > SATURATED:
        yield f"saturation: {beyond[-1]:.0%} of the samples' values are out of [-1, 1]"
    fds = seen.recent("fd")
    best = min(seen.evaluations, key=lambda line: line["fd"])
    if min(fds) > WORSE * best["fd"]:
        yield f"FD {fds[-1]:.3g} is {fds[-1] / best['fd']:.2g} times the {best['fd']:.3g} of update {best['update']:,}"
    for player in ("generator", "fake"):
        norms = [n for line in seen.training if (n := line.get(f"{player}/grad_norm")) is not None]
        third = len(norms) // 3
        if third >= _FIRST and statistics.median(norms[-third:]) > GROWN * statistics.median(norms[:-third]):
            yield f"gradients of the {player} have grown to {norms[-1]:.2g}, more than {GROWN:g} times what they were"


def write_findings(path: Path, findings: Sequence[Finding]) -> None:
    """Write findings as JSON."""
    write_json(path, [asdict(finding) for finding in findings])


def read_findings(path: Path) -> list[Finding]:
    """Read them back; an absent or damaged file is empty."""
    with contextlib.suppress(OSError, ValueError, TypeError, AttributeError, RecursionError):
        return [Finding(**{k: str(v) for k, v in entry.items()}) for entry in json.loads(path.read_text())]
    return []
