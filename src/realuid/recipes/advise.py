"""A first (alpha, beta) for a teacher and data: the paper's findings, and a probe of the teacher beside them.

Not measured yet: whether a student does better for following the probe is unknown, so it only words the advice.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from realuid.data import Dataset
from realuid.errors import ConfigError
from realuid.models import MatchingModel
from realuid.sampling import balanced_labels, generate
from realuid.training.batches import Batches
from realuid.training.distill import check_fits
from realuid.training.updates import teacher_loss

#: The best published pairs, by whether the teacher is conditional and whether a distilled generator is fine-tuned.
PUBLISHED = {
    (False, False): (0.92, 0.94),
    (True, False): (0.98, 0.96),
    (False, True): (0.92, 0.86),
    (True, True): (0.96, 0.92),
}
#: Up to this loss ratio real data tells the teacher little that it does not know.
_NEAR = 1.05


@dataclass(frozen=True)
class Advice:
    """What to try first, and what that is based on.

    Attributes:
        alpha, beta: the proposal.
        real_loss, own_loss: the teacher's matching loss on real data and on its own samples.
        reasons: sentences.
    """

    alpha: float
    beta: float
    real_loss: float
    own_loss: float
    reasons: tuple[str, ...]


@torch.no_grad()
def probe(teacher: MatchingModel, data: Dataset, count: int = 1000, steps: int = 50) -> tuple[float, float]:
    """The teacher's matching loss on real data and on its own samples, same times and noise; equal for a perfect one.

    Args:
        teacher: on images or points, of an uncoupled path.
        data: best data that the teacher has not seen.
        count: how many of either.
        steps: of the teacher's own sampler.
    """
    if teacher.codec or teacher.coupled:
        raise ConfigError("advice is for teachers on images or points with Gaussian sources: this one has other ones.")
    check_fits(teacher, data)
    count, labels = min(count, len(data)), None
    real = data if teacher.num_classes else data.without_labels()
    if teacher.num_classes:
        labels = balanced_labels(count, teacher.num_classes)
        real = _balanced(real, labels)
    values = torch.cat(list(generate(teacher, count, labels=labels, steps=steps))).cpu()
    own = Dataset(values, labels, "own samples", real.classes)
    losses = []
    for each in (real, own):
        draw = Batches(each.to(teacher.device), teacher.path, seed=0).real("probe", 0, count)
        losses.append(float(teacher_loss(teacher, teacher.path, teacher.prediction, draw, count)))
    return losses[0], losses[1]


def _balanced(data: Dataset, labels: torch.Tensor) -> Dataset:
    """As many real samples of every class as `labels` has, where the data has so many."""
    assert data.labels is not None
    index = [torch.nonzero(data.labels == c)[: int((labels == c).sum()), 0] for c in labels.unique()]
    return data.subset(torch.cat(index))


def advise(
    teacher: MatchingModel, data: Dataset, fine_tune: bool = False, count: int = 1000, steps: int = 50
) -> Advice:
    """Propose (alpha, beta); arguments as for `probe`, and whether a distilled generator is to be fine-tuned."""
    real, own = probe(teacher, data, count, steps)
    alpha, beta = PUBLISHED[bool(teacher.num_classes), fine_tune]
    kind = "class-conditional" if teacher.num_classes else "unconditional"
    stage = "fine-tuning" if fine_tune else "distillation from scratch"
    ratio = real / own
    if ratio <= _NEAR:
        probed = "it knows these data about as well as its own samples, so expect little from real data beyond pace"
    else:
        probed = (
            "real data is harder for it: there is something to correct. Where no data resembles the samples, "
            "beta / alpha corrects; where they cover the data, errors grow by 1 / beta, so keep beta near 1"
        )
    return Advice(
        alpha,
        beta,
        real,
        own,
        (
            f"published: ({alpha:g}, {beta:g}) was best for {kind} CIFAR-10, {stage}.",
            f"probe: the teacher's matching loss on the data is {ratio:.3g} times that on its own samples; {probed}.",
            "not measured: no run has shown yet that following the probe helps. Compare with (1, 1), over some seeds.",
        ),
    )
