"""Checks that the models, data and settings of a run fit together."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from realuid.data import Dataset
from realuid.errors import ConfigError, DataError, PredictionError, RealUIDError
from realuid.loaders.prompts import load_prompt_encoder
from realuid.models import MatchingModel, Network, Silent, Student, example, guided, silent
from realuid.models.networks.call import check_told
from realuid.objectives import MixtureUID, UnwiseSettingWarning, advice, choose_space
from realuid.on_data import adopt_null, adopt_size, check_pairs, read_conditions
from realuid.on_data.latents import check_latents
from realuid.processes import started_together
from realuid.sampling import OneStep, generate
from realuid.training.config import DistillConfig, LoopConfig, TeacherConfig
from realuid.training.lora import ROLES
from realuid.training.roles import adapter_settings


def check_teacher_run(model: MatchingModel, data: Dataset, config: TeacherConfig) -> None:
    """All checks of the training of a teacher; warn if it could be sampled, but not distilled.

    Raises:
        DataError: for a batch larger than the data.
        ConfigError, PredictionError: for label_dropout without a null class, or a model that cannot be sampled.
    """
    check_batch(config.batch, data)
    check_flip(model, config)
    adopt_null(model, data)
    if config.label_dropout and all(spec.null is None for spec in model.conditions):
        if any(spec.kind == "text" for spec in model.conditions):
            raise ConfigError(
                f"label_dropout = {config.label_dropout}: '{data.name}' does not say what the empty prompt is. Write "
                "it with `realuid prepare`, or set label_dropout = 0."
            )
        raise ConfigError(
            f"label_dropout = {config.label_dropout}: the model has no null class. Train a "
            "conditional one (data.conditional), or set label_dropout = 0."
        )
    check_sampling(model, config.steps)
    try:
        model.check_space("data_prediction")
    except PredictionError as error:
        warnings.warn(f"this teacher can be sampled, but not distilled: {error}", UnwiseSettingWarning, stacklevel=2)


def check_student_run(
    teacher: MatchingModel,
    data: Dataset,
    config: DistillConfig,
    start: Student | MatchingModel | None = None,
    fake: MatchingModel | None = None,
) -> None:
    """All checks of a distillation; warn about discouraged settings.

    Raises:
        ConfigError, DataError, PredictionError: if teacher, data, settings and starts do not fit together.
    """
    check_fits(teacher, data)
    adopt_null(teacher, data)
    check_degradation(teacher, data)
    check_flip(teacher, config)
    check_start(teacher, start.model if isinstance(start, Student) else start, fake)
    if isinstance(start, Student):
        if start.model.path != teacher.path:
            raise ConfigError(f"start is on path {start.model.path}, the teacher on {teacher.path}.")
        config = config.of_student(start)
    check_adapters(config, start, fake)
    if isinstance(teacher.network, Silent):
        check_without_teacher(config)
    check_batch(max(config.real_batch, config.gan_batch), data)
    check_distillation(teacher, config)
    check_networks(teacher, config, fake)
    for sentence in advice(config.make_objective(), fine_tuning=isinstance(start, Student)):
        warnings.warn(sentence, UnwiseSettingWarning, stacklevel=2)


def check_batch(batch: int, data: Dataset) -> None:
    """Raise DataError if a batch of real data is larger than the data."""
    if batch > len(data):
        raise DataError(f"a batch of {batch} is larger than the data ({len(data)} samples). Lower the batch size.")


def check_flip(model: MatchingModel, config: LoopConfig) -> None:
    """Raise ConfigError for flips of images that are encoded."""
    if model.codec and config.flip:
        raise ConfigError(
            "flip = True: the data is encoded once, and flipped latents are not the latents of flipped images."
        )


def check_start(teacher: MatchingModel, start: MatchingModel | None, fake: MatchingModel | None) -> None:
    """Raise ConfigError unless student and fake model have initial weights, and both fit the teacher."""
    for name, model in (("start", start), ("fake", fake)):
        if next((model or teacher).parameters(), None) is None:
            raise ConfigError(
                f"the {'teacher' if model is None else name} has no parameters to train: pass {name} = "
                "a model of the same samples whose network has some."
            )
        if model is not None and (model.shape, model.num_classes) != (teacher.shape, teacher.num_classes):
            raise ConfigError(
                f"{name} is for samples of shape {model.shape} and {model.num_classes} classes, the teacher for "
                f"{teacher.shape} and {teacher.num_classes}."
            )
        if model is not None and set(model.conditions) != set(teacher.conditions):
            reads, needed = (" and ".join(s.what for s in m.conditions) or "nothing" for m in (model, teacher))
            raise ConfigError(f"{name} is conditional on {reads}, the teacher on {needed}: they have to read the same.")
    if fake is not None and fake.path != teacher.path:
        raise ConfigError(f"fake is on path {fake.path}, the teacher on {teacher.path}: they have to be the same.")


def check_adapters(config: DistillConfig, start: Student | MatchingModel | None, fake: MatchingModel | None) -> None:
    """Raise ConfigError for settings or starts that contradict adapters, which are initialised as the teacher."""
    begins = "an adapter begins as the teacher. "
    if config.adapts("fake") and fake is None and config.fake_begins == "random":
        raise ConfigError(
            f"fake_start = random with lora_rank = {config.lora_rank}: {begins}Pass fake_start teacher, or lora_roles "
            "student for a fake model with all of its weights."
        )
    for role, name, model in zip(ROLES, ("start", "fake"), (start, fake), strict=True):
        if config.adapts(role) and model is not None:
            raise ConfigError(
                f"{name} with lora_rank = {config.lora_rank}: {begins}Leave {name} out, or set lora_roles to the other "
                "role."
            )
    if config.lora_rank and config.compile:
        raise ConfigError(f"compile with lora_rank = {config.lora_rank}: a shared base cannot. Leave one out.")
    if config.shard and config.lora_base == "nf4":
        raise ConfigError("shard with lora_base = nf4: weights in 4 bits cannot be sharded. Leave one out.")


def check_without_teacher(config: DistillConfig) -> None:
    """Raise ConfigError for settings that need a teacher; warn that training without one is experimental."""
    objective = config.make_objective()
    if not (isinstance(objective, MixtureUID) and objective.data_weight == 1 and config.data_weight_warmup == 0):
        raise ConfigError(
            "teacher = none: only the mixture objective at data_weight = 1 from the first update on learns from data "
            "alone. Pass --objective mixture, without --data-weight and --data-weight-warmup."
        )
    for name, without in (("guidance", 1.0), ("lora_rank", 0), ("fake_start", "random")):
        if getattr(config, name) not in (without, None):
            raise ConfigError(f"{name} = {getattr(config, name)} with teacher = none: leave it at {without}.")
    warnings.warn(
        "teacher = none is experimental: the student learns from the data alone, with 0 in place of the teacher's "
        "prediction. Expect it to need more updates than with a teacher.",
        UnwiseSettingWarning,
        stacklevel=3,
    )


def check_distillation(teacher: MatchingModel, config: DistillConfig) -> str:
    """The prediction in which the losses are computed, after checking the settings against the teacher.

    Raises:
        ConfigError: for a space in which the objective is not defined, a t_init outside the path's times, no noise on a
            path without x_T, or guidance of a teacher without null class.
        PredictionError: if that prediction, or the data prediction, does not follow from the teacher's.
    """
    usual = teacher.prediction if teacher.heads > 1 else teacher.path.default_prediction
    space = choose_space(config.make_objective(), teacher.path, config.space, usual)
    teacher.check_space(space)
    guided(teacher, config.guidance)
    check_calls_of_batch(config.make_student(teacher).calls, config)
    return space


def check_networks(teacher: MatchingModel, config: DistillConfig, fake: MatchingModel | None = None) -> None:
    """Raise ConfigError if the settings ask for something that a network does not support."""
    if config.activation_checkpointing and type(teacher.network).recompute_activations is Network.recompute_activations:
        teacher.network.recompute_activations()  # which raises the error
    if config.fake_sees_call:
        check_told((fake or teacher).network, config.adapts("fake"))
    if config.lora_rank:
        adapter_settings(config).layers(teacher.network)


def check_settings(teacher: MatchingModel, data: Dataset, config: DistillConfig, whose: str) -> None:
    """Raise an error where settings are not for a teacher and data: of a distillation that begins after others.

    Args:
        teacher: trained or not.
        data, config: of the distillation, which starts from the teacher or from a student that is not made yet.
        whose: settings these are, for messages.
    """
    try:
        check_adapters(config, None, None)
        check_distillation(teacher, config)
        check_networks(teacher, config)
        check_batch(max(config.real_batch, config.gan_batch), data)
    except RealUIDError as error:
        raise type(error)(f"{whose}: {error}") from error


def check_calls_of_batch(calls: int, config: DistillConfig) -> None:
    """Raise ConfigError for settings of several calls with one call, and batches that cannot be divided evenly."""
    for name, asked in (("call_inputs", "data"), ("fake_sees_call", True), ("phases", True)):
        if calls == 1 and getattr(config, name) == asked:
            raise ConfigError(f"{name} = {asked}: only for students of several calls. Pass --calls too.")
    for name, value, other in (("renoise", config.renoise, "deterministic"), ("lambda_g", bool(config.lambda_g), True)):
        if config.phases and value == other:
            raise ConfigError(
                f"phases = True with {name} = {getattr(config, name)}: a call's prediction is evaluated with new "
                "noise, at times away from the data. Leave one out."
            )
    processes = started_together() if config.shard else 1
    if calls > 1 < processes and any(batch % (calls * processes) for batch in (config.batch, config.gan_batch)):
        raise ConfigError(
            f"shard = True with {calls} calls: every process has to make as many calls at the same time, so batch = "
            f"{config.batch} (and what the discriminator judges of it, {config.gan_batch}) must be multiples of calls "
            f"times processes, {calls * processes}."
        )


def check_fits(model: MatchingModel | OneStep, data: Dataset) -> None:
    """Raise ConfigError unless model and data have the same shape and, if conditional, enough classes.

    A text-to-image teacher of diffusers takes the size of the data, whatever its pipeline makes by default.

    Raises:
        DataError: for a coupled path without pairs.
    """
    check_pairs(model, data)
    adopt_size(model, data)
    if model.codec and model.coupled:
        raise ConfigError("the model starts from source images, which is not supported on latents: use one on pixels.")
    if model.image_shape != data.shape:
        raise ConfigError(f"the model makes samples of shape {model.image_shape}, but the data has shape {data.shape}.")
    if model.num_classes and data.labels is None:
        raise ConfigError(f"the model is conditional on {model.num_classes} classes, but the data has no labels.")
    if model.num_classes and data.num_classes > model.num_classes:
        raise ConfigError(f"the data has {data.num_classes} classes, the model only {model.num_classes}.")
    if model.num_classes and model.class_names and data.class_names:
        for number, (ours, theirs) in enumerate(zip(model.class_names, data.class_names, strict=False)):
            if ours != theirs:
                raise ConfigError(
                    f"class {number} of the model is '{ours}', of the data '{theirs}': the model was trained on other "
                    "classes, or in another order. Bring the data's classes into the model's order."
                )
    check_latents(model.codec, data)
    check_prompts(model, data)
    for spec in model.conditions:
        column = data.column(spec.name)
        if spec.kind in ("text", "vector"):
            count = len(data) if isinstance(column, Tensor) else 1
            seen = read_conditions([spec], data, torch.arange(count))[spec.name]
            spec.check(seen, count)


def check_prompts(model: MatchingModel | OneStep, data: Dataset) -> None:
    """Raise ConfigError if prompts of the data were embedded by another encoder than the one that a model reads."""
    reads = getattr(model.model if isinstance(model, Student) else model, "prompts", "")
    if not reads or reads == data.text_from.source or not data.text_from.source:
        return
    if load_prompt_encoder(reads).fingerprint != data.text_from.fingerprint:
        raise ConfigError(
            f"prompts of '{data.name}' were embedded by '{data.text_from.source}', the model reads those of '{reads}'. "
            "Prepare the data again with --teacher, or --prompt-encoder."
        )


def check_degradation(teacher: MatchingModel, data: Dataset) -> None:
    """Raise ConfigError if the teacher was trained on another degradation than that of the data; '' is unknown."""
    if teacher.degradation and data.degradation and teacher.degradation != data.degradation:
        raise ConfigError(
            f"data.pairs = {data.degradation}, but the teacher was trained on pairs of {teacher.degradation}. Pass "
            f"--data.pairs {teacher.degradation}, or another teacher."
        )


def check_sampling(model: MatchingModel, steps: int, sampler: str | None = None, guidance: float | None = None) -> None:
    """Draw one sample with the given settings and a network that returns 0.

    Raises:
        ConfigError, PredictionError: as `generate` raises if the model cannot be sampled with them.
    """
    twin = silent(model)
    condition = example(twin.conditions, 1)
    for _ in generate(twin, 1, condition=condition, steps=steps, sampler=sampler, guidance=guidance):
        pass
