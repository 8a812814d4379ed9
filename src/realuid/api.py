"""The Python interface: load data and models, train, distil, sample, evaluate, export."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Unpack

import torch
from torch import Tensor

from realuid.data import DataLike, Dataset, as_dataset, load_dataset
from realuid.errors import ConfigError
from realuid.exports import Export, ExportedStudent, ExportOptions, FormatName, export_student, load_any
from realuid.keywords import DistillOptions, RunOptions, split_keywords
from realuid.loaders import load_generator, load_model, load_teacher
from realuid.loaders.check import check_teacher, require_sound
from realuid.loaders.in_memory import is_of_diffusers
from realuid.loaders.prompts import prompt_condition
from realuid.models import MatchingModel, NetworkConfig, Student
from realuid.progress import track
from realuid.recipes import DataConfig, EvaluateConfig, PathConfig, Recipe
from realuid.recipes.choose import Choice, for_data, for_teacher, of_teacher
from realuid.recipes.evaluate import Evaluation, check_evaluation, evaluate_model, make_evaluator
from realuid.recipes.spec import NO_TEACHER, NamedTeacher, named_teacher, student_spec, teacher_spec
from realuid.sampling import OneStep, Sampling, SamplingOptions, check_use, generate
from realuid.settings import MOST_SAMPLES, check_kind, check_whole, from_keywords
from realuid.training import DistillConfig, TeacherConfig, fine_tuning, load_start

_NONE = type(None)


def _source(data: DataLike) -> tuple[str, Dataset]:
    """What a run's recipe calls its data, and the data."""
    found = as_dataset(data)
    return str(data) if isinstance(data, str | Path) else found.name, found


def train(
    data: DataLike,
    out: str | Path = "runs/teacher",
    *,
    path: str | PathConfig | None = None,
    network: NetworkConfig | None = None,
    config: TeacherConfig | None = None,
    conditional: bool | None = None,
    start: MatchingModel | str | Path | None = None,
    **keywords: Any,
) -> MatchingModel:
    """Train a teacher, as `realuid train` does: `train("my-images", recipe="demo", updates=5000, seed=1)`.

    Args:
        data: a tensor, a list of images, a data set of torch, a name or path (`realuid.data.as_dataset`).
        out: folder of the run.
        path: name of the path, see `realuid.paths.PATHS`, or a `PathConfig`.
        network: architecture.
        config: training settings, instead of the recipe's.
        conditional: use the data's class labels.
        start: train this teacher further, with its network and path: a model, or what `load_teacher` takes.
        **keywords: recipe, evaluate, resume: see `realuid.keywords.RunOptions`; and any setting of `TeacherConfig`.

    Returns:
        the trained teacher, with EMA weights.

    Raises:
        ConfigError: if `out` already holds a run, for an unknown keyword, and settings out of range.
    """
    for name, value, kind in (("network", network, NetworkConfig), ("config", config, TeacherConfig)):
        check_kind(name, value, kind, _NONE)
    check_kind("path", path, str, PathConfig, _NONE)
    run, settings = split_keywords(train, keywords, RunOptions, TeacherConfig)
    out, (source, data) = Path(out), _source(data)
    free = path is None and network is None and config is None
    base = run.settings(source, out, partial(for_data, data, DataConfig(source)) if free else None)
    chosen = dataclasses.replace(
        base,
        data=base.data if conditional is None else dataclasses.replace(base.data, conditional=conditional),
        path=PathConfig(path) if isinstance(path, str) else path or base.path,
        network=network or base.network,
        teacher=dataclasses.replace(config or base.teacher, **settings),
    )
    begin = None if start is None else _named(start, base, data)
    spec = teacher_spec(chosen, out, data, begin)
    return dataclasses.replace(spec, callbacks=run.callbacks).run(run.resume)


def distill(
    teacher: MatchingModel | str | Path | Any,
    data: DataLike,
    *,
    alpha: float | None = None,
    beta: float | None = None,
    out: str | Path = "runs/student",
    config: DistillConfig | None = None,
    **keywords: Any,
) -> Student:
    """Distil a teacher into a student of one call or a few by RealUID, as `realuid distill` does.

    For example `distill("runs/teacher", "digits", recipe="demo", alpha=0.96, beta=0.98, updates=1000, seed=1)`.

    Args:
        teacher: a model, or what `load_teacher` takes, a pipeline of diffusers among them; "none" (experimental): no
            teacher; the mixture objective learns from data alone, with the recipe's network.
        data: real data, in any form that `realuid.data.as_dataset` takes.
        alpha, beta: coefficients of the loss; 1, 1 uses no real data.
        out: folder of the run.
        config: settings of the distillation, instead of the recipe's.
        **keywords: recipe, evaluate, resume, start, start_ema, fake, trust_teacher: see
            `realuid.keywords.DistillOptions`; and any setting of `DistillConfig`.

    Raises:
        CheckpointError: for a teacher that denoises worse than a linear denoiser, with the likely cause.
        ConfigError: if `out` already holds a run, for an unknown keyword, and settings out of range.

    Returns:
        the generator: `generator(z)` turns standard normal z, shape (b, *shape), into samples in [-1, 1] (or latents,
        which `sample` decodes); `generator(z, Condition(source=...))` on a coupled path.
    """
    asked, settings = split_keywords(distill, keywords, DistillOptions, DistillConfig)
    teacher = load_teacher(teacher) if is_of_diffusers(teacher) else teacher
    check_kind("teacher", teacher, str, Path, MatchingModel)
    check_kind("config", config, DistillConfig, _NONE)
    check_kind("start", asked.start, str, Path, Student, MatchingModel, _NONE)
    check_kind("fake", asked.fake, MatchingModel, _NONE)
    start = load_start(asked.start, asked.start_ema) if isinstance(asked.start, str | Path) else asked.start
    out, (source, data) = Path(out), _source(data)
    base = asked.settings(source, out, partial(_recipe_of, teacher) if config is None else None)
    if config is None:
        config = fine_tuning(base.distill) if isinstance(start, Student) and not asked.resume else base.distill
    settings |= {name: value for name, value in (("alpha", alpha), ("beta", beta)) if value is not None}
    config = dataclasses.replace(config, **settings)
    base = dataclasses.replace(base, distill=config, students={})
    named = _named(teacher, base, data)
    run = student_spec(base, named, out, data=data, start=start, fake=asked.fake)
    if not (asked.trust_teacher or asked.resume or named.name == NO_TEACHER):
        require_sound(named.model, data)
    return dataclasses.replace(run, callbacks=asked.callbacks).run(asked.resume)


