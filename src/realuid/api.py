"""The Python interface in a few functions: load data and models, train, distil, sample, evaluate, export."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch
from torch import Tensor

from realuid.data import Dataset, load_dataset
from realuid.exports import Export, ExportOptions, FormatName, export_student, load_any
from realuid.models import Generator, MatchingModel, NetworkConfig
from realuid.recipes import DataConfig, EvaluateConfig, PathConfig, Recipe
from realuid.recipes.run import Measurement, make_evaluator, measure, new_teacher
from realuid.sampling import OneStep, generate
from realuid.teachers import load_generator, load_model, load_teacher
from realuid.teachers.check import check_teacher, require_sound
from realuid.training import DistillConfig, TeacherConfig, distill_teacher, fine_tuning, load_start, train_teacher
from realuid.training.config import to_dict
from realuid.training.distill import check_fits


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
    start: Generator | MatchingModel | str | Path | None = None,
    start_ema: float | None = None,
    fake: MatchingModel | None = None,
    trust_teacher: bool = False,
) -> Generator:
    """Distil a teacher into a one-step generator by RealUID.

    Args:
        teacher: a model, or what `load_teacher` takes.
        data: real data, or what `load_dataset` takes.
        alpha, beta: the loss's coefficients; 1, 1 uses no real data.
        out: folder of the run.
        config: all other settings (its alpha and beta are replaced).
        start: fine-tune this distilled generator instead of distilling from scratch; or a model to make one of.
        start_ema: which average of its weights, where `start` is a run's folder; None takes the best.
        fake: weights the fake model starts from, on the teacher's path; by default what `config.fake_start` says.
        trust_teacher: go on even if the teacher denoises the data worse than trivially (see `check_teacher`).

    Raises:
        CheckpointError: for such a teacher, with the likely cause.

    Returns:
        the generator: `generator(z)` turns standard normal z, shape (b, *shape), into samples in [-1, 1] (or latents,
        which `sample` decodes); `generator(z, Condition(x_T=...))` on a coupled path.
    """
    model = teacher if isinstance(teacher, MatchingModel) else load_teacher(teacher)
    begin = load_start(start, start_ema) if isinstance(start, str | Path) else start
    if config is None:
        config = fine_tuning(DistillConfig()) if isinstance(begin, Generator) else DistillConfig()
    config = dataclasses.replace(config, alpha=alpha, beta=beta)
    source, data = data, _data(data)
    check_fits(model, data)
    if not trust_teacher:
        require_sound(model, data)
    about = {
        "data": source if isinstance(source, str) else source.name,
        "teacher": _name(teacher),
        "distillation": to_dict(config),
    }
    return distill_teacher(model, data, config, out, start=begin, fake=fake, about=about)


def _name(teacher: MatchingModel | str | Path) -> str:
    """What a teacher is called in the record of its student: where it was loaded from, or what it is."""
    if not isinstance(teacher, MatchingModel):
        return str(teacher)
    return teacher.origin or str(teacher.network.settings.get("function", type(teacher.network).__name__))


def sample(
    model: MatchingModel | OneStep | str | Path,
    count: int,
    *,
    labels: Tensor | None = None,
    sources: Tensor | None = None,
    steps: int = 50,
    sampler: str | None = None,
    seed: int = 0,
) -> Tensor:
    """Draw samples, shape (count, *image_shape), in data units ([-1, 1] for images).

    Args:
        model: a teacher, a generator, what `load_model` takes, or what `export` wrote.
        count: how many.
        labels: classes, int64, shape (count,), for a conditional model.
        sources: x_T in data units, shape (count, *shape), for a coupled path.
        steps, sampler: for a teacher; by default its path's own sampler.
        seed: of the noise.
    """
    loaded = load_any(model) if isinstance(model, str | Path) else model
    batches = generate(loaded, count, labels=labels, sources=sources, steps=steps, sampler=sampler, seed=seed)
    return torch.cat(list(batches))


def evaluate(
    model: MatchingModel | Generator | str | Path, data: Dataset | str, config: EvaluateConfig | None = None
) -> Measurement:
    """FD, KID, precision and recall of a model against data, one number a seed.

    Args:
        model: a teacher, a generator, or what `load_model` takes.
        data: real data, or what `load_dataset` takes.
        config: samples, seeds, feature extractor, and how a teacher is sampled.
    """
    loaded = load_model(model) if isinstance(model, str | Path) else model
    config = config or EvaluateConfig()
    return measure(loaded, make_evaluator(_data(data), config), config)


def export(
    generator: Generator | str | Path,
    out: str | Path,
    to: FormatName,
    *,
    options: ExportOptions | None = None,
    data: Dataset | str | None = None,
    evaluate: EvaluateConfig | None = None,
    push_to_hub: str = "",
    private: bool = False,
) -> Export:
    """Write a one-step generator in another format, read it back and compare; nothing is written where they differ.

    Args:
        generator: a generator, or where one is; of a run folder, the averaged weights.
        out: a new folder (diffusers) or a file: .onnx, .pt2 (torch), .safetensors, .pt (authors).
        to: 'diffusers', 'onnx', 'torch', 'safetensors' or 'authors'.
        options: uint8 images, reduced precision, licence, ...
        data: measure the FD against it, for the model card and for a reduced precision.
        evaluate: how that is measured.
        push_to_hub: upload the folder to this repository, owner/name (diffusers).
        private: of a repository that is created.

    Returns:
        where it is, how far its images are from the generator's, and what was measured.

    Raises:
        ExportError: where the format has no room for the model, the result differs, or the upload fails.
    """
    return export_student(
        generator,
        out,
        to,
        options,
        data=None if data is None else _data(data),
        evaluate=evaluate,
        push_to_hub=push_to_hub,
        private=private,
    )


__all__ = [
    "check_teacher",
    "distill",
    "evaluate",
    "export",
    "load_dataset",
    "load_generator",
    "load_model",
    "load_teacher",
    "sample",
    "train",
]
