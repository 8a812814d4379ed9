"""Settings of training and distillation: small classes by concern, composed; every field is a command-line option."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from realuid.errors import ConfigError
from realuid.objectives import Delta, ObjectiveName, TimeWeight
from realuid.settings import MOST_STEPS, are_checked, check_range
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

if TYPE_CHECKING:
    from realuid.objectives import Adversarial, Objective


# Fields are listed base by base, from the last one to the first.
@dataclass(frozen=True)
class LoopConfig(LoggingSettings, SystemSettings, RandomSettings, OptimiserSettings):
    """Settings of teachers and students alike."""

    def check_processes(self, count: int) -> None:
        """Raise ConfigError unless each of `count` processes has an image of every batch."""
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
    #: Fraction of samples trained without their label, for classifier-free guidance (conditional teachers only).
    label_dropout: float = 0.0
    #: Sampling steps for sample grids and quick FDs.
    steps: int = 50

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, "(0, inf)", "lr")
        check_range(self, "[0, 1)", "label_dropout")
        check_range(self, f"[1, {MOST_STEPS}]", "steps")


@dataclass(frozen=True)
class ObjectiveSettings(Settings):
    """Losses of student and fake model, and the guidance of the teacher."""

    #: realuid (UID where alpha = beta = 1, RealSiD with alpha_sid), mixture (the student learns a mixture of teacher
    #: and data), general, normalised, dmd or data_forcing.
    objective: ObjectiveName = "realuid"
    #: RealUID's alpha: weight of generated data in the fake model's loss. alpha = beta = 1 uses no real data.
    alpha: float = 1.0
    #: RealUID's beta: weight of the generated data's target in the losses.
    beta: float = 1.0
    #: Weight of the data in the mixture of teacher and data that the student learns (mixture; None: 1), or the
    #: probability that the teacher is evaluated at noised real data (data_forcing; None: 0.5).
    data_weight: float | None = None
    #: Fraction of the run over which the mixture's data_weight rises from 0 to its value.
    data_weight_warmup: float = 0.0
    #: With a guided teacher, also apply guidance to the real data's target in the mixture objective: real data then
    #: corrects the teacher's errors, but not its guidance.
    guide_real: bool = True
    #: Weight of ||delta||^2 in the general and mixture objectives. None: alpha, in the mixture 0.5.
    gamma: float | None = None
    #: Weight of ||f* - f||^2 in the generator's loss: 0.5 is the true gradient, SiD used 1.0 to 1.2.
    alpha_sid: float = 0.5
    #: delta of the general objective: f* - f (plain), or beta (f* - f).
    delta: Delta = "plain"
    #: Weight w(t) of the losses: the path's (path), 1 (one), or a clipped signal-to-noise ratio (min_snr).
    weight: TimeWeight = "path"
    #: Divide every sample's generator loss by its mean |target - teacher|, as SiD does.
    normalise: bool = False
    #: Prediction type of the losses. None: the path's default, or all predictions of a teacher with several heads.
    space: str | None = None
    #: Scale of classifier-free guidance of the teacher (trained with label_dropout); 1: no guidance; None: the
    #: usual one of its text-to-image pipeline.
    guidance: float | None = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, "[0, 1]", "data_weight_warmup")
        if are_checked():
            self._check_objective()

    def _check_objective(self) -> None:
        from realuid.objectives import MixtureUID

        mixing = isinstance(self.make_objective(), MixtureUID)
        for name, default in (("data_weight_warmup", 0.0), ("guide_real", True)):
            if getattr(self, name) != default and not mixing:
                raise ConfigError(
                    f"{name} = {getattr(self, name)}: objective '{self.objective}' does not use it. Used by: mixture."
                )

    @property
    def label(self) -> str:
        """The game in titles: '0.9, 0.92' (RealUID's alpha, beta), 'dmd 0.9, 0.9', 'mixture, data_weight 0.5'."""
        from realuid.objectives import main_coefficients

        objective, names = self.make_objective(), list(main_coefficients(self.objective))
        values = ", ".join(f"{getattr(objective, name):g}" for name in names)
        if names == ["data_weight"]:
            return f"{self.objective}, data_weight {values}"
        return values if self.objective == "realuid" else f"{self.objective} {values}"

    def make_objective(self) -> Objective:
        """The objective with these settings."""
        from realuid.objectives import make_objective

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
    """The adversarial loss, the baseline with a discriminator."""

    #: Weight of the adversarial loss in the generator's loss; 0: none. The other losses are sums over the elements of a
    #: sample.
    lambda_g: float = 0.0
    #: Weight of the adversarial loss in the fake model's loss. None: 3 lambda_g.
    lambda_d: float | None = None
    #: The discriminator is trained on this fraction of the path's times, nearest to the data.
    gan_window: float = 0.2
    #: Real images for the discriminator, and as many generated ones, per image of the batch.
    gan_share: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, "(0, 1]", "gan_share")
        if are_checked():
            self.make_adversarial()

    def make_adversarial(self) -> Adversarial | None:
        """The adversarial loss, or None if its weights are 0."""
        from realuid.objectives import PUBLISHED_RATIO, Adversarial

        if not self.lambda_g and not self.lambda_d:
            return None
        lambda_d = PUBLISHED_RATIO * self.lambda_g if self.lambda_d is None else self.lambda_d
        return Adversarial(self.lambda_g, lambda_d, self.gan_window)


