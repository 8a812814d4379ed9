"""Teacher, student and fake model of a distillation, each a network of its own."""

from __future__ import annotations

import copy
from typing import NamedTuple

from realuid.models import MatchingModel, Student, fresh, guided
from realuid.seeds import mix
from realuid.training.config import DistillConfig


class Roles(NamedTuple):
    """The three networks of a distillation."""

    #: Frozen, with its guidance.
    teacher: MatchingModel
    student: Student
    fake: MatchingModel


def make_roles(
    teacher: MatchingModel,
    config: DistillConfig,
    start: Student | MatchingModel | None = None,
    fake: MatchingModel | None = None,
) -> Roles:
    """The three networks; the teacher that is passed stays as it is.

    Args:
        teacher: f*, in whose place a copy is distilled.
        config: guidance, times, and where the fake model starts.
        start: a student to go on from, or a model to make one of; by default the teacher.
        fake: weights the fake model starts from; by default what `config.fake_start` says.
    """
    return Roles(
        guided(copy.deepcopy(teacher), config.guidance), _student(teacher, config, start), _fake(teacher, config, fake)
    )


def _student(teacher: MatchingModel, config: DistillConfig, start: Student | MatchingModel | None) -> Student:
    if isinstance(start, Student):
        return copy.deepcopy(start)
    return config.make_student(copy.deepcopy(start or teacher))


def _fake(teacher: MatchingModel, config: DistillConfig, fake: MatchingModel | None) -> MatchingModel:
    if fake is not None or config.fake_start == "teacher":
        return copy.deepcopy(fake or teacher)
    return fresh(teacher, mix(config.seed, "fake start"))
