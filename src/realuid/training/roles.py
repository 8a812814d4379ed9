"""Teacher, student and fake model of a distillation: separate networks, or adapters on one frozen base."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, NamedTuple

from realuid.errors import ConfigError
from realuid.models import MatchingModel, Student, fresh, guided
from realuid.models.networks.call import can_be_told, told
from realuid.seeds import mix
from realuid.training.config import DistillConfig

if TYPE_CHECKING:  # needs an extra
    from realuid.models.networks.adapters import AdapterSettings


class Roles(NamedTuple):
    """The three networks of a distillation."""

    #: Frozen and guided.
    teacher: MatchingModel
    student: Student
    fake: MatchingModel


def make_roles(
    teacher: MatchingModel,
    config: DistillConfig,
    start: Student | MatchingModel | None = None,
    fake: MatchingModel | None = None,
) -> Roles:
    """Create the three networks; the given teacher is not changed.

    Args:
        teacher: f*, of which a copy is distilled.
        config: guidance, times, adapters, and the initialisation of the fake model.
        start: a student to continue from, or the model of a new one; by default the teacher.
        fake: initial fake model; by default as `config.fake_start` says.

    Raises:
        ConfigError: for adapters if PEFT is not installed, or the network has no layer for them.
    """
    if config.lora_rank:
        roles = _on_one_base(teacher, config, start, fake)
    else:
        frozen = guided(copy.deepcopy(teacher), config.guidance)
        roles = Roles(frozen, _student(teacher, config, start), _fake(teacher, config, fake))
    several, network = roles.student.calls > 1, roles.fake.network
    if (several and can_be_told(network)) if config.fake_sees_call is None else config.fake_sees_call:
        roles.fake.network = told(network, roles.student.calls)
    return roles


def _student(teacher: MatchingModel, config: DistillConfig, start: Student | MatchingModel | None) -> Student:
    if isinstance(start, Student):
        return config.of_student(start).make_student(copy.deepcopy(start.model))
    return config.make_student(copy.deepcopy(start or teacher))


def _fake(teacher: MatchingModel, config: DistillConfig, fake: MatchingModel | None) -> MatchingModel:
    if fake is not None or config.fake_begins == "teacher":
        return copy.deepcopy(fake or teacher)
    return fresh(teacher, mix(config.seed, "fake start"))


def adapter_settings(config: DistillConfig) -> AdapterSettings:
    """The adapters that the settings ask for.

    Raises:
        ConfigError: if PEFT is not installed.
    """
    try:
        from realuid.models.networks.adapters import AdapterSettings
    except ImportError as error:
        raise ConfigError(f"lora_rank = {config.lora_rank} needs the extra: pip install 'realuid[lora]'.") from error
    return AdapterSettings(config.lora_rank, config.lora_alpha, config.lora_targets, config.lora_dora)


def _on_one_base(
    teacher: MatchingModel,
    config: DistillConfig,
    start: Student | MatchingModel | None,
    fake: MatchingModel | None,
) -> Roles:
    adapter = adapter_settings(config)
    from realuid.models.networks.adapters import AdaptedNetwork, SharedBase

    base = SharedBase(copy.deepcopy(teacher.network), config.lora_base)

    def around(network: AdaptedNetwork) -> MatchingModel:
        return copy.deepcopy(teacher, {id(teacher.network): network})

    def role(name: str) -> MatchingModel:
        return around(base.role(name, adapter, mix(config.seed, f"{name} adapter")))

    student = config.make_student(role("student")) if config.adapts("student") else _student(teacher, config, start)
    opponent = role("fake") if config.adapts("fake") else _fake(teacher, config, fake)
    return Roles(guided(around(base.plain()), config.guidance), student, opponent)
