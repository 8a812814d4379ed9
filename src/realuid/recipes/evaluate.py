"""How good a model is: distances to data, classes, restored pairs and speed, over several seeds."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from realuid.data import Dataset
from realuid.metrics import (
    ClassAgreement,
    Classifier,
    ClassScores,
    Evaluator,
    Restoration,
    classifier,
    make_extractor,
    tells_classes,
)
from realuid.models import MatchingModel, Student, model_device
from realuid.models.networks.condition import LABEL
from realuid.on_data import BATCH, conditions, samples
from realuid.processes import WHOLE, Part
from realuid.recipes.sections import EvaluateConfig
from realuid.sampling import OneStep, find_sampler
from realuid.seeds import mix


def make_evaluator(data: Dataset, config: EvaluateConfig, device: torch.device | str = "cpu") -> Evaluator:
    """The evaluator for a data set: its feature extractor and the data's statistics, cached."""
    return Evaluator(data, make_extractor(config.extractor, data, config.inception_weights), device)


@dataclass(frozen=True)
class Evaluation:
    """What is known about the quality of a model; lists hold one number a seed."""

    fd: list[float]
    kid: list[float]
    precision: list[float]
    recall: list[float]
    samples: int
    calls: int
    #: How well pairs are restored, see `realuid.metrics.Restoration`; empty where samples do not come in pairs.
    restoration: dict[str, float] = field(default_factory=dict)
    #: Of the first seed's samples; None where they were not asked for by class, or the data has no labels.
    classes: ClassScores | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers for JSON, with mean and spread (sample standard deviation) of fd."""
        spread = statistics.stdev(self.fd) if len(self.fd) > 1 else 0.0
        return {
            "calls": self.calls,
            "samples": self.samples,
            "fd": self.fd,
            "fd_mean": statistics.mean(self.fd),
            "fd_std": spread,
            "kid": statistics.mean(self.kid),
            "precision": statistics.mean(self.precision),
            "recall": statistics.mean(self.recall),
            **self.restoration,
            **({} if self.classes is None else {"classes": self.classes.to_dict()}),
        }


def calls_of(model: MatchingModel | OneStep, config: EvaluateConfig) -> int:
    """Network calls a sample."""
    if not isinstance(model, MatchingModel):
        return model.calls
    calls = find_sampler(config.sampler or model.default_sampler).calls(config.steps)
    return calls if config.guidance == 1 else 2 * calls


def evaluate_model(
    model: MatchingModel | OneStep,
    evaluator: Evaluator,
    config: EvaluateConfig,
    full: bool = True,
    part: Part = WHOLE,
) -> Evaluation:
    """FD and its company over several seeds, each from one pass through the samples.

    Restored pairs are compared with the truth, and the first seed's class-conditional samples with their classes.

    Args:
        model: teacher or generator.
        evaluator: data and features to compare with.
        config: samples, seeds, and how a teacher is sampled.
        full: also KID, precision, recall (NaN otherwise) and classes.
        part: of several processes that share the samples; the figures are those of all, on each.
    """
    data, slices = evaluator.data, part.slices(config.samples, BATCH)
    restoration = Restoration(data, label_classifier(evaluator), part) if model.coupled and data.is_image else None
    classes = _class_agreement(model, evaluator, config, part) if full else None
    scores = []
    for seed in range(config.seeds):
        batches = _samples(model, data, config.samples, config, mix("fd", seed), part)
        if restoration is not None:
            batches = restoration.watch(batches, slices)
        if classes is not None and seed == 0:
            batches = classes.watch(batches)
        scores.append(evaluator.score(batches, full, part=part))
    columns = {name: [getattr(s, name) for s in scores] for name in ("fd", "kid", "precision", "recall")}
    restored = {} if restoration is None else restoration.figures()
    return Evaluation(
        **columns,
        samples=config.samples,
        calls=calls_of(model, config),
        restoration=restored,
        classes=None if classes is None else classes.scores(),
    )


def label_classifier(evaluator: Evaluator) -> Classifier | None:
    """The evaluator's feature extractor, where it is a classifier of the data's classes."""
    extractor = evaluator.extractor
    return extractor if isinstance(extractor, Classifier) and tells_classes(evaluator.data) else None


def _samples(
    model: MatchingModel | OneStep,
    data: Dataset,
    count: int,
    config: EvaluateConfig,
    seed: int = 0,
    part: Part = WHOLE,
) -> Iterator[Tensor]:
    how: dict[str, Any] = {"steps": config.steps, "sampler": config.sampler, "guidance": config.guidance}
    return samples(model, data, count, **how, seed=seed, part=part)


def _class_agreement(
    model: MatchingModel | OneStep, evaluator: Evaluator, config: EvaluateConfig, part: Part
) -> ClassAgreement | None:
    """What watches whether samples show their class; None for unconditional models, or data without labels."""
    data = evaluator.data
    labels = conditions(model, data, config.samples).get(LABEL) if data.is_image and tells_classes(data) else None
    if labels is None:
        return None
    # seed 1: the evaluator's own features come from the classifier of seed 0
    return ClassAgreement(labels.cpu(), evaluator, classifier(data, seed=1), part)


#: Seconds after which no further round of sampling is timed.
LONG = 30.0


def images_per_second(
    models: dict[str, MatchingModel | Student],
    data: Dataset,
    config: EvaluateConfig,
    batch: int = 500,
    rounds: int = 3,
) -> dict[str, float]:
    """Sampling speed of several models, measured in turns (medians), so that a machine's moods hit all alike.

    The first round is a warm-up, and the only one where it takes so long that nothing of a start is left in it.
    """
    times: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(rounds + 1):
        for name, model in models.items():
            times[name].append(_seconds(model, data, config, batch))
        if sum(map(sum, times.values())) > LONG:
            break
    return {name: batch / statistics.median(seconds[1:] or seconds) for name, seconds in times.items()}


def _seconds(model: MatchingModel | Student, data: Dataset, config: EvaluateConfig, batch: int) -> float:
    synchronise: Callable[[], None] = torch.cuda.synchronize if model_device(model).type == "cuda" else lambda: None
    synchronise()
    start = time.perf_counter()
    for _ in _samples(model, data, batch, config):
        pass
    synchronise()
    return time.perf_counter() - start


def fd_between_halves(evaluator: Evaluator, splits: int = 10) -> float:
    """FD between two random halves of the real data, mean over several splits: a yardstick for the FD of models."""
    distances = []
    for seed in range(splits):
        order = torch.randperm(len(evaluator.data), generator=torch.Generator().manual_seed(seed))
        first, second = (evaluator.features_at(half) for half in order.tensor_split(2))
        distances.append(evaluator.distance_of_features(first, second))
    return statistics.mean(distances)
