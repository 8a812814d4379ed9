"""Measurements of a distillation's health, taken with every evaluation on draws of their own streams."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import torch
from accelerate import Accelerator
from torch import Tensor

from realuid.data import Dataset, to_float
from realuid.loaders.check import check_teacher
from realuid.models import Condition, MatchingModel, Silent, Student
from realuid.models.networks.condition import LABEL
from realuid.objectives import Objective, squared_norm
from realuid.on_data import conditions
from realuid.paths import target
from realuid.processes import Part
from realuid.training.draws import Draw
from realuid.training.updates import Game, ModelCall

#: Generated and real images on which the networks are compared, and images by which diversity is measured.
PROBED, COMPARED = 256, 1000
#: Real images on which the teacher is compared with a linear denoiser, at each of five noise levels.
SCORED = 32
#: Samples in data units are images in [-1, 1]; values beyond this are out of range.
RANGE = 1.05
_TINY = 1e-12


@dataclass(frozen=True)
class Probe:
    """The networks at one draw: f*, f and y in the space of the losses, and the weights w(t)."""

    teacher: Tensor
    fake: Tensor
    target: Tensor
    weight: Tensor

    @classmethod
    def of(cls, fake: ModelCall, game: Game, draws: Sequence[Draw]) -> Probe:
        """Teacher and fake model on the noised images of micro-batches."""
        parts = [cls._at(fake, game, draw) for draw in draws]
        names = [f.name for f in dataclasses.fields(cls)]
        return cls(**{name: torch.cat([getattr(part, name) for part in parts]) for name in names})

    @classmethod
    def _at(cls, fake: ModelCall, game: Game, draw: Draw) -> Probe:
        assert draw.x_0 is not None, "a draw with images"
        path, space = game.path, game.space
        x_t, k = path.sample(draw.x_0, draw.x_T, draw.t, draw.eps)
        condition: Condition = draw.condition
        return cls(
            teacher=game.teacher(x_t, draw.t, condition, space).float(),
            fake=fake(x_t, draw.t, condition, space).float(),
            target=target(space, path, k, draw.x_0, draw.x_T, draw.eps),
            weight=game.objective.time_weight(path, draw.t, space),
        )

    def error(self, prediction: Tensor) -> Tensor:
        """Mean over samples of w ||prediction - y||^2 per element, a scalar."""
        return (self.weight * squared_norm(prediction - self.target)).mean() / prediction[0].numel()


def lag(objective: Objective, generated: Probe, real: Probe | None) -> tuple[Tensor, Tensor]:
    r"""Slope and curvature of the fake model's own loss from f towards f*: lag = -slope / curvature.

    The loss is a parabola along f + e (f* - f). The fake model that has learned its task is at the minimum, e = 0;
    where it lags behind a generator that already makes what the teacher makes, the minimum is at e = 1. So
    -slope / curvature is the share of the gap between teacher and fake model that is the fake model's lag.

    Args:
        objective: of the fake model.
        generated, real: of the draws in its loss; `real` is None if real data has no weight.

    Returns:
        first and second derivative at e = 0, scalars, means over the draws.
    """

    def loss(step: float) -> Tensor:
        total = _mean(generated, objective.fake_on_generated, step)
        return total if real is None else total + _mean(real, objective.fake_on_real, step)

    down, here, up = loss(-1.0), loss(0.0), loss(1.0)
    return (up - down) / 2, up - 2 * here + down


def _mean(probe: Probe, loss: Callable[[Tensor, Tensor, Tensor], Tensor], step: float) -> Tensor:
    moved = probe.fake.double() + step * (probe.teacher - probe.fake).double()
    losses = loss(moved, probe.target.double(), probe.teacher.double())
    return (probe.weight.double() * losses).mean()


@torch.no_grad()
def vitals(
    fake: ModelCall, game: Game, generated: Sequence[Draw], real: Sequence[Draw], accelerator: Accelerator
) -> dict[str, float]:
    """How fake model, teacher, generated and real images stand to each other, the same on all processes.

    Args:
        fake: the fake model.
        game: objective, path, space and teacher.
        generated, real: micro-batches with images.
        accelerator: of the run.

    Returns:
        lag: see `lag`; gap: mean w ||f* - f||^2 per element on generated images; errors per element:
        teacher_on_real, teacher_on_generated, fake_on_generated, fake_on_real.
    """
    of_generated, of_real = Probe.of(fake, game, generated), Probe.of(fake, game, real)
    slope, curvature = lag(game.objective, of_generated, of_real if game.objective.uses_real_data else None)
    gap = (of_generated.weight * squared_norm(of_generated.teacher - of_generated.fake)).mean()
    values = {
        "slope": slope,
        "curvature": curvature,
        "gap": gap / of_generated.fake[0].numel(),
        "teacher_on_real": of_real.error(of_real.teacher),
        "teacher_on_generated": of_generated.error(of_generated.teacher),
        "fake_on_generated": of_generated.error(of_generated.fake),
        "fake_on_real": of_real.error(of_real.fake),
    }
    means = accelerator.reduce(torch.stack([v.double() for v in values.values()]).float(), reduction="mean").tolist()
    found = dict(zip(values, means, strict=True))
    found["lag"] = -found.pop("slope") / max(found.pop("curvature"), _TINY)
    return found


def teacher_score(teacher: MatchingModel, data: Dataset) -> dict[str, float]:
    """teacher: its denoising error as a share of a linear denoiser's; nothing for no teacher, and on latents."""
    if teacher.codec or isinstance(teacher.network, Silent):
        return {}
    return {"teacher": check_teacher(teacher, data, images=SCORED).declared.score}


