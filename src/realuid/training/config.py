"""Settings of training and distillation, one dataclass each; every field is a command-line option."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Literal

from realuid.devices import check_device
from realuid.errors import ConfigError
from realuid.models.matching import MatchingModel
from realuid.models.student import Renoise, Student
from realuid.objectives import (
    PUBLISHED_RATIO,
    Adversarial,
    Delta,
    MixtureUID,
    Objective,
    ObjectiveName,
    TimeWeight,
    make_objective,
)
from realuid.paths import check_times
from realuid.settings import check_range, check_types

#: Settings that a resumed run may change: how a batch goes through the machine, which changes the order of sums only.
FREE = frozenset({"micro_batch", "shard"})


@dataclass(frozen=True)
class LoopConfig:
    """What teachers and students have in common."""

    #: Length of the run, in (generator) updates.
    updates: int = 1000
    #: Images a step, over all processes.
    batch: int = 256
    #: Cut what a process has of a batch into parts of so many images at most; their gradients are accumulated. In the
    #: fake step so many generated ones, and the real and judged ones' share beside them. 0: as few parts as fit.
    micro_batch: int = 0
    #: Arithmetic of the networks; weights, losses and optimisers stay in fp32. auto: bf16 on accelerators that have it.
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    #: Keep images in memory pixel by pixel, as fast convolutions want them. None: yes, but on CPUs only in fp32 and
    #: from 64 channels on; never without convolutions, or in a network of one's own.
    channels_last: bool | None = None
    #: One kernel for Adam over all weights. None: yes.
    fused: bool | None = None
    #: Compute activations of blocks again on the way back instead of keeping them: a third more arithmetic,
    #: far less memory. None: no.
    recompute: bool | None = None
    #: Have torch.compile write kernels for the networks; the first updates take minutes. None: no.
    compile: bool | None = None
    #: Split weights, gradients, optimiser states and averages over the processes of the run, instead of a copy on each:
    #: less memory for more communication. None: no.
    shard: bool | None = None
    #: Decays of the exponential moving averages; the first one is reported on the way.
    ema: tuple[float, ...] = (0.999,)
    #: Largest gradient norm.
    clip: float = 1.0
    #: Updates over which learning rates rise from zero.
    warmup: int = 0
    #: What learning rates do after that.
    decay: Literal["constant", "cosine"] = "constant"
    #: Mirror images at random.
    flip: bool = False
    #: Seed of weights, noise, times and the order of the data.
    seed: int = 0
    #: auto (CUDA where there is one), cpu or cuda.
    device: str = "auto"
    #: Updates between lines of metrics.jsonl. 0: never.
    log_every: int = 20
    #: Updates between evaluations (quick FD, which also picks the best checkpoint). 0: never.
    evaluate_every: int = 0
    #: Updates between sample grids. 0: never.
    sample_every: int = 0
    #: Updates between checkpoints to resume from. 0: only at the end.
    save_every: int = 0
    #: How many such checkpoints are kept.
    keep: int = 2
    #: Samples of a quick FD.
    quick_samples: int = 2000
    #: Also log to Weights & Biases under this project name (needs realuid[wandb]; the key comes from `wandb login`).
    wandb: str | None = None

    def __post_init__(self) -> None:
        check_types(self)
        check_device(self.device)
        check_range(self, "[1, inf)", "updates", "batch", "keep")
        check_range(self, "[2, inf)", "quick_samples")
        check_range(self, "[0, inf)", "micro_batch", "warmup", "seed")
        check_range(self, "[0, inf)", "log_every", "evaluate_every", "sample_every", "save_every")
        check_range(self, "(0, inf]", "clip")
        check_range(self, "[0, 1)", "ema")
        if self.shard and self.compile:
            raise ConfigError("shard = True with compile = True: kernels are written for whole weights. Leave one out.")
        if not self.ema:
            raise ConfigError("ema = (): at least one decay is needed, for instance 0.999.")

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

    lr: float = 2e-4
    betas: tuple[float, float] = (0.9, 0.999)
    #: Share of samples trained without their label, so that the teacher can be guided (conditional teachers only).
    label_dropout: float = 0.0
    #: Calls of the sampler for grids and quick FDs.
    steps: int = 50

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, "(0, inf)", "lr")
        check_range(self, "[0, 1)", "betas", "label_dropout")
        check_range(self, "[1, inf)", "steps")


@dataclass(frozen=True)
class DistillConfig(LoopConfig):
    """Distillation of a teacher into a one-step generator by RealUID."""

    #: realuid (UID where alpha = beta = 1, RealSiD with alpha_sid), mixture (of teacher and data is what it learns),
    #: general, normalised, dmd or data_forcing.
    objective: ObjectiveName = "realuid"
    #: Weight of generated data in the fake model's loss, and of its target; alpha = beta = 1 uses no real data.
    alpha: float = 1.0
    beta: float = 1.0
    #: Share of the data in the mixture of teacher and data that the student learns (mixture; None: 1), or the
    #: probability that the teacher is asked about noised real data (data_forcing; None: 0.5).
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
    #: What delta is in the general objective: f* - f, or beta (f* - f).
    delta: Delta = "plain"
    #: Weight w(t) of the losses: the path's own, none, or a clipped signal-to-noise ratio.
    weight: TimeWeight = "path"
    #: Divide every sample's generator loss by its mean |target - teacher|, as SiD does.
    normalise: bool = False
    #: Prediction in which the losses are taken. None: the path's own, or all that a
    #: teacher of several heads predicts.
    space: str | None = None
    #: Weight of the adversarial loss on the generator's turn; 0: none. The losses beside it are sums over elements.
    lambda_g: float = 0.0
    #: The same on the fake model's turn. None: 3 lambda_g.
    lambda_d: float | None = None
    #: Share of the path's times, those nearest to the data, at which the discriminator judges.
    gan_window: float = 0.2
    #: Images the discriminator judges, real and generated ones each, per image of the batch.
    gan_share: float = 1.0
    #: Fake updates per generator update (K).
    fake_updates: int = 5
    #: Start time of the generator. None: where noise / signal = 2.5 (SiD's sigma_init), on coupled paths 1, or that of
    #: the generator the run starts from; 1 is the paper's form.
    t_init: float | None = None
    #: Times of a student of several calls, falling; None: one call, at t_init, or those of the student that the run
    #: starts from.
    times: tuple[float, ...] | None = None
    #: Noise of the later calls: fresh, or deterministic (implied by the call before). None: fresh, or as the student
    #: that the run starts from.
    renoise: Renoise | None = None
    #: Whether the generator is given fresh noise; without it, its samples are a function of x_T (coupled paths only).
    #: None: it is, or as the generator the run starts from.
    noise: bool | None = None
    #: Weights the fake model starts from: random when distilling from scratch, teacher when fine-tuning.
    fake_start: Literal["random", "teacher"] = "random"
    generator_lr: float = 3e-5
    fake_lr: float = 3e-5
    betas: tuple[float, float] = (0.0, 0.999)
    #: Real images per generated one in the fake model's batch; the real term's weight is only 1 - alpha.
    #: None: the share with the least gradient variance for its cost, as far as (alpha, beta) tell it.
    real_share: float | None = None
    #: Scale of classifier-free guidance of the teacher (trained with label_dropout); 1 is none.
    guidance: float = 1.0
    #: Times of the generator's step: the path's own, uniform, SiD's grid, or log-normal noise levels.
    generator_times: Literal["path", "uniform", "grid", "log-normal"] = "path"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.make_objective()
        self.make_adversarial()
        check_times(self.generator_times)
        if self.times and self.t_init is not None:
            raise ConfigError(
                f"times = {self.times} and t_init = {self.t_init}: the first of times is t_init. Pass one."
            )
        check_range(self, "[1, inf)", "fake_updates")
        check_range(self, "(0, inf)", "generator_lr", "fake_lr")
        check_range(self, "[0, 1)", "betas")
        check_range(self, "(0, 1]", "real_share", "gan_share")
        check_range(self, "[0, 1]", "data_weight_warmup")
        mixing = isinstance(self.make_objective(), MixtureUID)
        for name, default in (("data_weight_warmup", 0.0), ("guide_real", True)):
            if getattr(self, name) != default and not mixing:
                raise ConfigError(
                    f"{name} = {getattr(self, name)}: objective '{self.objective}' has no use for it. It belongs to: "
                    "mixture."
                )

    def check_processes(self, count: int) -> None:
        """Raise ConfigError unless each of so many processes has an image of every batch, the judged ones included."""
        super().check_processes(count)
        if 0 < self.gan_batch < count:
            raise ConfigError(
                f"gan_share = {self.gan_share:g} of batch = {self.batch} lets the discriminator judge {self.gan_batch} "
                f"images, with {count} processes: each needs one. Pass --gan-share {count / self.batch:.3g} or more, "
                "or start fewer processes."
            )

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

    def objective_at(self, update: int) -> Objective:
        """The objective of an update: where data_weight_warmup says so, with a data_weight on its rise from 0."""
        objective, rise = self.make_objective(), self.data_weight_warmup * self.updates
        if not isinstance(objective, MixtureUID) or update >= rise:
            return objective
        return dataclasses.replace(objective, data_weight=objective.data_weight * update / rise)

    def make_adversarial(self) -> Adversarial | None:
        """The adversarial add-on, or None where it has no weight."""
        if not self.lambda_g and not self.lambda_d:
            return None
        lambda_d = PUBLISHED_RATIO * self.lambda_g if self.lambda_d is None else self.lambda_d
        return Adversarial(self.lambda_g, lambda_d, self.gan_window)

    def make_student(self, model: MatchingModel) -> Student:
        """The student that these settings make of a model."""
        return Student(model, self.times or self.t_init, self.noise is not False, self.renoise or "fresh")

    def of_student(self, student: Student) -> DistillConfig:
        """These settings with those of the student that a run starts from, which it goes on with as it is.

        Raises:
            ConfigError: where they ask for others.
        """
        own: dict[str, Any] = {"noise": student.noise}
        if student.calls > 1:
            own |= {"times": student.times, "renoise": student.renoise}
        elif self.times is None:
            own["t_init"] = student.t_init
        for name in ("times", "t_init", "renoise", "noise"):
            asked = getattr(self, name)
            if asked is not None and asked != getattr(student, name):
                raise ConfigError(
                    f"{name} = {asked}, but the generator to start from has {getattr(student, name)}. Leave {name} out."
                )
        return dataclasses.replace(self, **{**own, "t_init": own.get("t_init")})

    @property
    def share(self) -> float:
        """Real images per generated one in the fake model's batch: `real_share`, or a rule in its place.

        The best share is sqrt(c_g) S_r / S_g, S being the spread of a sample's gradient in either stratum with its
        weight (`Objective.real_spread`), and c_g what a generated image costs relative to a real one.
        """
        if self.real_share is not None:
            return self.real_share
        return min(1.0, max(0.01, math.sqrt(self.generated_cost) * self.make_objective().real_spread))

    @property
    def generated_cost(self) -> float:
        """What a generated image costs in a fake step, relative to a real one: its making, which K steps share, beside
        3 forward passes, or 4 where the teacher is called as well.
        """
        return 1 + 1 / ((4 if self.make_objective().fake_needs_teacher else 3) * self.fake_updates)

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


def to_dict(config: object) -> dict:
    """A configuration as plain JSON / YAML values."""
    return _plain(dataclasses.asdict(config))  # type: ignore[call-overload]


def _plain(value):
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value
