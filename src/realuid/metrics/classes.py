"""Class agreement and FD by class of class-conditional samples."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor

from realuid.data import to_uint8
from realuid.errors import DataError
from realuid.metrics.evaluate import Evaluator
from realuid.metrics.features import Classifier
from realuid.processes import WHOLE, Part


@dataclass(frozen=True)
class ClassScores:
    """Scores of class-conditional samples; the lists hold one number a class, None where it has too few images.

    Attributes:
        agreement: fraction of samples that the classifier assigns to the class asked for.
        agreement_by_class: the same, class by class; None for classes without samples.
        fd_by_class: Frechet distance of a class's samples to its real images; None with fewer than two of either.
    """

    agreement: float
    agreement_by_class: list[float | None]
    fd_by_class: list[float | None]

    def to_dict(self) -> dict:
        """Plain numbers for JSON."""
        return dataclasses.asdict(self)


class ClassAgreement:
    """Computes class scores of samples that come in batches.

    Args:
        labels: the class that was asked for, sample by sample, shape (n,).
        evaluator: whose features and data the distances are measured with; the data must be labelled.
        classifier: of the data's classes, and not the one whose features the evaluator uses.
        part: of several processes, each of which adds its own samples (and has all labels); scores are those of all.

    Raises:
        DataError: for data without labels.
    """

    def __init__(self, labels: Tensor, evaluator: Evaluator, classifier: Classifier, part: Part = WHOLE):
        if evaluator.data.labels is None:
            name = evaluator.data.name
            raise DataError(f"'{name}' has no labels: class-conditional samples cannot be compared with it.")
        self.labels, self.evaluator, self.classifier = labels, evaluator, classifier.to(evaluator.device)
        self.part = part
        self._seen: list[Tensor] = []
        self._features: list[Tensor] = []

    def add(self, batch: Tensor) -> None:
        """Count the next batch in the order of the labels (of this part): float in [-1, 1], shape (b, c, h, w)."""
        images = to_uint8(batch)
        self._seen.append(self.classifier.logits(images.to(self.evaluator.device)).argmax(1).cpu())
        self._features.append(self.evaluator.features(images))

    def scores(self) -> ClassScores:
        """Scores of all samples added."""
        right = torch.cat(self.part.in_order(self._seen)) == self.labels
        data, found = self.evaluator.data, torch.cat(self.part.in_order(self._features))
        true = data.column("label")[:]
        by_class = [((true == c).nonzero().flatten(), self.labels == c) for c in range(data.num_classes)]
        return ClassScores(
            agreement=right.float().mean().item(),
            agreement_by_class=[right[mine].float().mean().item() if mine.any() else None for _, mine in by_class],
            fd_by_class=[self._fd(real, found[mine]) for real, mine in by_class],
        )

    def _fd(self, real: Tensor, found: Tensor) -> float | None:
        if min(len(real), len(found)) < 2:  # a covariance needs two
            return None
        return self.evaluator.distance_of_features(self.evaluator.features_at(real), found)
