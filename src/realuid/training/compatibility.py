"""Does what a run is given fit together? All such checks: models, data and settings against each other."""

from __future__ import annotations

from realuid.data import Dataset, check_pairs
from realuid.errors import ConfigError, DataError
from realuid.models import MatchingModel, guided
from realuid.objectives import choose_space
from realuid.sampling import OneStep
from realuid.training.config import DistillConfig


def check_batch(batch: int, data: Dataset) -> None:
    """Raise DataError if a batch of real data is larger than the data."""
    if batch > len(data):
        raise DataError(f"a batch of {batch} is larger than the data ({len(data)} samples). Lower the batch size.")


def check_start(teacher: MatchingModel, start: MatchingModel | None, fake: MatchingModel | None) -> None:
    """Raise ConfigError unless generator and fake model have weights to start from, and both fit the teacher."""
    for name, model in (("start", start), ("fake", fake)):
        if next((model or teacher).parameters(), None) is None:
            raise ConfigError(
                f"the {'teacher' if model is None else name} has no parameters, so nothing could learn: pass {name} = "
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


def check_distillation(teacher: MatchingModel, config: DistillConfig) -> str:
    """The prediction in which the losses are taken, or an error where these settings are not for this teacher.

    Raises:
        ConfigError: for a space that the objective is not defined in, a t_init outside the path's times, no noise where
            there is no x_T, or guidance of a teacher that has no null class.
        PredictionError: where that prediction, or the data's, does not follow from the teacher's.
    """
    usual = teacher.prediction if teacher.heads > 1 else teacher.path.default_prediction
    space = choose_space(config.make_objective(), teacher.path, config.space, usual)
    teacher.check_space(space)
    guided(teacher, config.guidance)
    config.make_student(teacher)
    return space


def check_fits(model: MatchingModel | OneStep, data: Dataset) -> None:
    """Raise ConfigError unless model and data have the same shape and, if conditional, enough classes.

    Raises:
        DataError: for a coupled path without pairs.
    """
    check_pairs(model, data)
    if model.codec and model.coupled:
        raise ConfigError("the model starts from source images, and those cannot be latents yet: use one on pixels.")
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
    for spec in model.conditions:
        column = data.column(spec.name)
        if spec.kind in ("text", "vector"):
            spec.check(column, len(data))


def check_degradation(teacher: MatchingModel, data: Dataset) -> None:
    """Raise ConfigError where a teacher learnt to undo another degradation than that of the data; '' is unknown."""
    if teacher.degradation and data.degradation and teacher.degradation != data.degradation:
        raise ConfigError(
            f"data.pairs = {data.degradation}, but the teacher was trained on pairs of {teacher.degradation}. Pass "
            f"--data.pairs {teacher.degradation}, or another teacher."
        )
