"""Settings of training and distillation: small classes by concern, composed; every field is a command-line option."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Literal

from realuid.errors import ConfigError
from realuid.objectives import (
    PUBLISHED_RATIO,
    Adversarial,
    Delta,
    MixtureUID,
    Objective,
    ObjectiveName,
    TimeWeight,
    coefficients_of,
    make_objective,
)
from realuid.settings import MOST_STEPS, check_range
from realuid.training.costs import generated_cost
from realuid.training.lora import LoraSettings
from realuid.training.settings import (
    LoggingSettings,
    OptimiserSettings,
    RandomSettings,
    Settings,
    SystemSettings,
)
from realuid.training.student import StudentSettings


# Fields are listed base by base, from the last one to the first.
@dataclass(frozen=True)
class LoopConfig(LoggingSettings, SystemSettings, RandomSettings, OptimiserSettings):
    """What teachers and students have in common."""

    def check_processes(self, count: int) -> None:
        """Raise ConfigError unless each of so many processes has an image of every batch."""
        if self.batch < count:
            raise ConfigError(
                f"batch = {self.batch} with {count} processes: each needs an image. Pass --batch {count} or more, or "
                "start fewer processes."
            )


@dataclass(frozen=True)
class TeacherConfig(LoopConfig):
    """Training of a teacher by unified matching."""

    #: Learning rate.
    lr: float = 2e-4
    #: Share of samples trained without their label, so that the teacher can be guided (conditional teachers only).
    label_dropout: float = 0.0
    #: Sampler steps for grids and quick FDs.
    steps: int = 50

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, "(0, inf)", "lr")
        check_range(self, "[0, 1)", "label_dropout")
        check_range(self, f"[1, {MOST_STEPS}]", "steps")


@dataclass(frozen=True)
class ObjectiveSettings(Settings):
    """The game: losses of both players, and the teacher that they read."""

    #: realuid (UID where alpha = beta = 1, RealSiD with alpha_sid), mixture (the student learns a mixture of teacher
    #: and data), general, normalised, dmd or data_forcing.
    objective: ObjectiveName = "realuid"
    #: RealUID's alpha: weight of generated data in the fake model's loss. alpha = beta = 1 uses no real data.
    alpha: float = 1.0
    #: RealUID's beta: weight of the target of generated data.
    beta: float = 1.0
    #: Share of the data in the mixture of teacher and data that the student learns (mixture; None: 1), or the
    #: probability that the teacher is evaluated at noised real data (data_forcing; None: 0.5).
    data_weight: float | None = None
    #: Share of the run over which the mixture's data_weight rises from 0 to its value.
    data_weight_warmup: float = 0.0
    #: With a guided teacher, guide the mixture's real target as well: real data then corrects the teacher's errors and
    #: leaves its guidance alone.
    guide_real: bool = True
    #: Weight of ||delta||^2 in the general and mixture objectives. None: alpha, in the mixture 0.5.
    gamma: float | None = None
    #: Weight of ||f* - f||^2 in the generator's loss: 0.5 is the true gradient, SiD used 1.0 to 1.2.
    alpha_sid: float = 0.5
    #: delta of the general objective: f* - f (plain), or beta (f* - f).
    delta: Delta = "plain"
    #: Weight w(t) of the losses: the path's own, none, or a clipped signal-to-noise ratio.
    weight: TimeWeight = "path"
    #: Divide every sample's generator loss by its mean |target - teacher|, as SiD does.
    normalise: bool = False
    #: Prediction in which the losses are computed. None: the path's own, or all that a teacher of several heads
    #: predicts.
    space: str | None = None
    #: Scale of classifier-free guidance of the teacher (trained with label_dropout); 1 is none.
    guidance: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, "[0, 1]", "data_weight_warmup")
        mixing = isinstance(self.make_objective(), MixtureUID)
        for name, default in (("data_weight_warmup", 0.0), ("guide_real", True)):
            if getattr(self, name) != default and not mixing:
                raise ConfigError(
                    f"{name} = {getattr(self, name)}: objective '{self.objective}' has no use for it. It belongs to: "
                    "mixture."
                )

    @property
    def coefficients(self) -> dict[str, float]:
        """Those of alpha, beta and data_weight that the objective has, by name."""
        objective = self.make_objective()
        return {name: getattr(objective, name) for name in coefficients_of(self.objective)}

    def make_objective(self) -> Objective:
        """The objective these settings stand for."""
        return make_objective(
            self.objective,
            alpha=self.alpha,
            beta=self.beta,
            gamma=self.gamma,
            data_weight=self.data_weight,
            alpha_sid=self.alpha_sid,
            delta=self.delta,
            weight=self.weight,
            normalise=self.normalise,
        )


@dataclass(frozen=True)
class AdversarialSettings(Settings):
    """The adversarial loss beside the game."""

    #: Weight of the adversarial loss in the generator's loss; 0: none. The losses beside it are sums over elements.
    lambda_g: float = 0.0
    #: Weight of the adversarial loss in the fake model's loss. None: 3 lambda_g.
    lambda_d: float | None = None
    #: Share of the path's times, those nearest to the data, at which the discriminator judges.
    gan_window: float = 0.2
    #: Images the discriminator judges, real and generated ones each, per image of the batch.
    gan_share: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.make_adversarial()
        check_range(self, "(0, 1]", "gan_share")

    def make_adversarial(self) -> Adversarial | None:
        """The adversarial loss, or None where it has no weight."""
        if not self.lambda_g and not self.lambda_d:
            return None
        lambda_d = PUBLISHED_RATIO * self.lambda_g if self.lambda_d is None else self.lambda_d
        return Adversarial(self.lambda_g, lambda_d, self.gan_window)


@dataclass(frozen=True)
class TurnSettings(Settings):
    """How the fake model and the generator take turns."""

    #: Fake updates per generator update (K).
    fake_updates: int = 5
    #: Initial weights of the fake model: random when distilling from scratch, teacher when fine-tuning.
    fake_start: Literal["random", "teacher"] = "random"
    #: Learning rate of the generator.
    generator_lr: float = 3e-5
    #: Learning rate of the fake model.
    fake_lr: float = 3e-5
    #: Real images per generated one in the fake model's batch; the real term's weight is only 1 - alpha.
    #: None: the share with the least gradient variance for its cost, as far as (alpha, beta) tell it.
    real_share: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, "[1, inf)", "fake_updates")
        check_range(self, "(0, inf)", "generator_lr", "fake_lr")
        check_range(self, "(0, 1]", "real_share")


@dataclass(frozen=True)
class DistillConfig(LoraSettings, AdversarialSettings, TurnSettings, StudentSettings, ObjectiveSettings, LoopConfig):
    """Distillation of a teacher into a one-step generator by RealUID."""

    adam_betas: tuple[float, float] = (0.0, 0.999)

    def check_processes(self, count: int) -> None:
        """Raise ConfigError unless each of so many processes has an image of every batch, the judged ones included."""
        super().check_processes(count)
        if 0 < self.gan_batch < count:
            raise ConfigError(
                f"gan_share = {self.gan_share:g} of batch = {self.batch} lets the discriminator judge {self.gan_batch} "
                f"images, with {count} processes: each needs one. Pass --gan-share {count / self.batch:.3g} or more, "
                "or start fewer processes."
            )

    def objective_at(self, update: int) -> Objective:
        """The objective of an update: with data_weight_warmup, its data_weight is on its rise from 0."""
        objective, rise = self.make_objective(), self.data_weight_warmup * self.updates
        if not isinstance(objective, MixtureUID) or update >= rise:
            return objective
        return dataclasses.replace(objective, data_weight=objective.data_weight * update / rise)

    @property
    def share(self) -> float:
        """Real images per generated one in the fake model's batch: `real_share`, or a rule in its place.

        The best share is sqrt(c_g) S_r / S_g, S being the spread of a sample's gradient in either stratum with its
        weight (`Objective.real_spread`), and c_g what a generated image costs relative to a real one (`costs`).
        """
        if self.real_share is not None:
            return self.real_share
        objective = self.make_objective()
        cost = generated_cost(self.fake_updates, objective.fake_needs_teacher)
        return min(1.0, max(0.01, math.sqrt(cost) * objective.real_spread))

    @property
    def real_batch(self) -> int:
        """Real images in a batch of the fake step; 0 where real data has no weight."""
        return max(1, round(self.share * self.batch)) if self.make_objective().uses_real_data else 0

    @property
    def gan_batch(self) -> int:
        """Real images the discriminator judges in a step, and generated ones; 0 without adversarial loss."""
        return max(1, round(self.gan_share * self.batch)) if self.make_adversarial() else 0


def fine_tuning(config: DistillConfig, **changes: object) -> DistillConfig:
    """Settings for going on from a distilled generator: fake model from the teacher, a third of the learning rates, no
    warm-up (sec. 3); `changes` overrule them.
    """
    ours = {
        "fake_start": "teacher",
        "warmup": 0,
        "generator_lr": config.generator_lr / 3,
        "fake_lr": config.fake_lr / 3,
    }
    return dataclasses.replace(config, **{**ours, **changes})  # type: ignore[arg-type]


__all__ = [
    "AdversarialSettings",
    "DistillConfig",
    "LoopConfig",
    "ObjectiveSettings",
    "StudentSettings",
    "TeacherConfig",
    "TurnSettings",
    "fine_tuning",
]
