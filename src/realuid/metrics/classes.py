"""Do class-conditional samples show the class that was asked for, and is every class good by itself?"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
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
    """Scores of class-conditional samples; the lists hold one number a class.

    Attributes:
        agreement: share of samples in which the classifier sees the class that was asked for.
        agreement_by_class: the same, class by class.
        fd_by_class: Frechet distance of a class's samples to its real images.
    """

    agreement: float
    agreement_by_class: list[float]
    fd_by_class: list[float]

    def to_dict(self) -> dict:
        """Plain numbers for JSON."""
        return dataclasses.asdict(self)


def class_scores(
    samples: Iterable[Tensor], labels: Tensor, evaluator: Evaluator, classifier: Classifier, part: Part = WHOLE
) -> ClassScores:
    """Score class-conditional samples.

    Args:
        samples: float batches of images in [-1, 1], shape (b, c, h, w), in the order of `labels`.
        labels: the class that was asked for, shape (n,); at least two samples of every class.
        evaluator: whose features and data the distances are measured with; the data must be labelled.
        classifier: of the data's classes, and not the one whose features the evaluator uses.
        part: of several processes, each of which passes its own batches (and all labels).

    Raises:
        DataError: for data without labels.
    """
    data = evaluator.data
    if data.labels is None:
        raise DataError(f"'{data.name}' has no labels: class-conditional samples cannot be compared with it.")
    classifier = classifier.to(evaluator.device)
    seen, features = [], []
    for batch in samples:
        images = to_uint8(batch)
        seen.append(classifier.logits(images.to(evaluator.device)).argmax(1).cpu())
        features.append(evaluator.features(images))
    right, found = torch.cat(part.in_order(seen)) == labels, torch.cat(part.in_order(features))
    classes = range(data.num_classes)
    return ClassScores(
        agreement=right.float().mean().item(),
        agreement_by_class=[right[labels == c].float().mean().item() for c in classes],
        fd_by_class=[
            evaluator.distance_of_features(evaluator.features_of(data.values[data.labels == c]), found[labels == c])
            for c in classes
        ],
    )
