"""A proposal of (alpha, beta) for a teacher and data, from recipe, published results and the teacher's speed."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from realuid.data import Dataset
from realuid.models import MatchingModel
from realuid.objectives.reduce import inner, squared_norm
from realuid.on_data import check_pairs
from realuid.paths import target
from realuid.recipes.config import Recipe
from realuid.training.batches import Batches
from realuid.training.compatibility import check_fits

#: The best published pairs, by whether the teacher is conditional and whether a distilled student is fine-tuned.
PUBLISHED = {
    (False, False): (0.92, 0.94),
    (True, False): (0.98, 0.96),
    (False, True): (0.92, 0.86),
    (True, True): (0.96, 0.92),
}
#: A teacher has a common factor if its speed differs from 1 by more than this and by more than three standard errors.
_CLEAR, _ERRORS = 0.02, 3.0
#: Speeds outside this interval mean that the teacher was not trained on such data.
_FAR = (0.5, 2.0)
#: Number of time intervals in which the speed is measured.
_PARTS = 5
#: What the probe cannot see, and what was measured about it (docs/experiments/mixture.md).
_IF_WRONG = (
    "if the teacher is wrong in another way (stopped early, trained on other data): train it further on these data "
    "first (`realuid train --start`), which on digits was ahead of every use of real data while distilling, at equal "
    "cost. If it cannot be trained: objective mixture."
)
_BATCH = 250


@dataclass(frozen=True)
class Speed:
    """Speed of a teacher relative to the data, c = E ||f~||^2 / E <f~, y>; 1 for a perfect teacher.

    f~ / c is the multiple of the teacher with the least matching loss on the data.

    Attributes:
        mean: over the path's times.
        error: standard error of the mean.
        parts: the same in intervals of time with equally many draws, from data to source.
    """

    mean: float
    error: float
    parts: tuple[float, ...]

    @property
    def common(self) -> bool:
        """Whether the speed is off by the same factor at all times, so that beta / alpha = c corrects it (A.1.4)."""
        off = self.mean - 1
        spread = max(self.parts) - min(self.parts)
        return abs(off) > max(_CLEAR, _ERRORS * self.error) and spread < abs(off)


@dataclass(frozen=True)
class Advice:
    """A proposal with its reasons.

    Attributes:
        alpha, beta: the proposal.
        speed: as measured by `probe`.
        reasons: sentences.
    """

    alpha: float
    beta: float
    speed: Speed
    reasons: tuple[str, ...]


@torch.no_grad()
def probe(teacher: MatchingModel, data: Dataset, count: int = 2000) -> Speed:
    """The speed of a teacher on data, in its path's own prediction; no samples are drawn.

    Args:
        teacher: on images, points or pairs.
        data: preferably not the teacher's training data.
        count: number of draws of data, time and noise.
    """
    check_fits(teacher, data)
    check_pairs(teacher, data)
    real = data if teacher.num_classes else data.without_labels()
    batches, space = Batches(real.to(teacher.device), teacher.path, seed=0), teacher.path.default_prediction
    own, shared, times = [], [], []
    for number in range(math.ceil(count / _BATCH)):
        draw = batches.real("probe", number, min(count, _BATCH))
        assert draw.x_0 is not None, "a draw of real data"
        x_t, k = teacher.path.sample(draw.x_0, draw.x_T, draw.t, draw.eps)
        f, y = teacher(x_t, draw.t, draw.condition, space), target(space, teacher.path, k, draw.x_0, draw.x_T, draw.eps)
        own.append(squared_norm(f).double())
        shared.append(inner(f, y).double())
        times.append(draw.t)
    order = torch.cat(times).argsort()
    a, b = torch.cat(own)[order], torch.cat(shared)[order]
    mean = float(a.sum() / b.sum())
    error = float((a - mean * b).std() / (b.mean() * math.sqrt(len(b))))
    parts = [float(x.sum() / y.sum()) for x, y in zip(a.chunk(_PARTS), b.chunk(_PARTS), strict=True)]
    return Speed(mean, error, tuple(parts))


def pair_of_recipe(recipe: Recipe, fine_tune: bool = False) -> tuple[str, float, float] | None:
    """What a recipe uses real data with: the student's name ('' for its section `distill`), alpha and beta, or None."""
    trained = [] if fine_tune else [("", recipe.distill)]
    trained += [(name, recipe.student(name)) for name in recipe.students if bool(recipe.origin(name)) == fine_tune]
    for name, config in trained:
        if config.objective == "realuid" and config.make_objective().uses_real_data:
            return name, config.alpha, config.beta
    return None


def advise(
    teacher: MatchingModel,
    data: Dataset,
    fine_tune: bool = False,
    count: int = 2000,
    recipe: Recipe | None = None,
) -> Advice:
    """Propose (alpha, beta).

    Args:
        teacher, data, count: as for `probe`.
        fine_tune: whether a distilled student is to be fine-tuned.
        recipe: what it uses comes before what is published for another data set.
    """
    speed = probe(teacher, data, count)
    alpha, beta = PUBLISHED[bool(teacher.num_classes), fine_tune]
    kind = "class-conditional" if teacher.num_classes else "unconditional"
    stage = "fine-tuning" if fine_tune else "distillation from scratch"
    parts = ", ".join(f"{part:.3f}" for part in speed.parts)
    published = f"published: ({alpha:g}, {beta:g}) was best for {kind} CIFAR-10, {stage}."
    if recipe is not None and (own := pair_of_recipe(recipe, fine_tune)):
        name, alpha, beta = own
        whose = f" for its student {name}" if name else ""
        published = f"recipe: {recipe.name} uses ({alpha:g}, {beta:g}){whose}; {published}"
    if not _FAR[0] < speed.mean < _FAR[1]:
        verdict = "it is no teacher of these data; see `realuid check-teacher`."
    elif speed.common:
        beta = round(min(1.0, alpha * speed.mean), 4)
        verdict = "beta / alpha at that common factor corrects it where data is rare (A.1.4)."
    else:
        verdict = "no common factor that beta / alpha could correct."
    found = (
        f"probe: the teacher has {speed.mean:.3f} +- {speed.error:.3f} times the speed of these data ({parts} from "
        f"data to source): {verdict}"
    )
    return Advice(alpha, beta, speed, (published, found, _IF_WRONG))