class Looks:
    """Diversity and range of samples, from the batches of an evaluation as they pass.

    Args:
        data: real data, whose diversity is the measure.
        model: what makes the samples.
        count: how many.
        part: which of them pass here.
    """

    def __init__(self, data: Dataset, model: MatchingModel | Student, count: int, part: Part):
        self.data, self.part = data, part
        self.labels = None if data.labels is None else conditions(model, data, count).get(LABEL)
        self.images: list[Tensor] = []
        self.beyond, self.values = torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)

    def watch(self, batches: Iterator[list[Tensor]]) -> Iterator[list[Tensor]]:
        """The same batches; the last tensor of each is looked at."""
        for batch in batches:
            x = batch[-1]
            self.beyond += (x.abs() > RANGE).sum().cpu()
            self.values += x.numel()
            if sum(map(len, self.images)) < COMPARED:
                self.images.append(x.float().cpu())
            yield batch

    def summary(self) -> dict[str, float]:
        """Share of values out of range (images), and spread within the classes as a share of the data's."""
        beyond, values = self.part.total(self.beyond), self.part.total(self.values)
        found = {"out_of_range": float(beyond / values)} if self.data.is_image else {}
        if self.part.world == 1 and self.images:
            found["spread_within"] = self._spread_within()
        return found

    def _spread_within(self) -> float:
        count = min(COMPARED, len(self.data))
        images, labels, real_labels = torch.cat(self.images)[:COMPARED], None, None
        if self.labels is not None and self.data.labels is not None:
            labels, real_labels = self.labels.cpu()[: len(images)], self.data.column(LABEL)[:][:count].cpu()
        real = spread_within(to_float(self.data.values[:count]).cpu(), real_labels)
        return spread_within(images, labels) / max(real, _TINY)


def spread_within(x: Tensor, labels: Tensor | None) -> float:
    """Root mean square distance of two samples of one class, shape (n, *shape); of all samples without classes."""
    flat = x.flatten(1).double()
    groups = [flat] if labels is None else [flat[labels == label] for label in labels.unique()]
    variances = [len(group) * group.var(dim=0).sum() for group in groups if len(group) > 1]
    counted = sum(len(group) for group in groups if len(group) > 1)
    return float((2 * sum(chain(variances)) / max(counted, 1)) ** 0.5)
