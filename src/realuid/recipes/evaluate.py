"""Evaluation of models over several seeds: distances to data, class agreement, restoration, speed."""

from __future__ import annotations

import dataclasses
import math
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
    Scores,
    classifier,
    make_extractor,
    tells_classes,
)
from realuid.models import Guided, MatchingModel, Student, guided
from realuid.models.networks.condition import LABEL
from realuid.on_data import BATCH, adopt_null, conditions, samples, samples_of_each_call
from realuid.processes import WHOLE, Part
from realuid.progress import track
from realuid.recipes.sections import EvaluateConfig
from realuid.sampling import OneStep, SamplingOptions, check_use, find_sampler
from realuid.seeds import mix, stream
from realuid.text import in_html
from realuid.training.compatibility import check_fits, check_sampling


def make_evaluator(data: Dataset, config: EvaluateConfig, device: torch.device | str = "cpu") -> Evaluator:
    """The evaluator for a data set: its feature extractor and the data's statistics, cached."""
    return Evaluator(data, make_extractor(config.extractor, data, config.inception_weights), device)


def check_evaluation(model: MatchingModel | OneStep, data: Dataset, config: EvaluateConfig) -> None:
    """Raise the errors of an evaluation before features of the data are computed.

    A teacher that does not know the empty prompt learns it from data that `realuid prepare` wrote, for guidance.
    """
    check_fits(model, data)
    check_use(model, config.sampler, config.guidance, clip=config.clip)
    if isinstance(model, MatchingModel):
        adopt_null(model, data)
        check_sampling(model, config.steps, config.sampler, config.guidance)


@dataclass(frozen=True, repr=False)
class Evaluation:
    """Metrics of a model; lists hold one number for each seed."""

    fd: list[float]
    kid: list[float]
    precision: list[float]
    recall: list[float]
    samples: int
    calls: int
    #: Of points: the sliced Wasserstein distance, which sees shapes; FD in coordinates sees mean and covariance only.
    sliced: list[float] = field(default_factory=list)
    #: Of a student of several calls: the same after 1, 2, ... of them, from the same rollouts, without classes.
    by_calls: list[Evaluation] = field(default_factory=list)
    #: How well pairs are restored, see `realuid.metrics.Restoration`; empty where samples do not come in pairs.
    restoration: dict[str, float] = field(default_factory=dict)
    #: Of the first seed's samples; None where they were not asked for by class, or the data has no labels.
    classes: ClassScores | None = None

    def __repr__(self) -> str:
        return f"Evaluation({', '.join(f'{name}: {value}' for name, value in self._facts().items())})"

    def _repr_html_(self) -> str:
        return in_html("Evaluation", self._facts())

    def _facts(self) -> dict[str, str]:
        seeds = f"{len(self.fd)} seed{'s' if len(self.fd) > 1 else ''}"
        values = {"FD": self.fd, "KID": self.kid, "precision": self.precision, "recall": self.recall}
        values |= {"sliced Wasserstein": self.sliced} if self.sliced else {}
        told = {name: _mean(numbers) for name, numbers in values.items()}
        told |= {name: f"{value:.4g}" for name, value in self.restoration.items()}
        return {**told, "calls": str(self.calls), "samples": f"{self.samples:,}, {seeds}"}

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
            **({"sliced": statistics.mean(self.sliced)} if self.sliced else {}),
            **({"by_calls": [fewer.to_dict() for fewer in self.by_calls]} if self.by_calls else {}),
            **self.restoration,
            **({} if self.classes is None else {"classes": self.classes.to_dict()}),
        }


def _mean(numbers: list[float]) -> str:
    spread = f"±{statistics.stdev(numbers):.2g}" if len(numbers) > 1 else ""
    return f"{statistics.mean(numbers):.4g}{spread}"


def calls_of(model: MatchingModel | OneStep, config: EvaluateConfig) -> int:
    """Network calls a sample."""
    if not isinstance(model, MatchingModel):
        return model.calls
    calls = find_sampler(config.sampler or model.default_sampler).calls(config.steps)
    return 2 * calls if isinstance(guided(model, config.guidance), Guided) else calls