def _recipe_of(teacher: MatchingModel | str | Path) -> Choice:
    """The recipe for a teacher: its own, or one for its images."""
    if not isinstance(teacher, MatchingModel):
        if str(teacher) == NO_TEACHER:
            raise ConfigError(f"teacher = {NO_TEACHER}: name a recipe, which says which network the student has.")
        return of_teacher(teacher) or for_teacher(load_teacher(teacher))
    return (of_teacher(teacher.origin) if teacher.origin else None) or for_teacher(teacher)


def _named(teacher: MatchingModel | str | Path, recipe: Recipe, data: Dataset) -> NamedTeacher:
    if isinstance(teacher, MatchingModel):
        return NamedTeacher(teacher, _name(teacher))
    return named_teacher(str(teacher), recipe, data=data)


def _name(teacher: MatchingModel) -> str:
    """Name of a teacher in the record of its student: what it was loaded from, or its kind."""
    return teacher.origin or str(teacher.network.settings.get("function", type(teacher.network).__name__))


def sample(
    model: MatchingModel | OneStep | str | Path,
    count: int | None = None,
    *,
    prompts: Sequence[str] = (),
    prompt_encoder: str = "",
    seed: int = 0,
    **options: Unpack[SamplingOptions],
) -> Tensor:
    """Samples, shape (count, *image_shape), in data units ([-1, 1] for images).

    Args:
        model: a teacher, a student, what `load_model` takes, or an exported student.
        count: how many; with prompts by default one for each.
        prompts: what they show, in turn (models that read prompts).
        prompt_encoder: what `load_prompt_encoder` takes, if it is not the model's.
        seed: of the noise.
        **options: condition, labels, sources, for teachers steps, sampler, guidance, for students calls: see
            `realuid.sampling.SamplingOptions`.
    """
    check_kind("model", model, str, Path, MatchingModel, Student, ExportedStudent)
    loaded = load_any(model) if isinstance(model, str | Path) else model
    asked = from_keywords(sample, Sampling, options)
    check_use(loaded, asked.sampler, asked.guidance, asked.calls, asked.steps, asked.clip)
    count = check_whole("count", len(prompts) if prompts and count is None else count, 1, MOST_SAMPLES)
    if prompts:
        given = prompt_condition(loaded, prompts, count, prompt_encoder)
        options["condition"] = {**given, **(asked.condition or {})}
    return torch.cat(list(track(generate(loaded, count, seed=seed, **options), "sampling", count, 500)))


def evaluate(
    model: MatchingModel | OneStep | str | Path, data: DataLike, config: EvaluateConfig | None = None
) -> Evaluation:
    """FD, KID, precision and recall of a model against data, one number for each seed.

    Args:
        model: a teacher, a student, what `load_model` takes, or an exported student.
        data: real data, in any form that `realuid.data.as_dataset` takes.
        config: samples, seeds, feature extractor, and the sampler of a teacher.

    Raises:
        ConfigError: if model and data do not fit together, or a setting does not fit the model.
        DataError: for data that cannot be read, or too few images to measure against.
    """
    check_kind("model", model, str, Path, MatchingModel, Student, ExportedStudent)
    check_kind("config", config, EvaluateConfig, _NONE)
    loaded = load_any(model) if isinstance(model, str | Path) else model
    config, real = config or EvaluateConfig(), as_dataset(data)
    check_evaluation(loaded, real, config)
    return evaluate_model(loaded, make_evaluator(real, config), config)


def export(
    generator: Student | str | Path,
    out: str | Path,
    to: FormatName,
    *,
    options: ExportOptions | None = None,
    data: DataLike | None = None,
    evaluate: EvaluateConfig | None = None,
    push_to_hub: str = "",
    private: bool = False,
) -> Export:
    """Export a student, read the result back and compare; nothing is written if their images differ.

    Args:
        generator: a student, or its folder or file; of a run folder, the EMA weights.
        out: a new folder (diffusers) or a file: .onnx, .pt2 (torch), .safetensors, .pt (authors).
        to: 'diffusers', 'onnx', 'torch', 'safetensors' or 'authors'.
        options: uint8 images, reduced precision, licence, ...
        data: compute the FD against it, for the model card and with reduced precision.
        evaluate: settings of that evaluation.
        push_to_hub: upload the folder to this repository, owner/name (diffusers).
        private: create a private repository.

    Returns:
        path, largest difference from the student's images, and metrics.

    Raises:
        ExportError: if the format cannot hold the model, the result differs, or the upload fails.
    """
    return export_student(
        generator,
        out,
        to,
        options,
        data=None if data is None else as_dataset(data),
        evaluate=evaluate,
        push_to_hub=push_to_hub,
        private=private,
    )


__all__ = ["check_teacher", "distill", "evaluate", "export", "load_dataset", "load_generator", "load_model"]
__all__ += ["load_teacher", "sample", "train"]
