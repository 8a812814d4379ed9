"""How good is a teacher? Its FD beside that of two halves of the real data, and what a separate classifier makes of it.

    python benchmarks/teacher_quality.py runs/demo/teacher [--data digits] [--samples 10000] [--steps 50]

The classifier shares nothing with the one whose features measure FD but its architecture: another seed, other batches.
What it makes of real images that it has not seen stands beside, since no teacher can be expected to beat that.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass

import torch
import tyro

from realuid.data import Dataset, load_dataset, to_uint8
from realuid.loaders import load_model
from realuid.metrics import Evaluator, make_extractor
from realuid.metrics.features import Classifier, train_classifier
from realuid.recipes.evaluate import fd_between_halves
from realuid.sampling import generate, spread_labels

#: Confidence above which an image counts as recognised.
CONFIDENT = 0.9


@dataclass(frozen=True)
class Options:
    """Measure a teacher."""

    #: The teacher (or a one-step generator).
    model: tyro.conf.Positional[str]
    data: str = "digits"
    samples: int = 10_000
    steps: int = 50
    seeds: int = 3


def recognised(classifier: Classifier, images: torch.Tensor) -> float:
    """Share of the images that the classifier names with confidence."""
    confidence = [classifier.logits(part).softmax(1).amax(1) for part in images.split(1000)]
    return (torch.cat(confidence) > CONFIDENT).float().mean().item()


def unseen_real(data: Dataset, seed: int) -> float:
    """Share of real images recognised by a classifier that was trained on the other nine tenths."""
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(seed))
    test, train = order[: len(data) // 10], order[len(data) // 10 :]
    classifier, _ = train_classifier(data.subset(train), seed=1000 + seed)
    return recognised(classifier, data.values[test])


def main(options: Options) -> None:
    """Print the figures."""
    data = load_dataset(options.data)
    model = load_model(options.model)
    evaluator = Evaluator(data, make_extractor("classifier", data))
    halves = fd_between_halves(evaluator)
    print(f"FD of two halves of the real data: {halves:.3f}")
    separate, accuracy = train_classifier(data, seed=1000)
    print(f"separate classifier: accuracy {accuracy:.3f} on unseen real images")
    rates = [unseen_real(data, seed) for seed in range(3)]
    print(f"unseen real images recognised with confidence above {CONFIDENT}: {statistics.mean(rates):.3f}")
    for seed in range(options.seeds):
        classes = getattr(model, "num_classes", 0)
        labels = spread_labels([1] * classes, options.samples) if classes else None
        samples = list(generate(model, options.samples, labels=labels, steps=options.steps, seed=seed))
        fd = evaluator.score(samples, full=False).fd
        rate = recognised(separate, to_uint8(torch.cat(samples)))
        print(f"seed {seed}: FD {fd:.3f} ({fd / halves:.2f} of the halves'), recognised {rate:.3f}")


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