def evaluate_model(
    model: MatchingModel | OneStep,
    evaluator: Evaluator,
    config: EvaluateConfig,
    full: bool = True,
    part: Part = WHOLE,
) -> Evaluation:
    """FD and other metrics over several seeds, each from one pass over the samples.

    Restored pairs are compared with the truth, and the first seed's class-conditional samples with their classes.

    Args:
        model: teacher or generator.
        evaluator: data and features to compare with.
        config: samples, seeds, and the sampler of a teacher.
        full: also KID, precision, recall (NaN otherwise) and classes.
        part: index and number of processes that divide the samples; every process returns the metrics of all.
    """
    data, slices = evaluator.data, part.slices(config.samples, BATCH)
    classes = _class_agreement(model, evaluator, config, part) if full else None
    calls = calls_of(model, config)
    kinds = calls if isinstance(model, Student) else 1
    pairs = kinds if model.coupled and data.is_image else 0
    restorations = [Restoration(data, label_classifier(evaluator), part) for _ in range(pairs)]

    def counted(batches: Iterable[list[Tensor]], seed: int) -> Iterator[list[Tensor]]:
        for found, which in zip(batches, slices, strict=True):
            for n, restoration in enumerate(restorations):
                restoration.add(found[n], which)
            if classes is not None and seed == 0:
                classes.add(found[-1])
            yield found

    scores = []
    for seed in range(config.seeds):
        found = samples_of_each_call(model, data, config.samples, **_how(config), seed=mix("fd", seed), part=part)
        title = f"evaluating, seed {seed + 1} of {config.seeds}"
        batches = (each[-kinds:] for each in track(found, title, config.samples // part.world, BATCH))
        scores.append(evaluator.score_each(counted(batches, seed), kinds, full, part=part))
    restored = [restoration.figures() for restoration in restorations] or [{}] * kinds
    by_kind = zip(zip(*scores, strict=True), restored, strict=True)
    measured = [_evaluation(of_kind, config.samples, n, own) for n, (of_kind, own) in enumerate(by_kind, 1)]
    return dataclasses.replace(
        measured[-1],
        calls=calls,
        by_calls=measured if kinds > 1 else [],
        classes=None if classes is None else classes.scores(),
    )


def _evaluation(scores: Sequence[Scores], samples: int, calls: int, restoration: dict[str, float]) -> Evaluation:
    """The evaluation from the scores of all seeds."""
    names = ("fd", "kid", "precision", "recall")
    fd, kid, precision, recall = ([getattr(each, name) for each in scores] for name in names)
    sliced = [each.sliced for each in scores if not math.isnan(each.sliced)]
    return Evaluation(fd, kid, precision, recall, samples, calls, sliced=sliced, restoration=restoration)


def label_classifier(evaluator: Evaluator) -> Classifier | None:
    """The evaluator's feature extractor, where it is a classifier of the data's classes."""
    extractor = evaluator.extractor
    return extractor if isinstance(extractor, Classifier) and tells_classes(evaluator.data) else None


def _how(config: EvaluateConfig) -> SamplingOptions:
    return {"steps": config.steps, "sampler": config.sampler, "guidance": config.guidance, "clip": config.clip}


def _class_agreement(
    model: MatchingModel | OneStep, evaluator: Evaluator, config: EvaluateConfig, part: Part
) -> ClassAgreement | None:
    """Computes class agreement of samples; None for unconditional models, or data without labels."""
    data = evaluator.data
    labels = conditions(model, data, config.samples).get(LABEL) if data.is_image and tells_classes(data) else None
    if labels is None:
        return None
    # seed 1: the evaluator's own features come from the classifier of seed 0
    return ClassAgreement(labels.cpu(), evaluator, classifier(data, seed=1), part)


#: Seconds for each model after which no further round of sampling is timed.
LONG = 5.0


def images_per_second(
    models: Mapping[str, MatchingModel | OneStep], data: Dataset, config: EvaluateConfig, rounds: int = 3
) -> dict[str, float]:
    """Sampling speed of several models in images per second: medians of interleaved rounds, of a batch as evaluated.

    The first round is a warm-up, unless it takes so long that it is the only one.
    """
    times: dict[str, list[float]] = {name: [] for name in models}
    batch = min(BATCH, config.samples)
    for _ in range(rounds + 1):
        for name, model in models.items():
            times[name].append(_seconds(model, data, config, batch))
        if sum(map(sum, times.values())) > LONG * len(models):
            break
    return {name: batch / statistics.median(seconds[1:] or seconds) for name, seconds in times.items()}


def _seconds(model: MatchingModel | OneStep, data: Dataset, config: EvaluateConfig, batch: int) -> float:
    synchronise: Callable[[], None] = torch.cuda.synchronize if model.device.type == "cuda" else lambda: None
    synchronise()
    start = time.perf_counter()
    for _ in samples(model, data, batch, **_how(config)):
        pass
    synchronise()
    return time.perf_counter() - start


def fd_between_halves(evaluator: Evaluator, splits: int = 10) -> float:
    """FD between two random halves of the real data, mean over several splits: a reference for the FD of models."""
    features, distances = evaluator.features_at(torch.arange(len(evaluator.data))), []
    for seed in range(splits):
        order = torch.randperm(len(evaluator.data), generator=torch.Generator().manual_seed(seed))
        first, second = (features[half] for half in order.tensor_split(2))
        distances.append(evaluator.distance_of_features(first, second))
    return statistics.mean(distances)


def fd_of_real(evaluator: Evaluator, count: int) -> float:
    """FD of `count` real images, drawn with replacement: what a model that makes the data's distribution would have."""
    index = torch.randint(len(evaluator.data), (count,), generator=stream(0, "real images"))
    return evaluator.score_of_features(evaluator.features_at(index))
