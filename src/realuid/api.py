"""The Python interface in a few functions: load data and models, train, distil, sample, evaluate."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch
from torch import Tensor

from realuid.data import Dataset, load_dataset
from realuid.models import Generator, MatchingModel, NetworkConfig
from realuid.recipes import DataConfig, EvaluateConfig, PathConfig, Recipe
from realuid.recipes.run import Measurement, make_evaluator, measure, new_teacher
from realuid.sampling import generate
from realuid.teachers import load_generator, load_model, load_teacher
from realuid.training import DistillConfig, TeacherConfig, distill_teacher, train_teacher


def _data(data: Dataset | str) -> Dataset:
    return load_dataset(data) if isinstance(data, str) else data


def train(
    data: Dataset | str,
    out: str | Path = "runs/teacher",
    *,
    path: str | PathConfig = "linear",
    network: NetworkConfig | None = None,
    config: TeacherConfig | None = None,
    conditional: bool = False,
) -> MatchingModel:
    """Train a teacher.

    Args:
        data: a data set, or what `load_dataset` takes.
        out: folder of the run.
        path: name of the path, see `realuid.paths.PATHS`, or more: its settings, prediction and preconditioning.
        network: architecture; by default the paper's CIFAR-10 network.
        config: training settings.
        conditional: use the data's class labels.

    Returns:
        the trained teacher, with averaged weights.
    """
    recipe = Recipe(
        data=DataConfig(conditional=conditional),
        network=network or NetworkConfig(),
        path=PathConfig(path) if isinstance(path, str) else path,
        teacher=config or TeacherConfig(),
    )
    data = _data(data)
    return train_teacher(new_teacher(recipe, data), data, recipe.teacher, out)


def distill(
    teacher: MatchingModel | str | Path,
    data: Dataset | str,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    out: str | Path = "runs/student",
    config: DistillConfig | None = None,
) -> Generator:
    """Distil a teacher into a one-step generator by RealUID.

    Args:
        teacher: a model, or the folder of one.
        data: real data, or what `load_dataset` takes.
        alpha, beta: the loss's coefficients; 1, 1 uses no real data.
        out: folder of the run.
        config: all other settings (its alpha and beta are replaced).

    Returns:
        the generator: `generator(z)` turns standard normal z, shape (b, *shape), into samples in [-1, 1];
        `generator(z, Condition(x_T=...))` on a coupled path.
    """
    model = teacher if isinstance(teacher, MatchingModel) else load_teacher(teacher)
    config = dataclasses.replace(config or DistillConfig(), alpha=alpha, beta=beta)
    return distill_teacher(model, _data(data), config, out)


def sample(
    model: MatchingModel | Generator | str | Path,
    count: int,
    *,
    labels: Tensor | None = None,
    sources: Tensor | None = None,
    steps: int = 50,
    sampler: str | None = None,
    seed: int = 0,
) -> Tensor:
    """Draw samples, shape (count, *shape), in data units ([-1, 1] for images).

    Args:
        model: a teacher, a generator, or the folder of one.
        count: how many.
        labels: classes, int64, shape (count,), for a conditional model.
        sources: x_T in data units, shape (count, *shape), for a coupled path.
        steps, sampler: for a teacher; by default its path's own sampler.
        seed: of the noise.
    """
    loaded = load_model(model) if isinstance(model, str | Path) else model
    return torch.cat(
        list(generate(loaded, count, labels=labels, sources=sources, steps=steps, sampler=sampler, seed=seed))
    )


def evaluate(
    model: MatchingModel | Generator | str | Path, data: Dataset | str, config: EvaluateConfig | None = None
) -> Measurement:
    """FD, KID, precision and recall of a model against data, one number a seed.

    Args:
        model: a teacher, a generator, or the folder of one.
        data: real data, or what `load_dataset` takes.
        config: samples, seeds, feature extractor, and how a teacher is sampled.
    """
    loaded = load_model(model) if isinstance(model, str | Path) else model
    config = config or EvaluateConfig()
    return measure(loaded, make_evaluator(_data(data), config), config)


__all__ = ["distill", "evaluate", "load_dataset", "load_generator", "load_model", "load_teacher", "sample", "train"]