@dataclass(frozen=True)
class TurnSettings(Settings):
    """Updates, learning rates and initialisation of fake model and generator."""

    #: Fake updates per generator update (K).
    fake_updates: int = 5
    #: Initial weights of the fake model. None: random for students of one call, the teacher's for several, whose calls
    #: share the fake model's batches. Fine-tuning takes the teacher's.
    fake_start: Literal["random", "teacher"] | None = None
    #: Learning rate of the generator.
    generator_lr: float = 3e-5
    #: Learning rate of the fake model.
    fake_lr: float = 3e-5
    #: Real images per generated image in the fake model's batch; the weight of real data is only 1 - alpha.
    #: None: the ratio with the least gradient variance per cost, estimated from (alpha, beta).
    real_share: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, "[1, inf)", "fake_updates")
        check_range(self, "(0, inf)", "generator_lr", "fake_lr")
        check_range(self, "(0, 1]", "real_share")


@dataclass(frozen=True)
class DistillConfig(LoraSettings, AdversarialSettings, TurnSettings, StudentSettings, ObjectiveSettings, LoopConfig):
    """Distillation of a teacher into a student of one call or a few by RealUID."""

    #: beta_1 and beta_2 of Adam.
    adam_betas: tuple[float, float] = (0.0, 0.999)

    def check_processes(self, count: int) -> None:
        """Raise ConfigError unless every process has an image of every batch, the discriminator's included."""
        super().check_processes(count)
        if 0 < self.gan_batch < count:
            raise ConfigError(
                f"gan_share = {self.gan_share:g} of batch = {self.batch} lets the discriminator judge {self.gan_batch} "
                f"images, with {count} processes: each needs one. Pass --gan-share {count / self.batch:.3g} or more, "
                "or start fewer processes."
            )

    def objective_at(self, update: int) -> Objective:
        """The objective of an update; with data_weight_warmup its data_weight rises from 0."""
        from realuid.objectives import MixtureUID

        objective, rise = self.make_objective(), self.data_weight_warmup * self.updates
        if not isinstance(objective, MixtureUID) or update >= rise:
            return objective
        return dataclasses.replace(objective, data_weight=objective.data_weight * update / rise)

    @property
    def fake_begins(self) -> Literal["random", "teacher"]:
        """`fake_start`, or the default for the number of calls."""
        return self.fake_start or ("teacher" if self.number_of_calls > 1 else "random")

    @property
    def uses_real_data(self) -> bool:
        """Whether a loss compares with real data: the fake model's, the generator's or the discriminator's."""
        objective = self.make_objective()
        return objective.uses_real_data or objective.generator_needs_real or self.gan_batch > 0

    @property
    def share(self) -> float:
        """Real images per generated image in the fake model's batch: `real_share`, or the default rule.

        The best ratio is sqrt(c_g) S_r / S_g, where S is the standard deviation of a sample's weighted gradient in a
        stratum (`Objective.real_spread`) and c_g the cost of a generated image relative to a real one (`costs`).
        """
        if self.real_share is not None:
            return self.real_share
        objective = self.make_objective()
        cost = generated_cost(self.fake_updates, objective.fake_needs_teacher)
        return min(1.0, max(0.01, math.sqrt(cost) * objective.real_spread))

    @property
    def real_batch(self) -> int:
        """Number of real images in a batch of the fake step; 0 if real data has no weight."""
        return max(1, round(self.share * self.batch)) if self.make_objective().uses_real_data else 0

    @property
    def gan_batch(self) -> int:
        """Number of real and of generated images for the discriminator in a step; 0 without adversarial loss."""
        return max(1, round(self.gan_share * self.batch)) if self.make_adversarial() else 0


def fine_tuning(config: DistillConfig, **changes: object) -> DistillConfig:
    """Settings for fine-tuning a distilled student (sec. 3): fake model initialised from the teacher, a third of the
    learning rates, no warm-up; `changes` take precedence.
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
