"""Distil a teacher: K steps of the fake model, one of the generator (App. B, Alg. 1)."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Iterator
from functools import partial
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from realuid.data import Dataset, check_pairs, encode_dataset, samples
from realuid.errors import ConfigError
from realuid.metrics import Evaluator
from realuid.models import Generator, MatchingModel, fingerprint, fresh, guided
from realuid.models.discriminator import new_discriminator
from realuid.objectives import UnwiseSettingWarning, advice, choose_space
from realuid.processes import WHOLE, Part
from realuid.sampling import OneStep
from realuid.seeds import mix
from realuid.training.accelerate import make_accelerator
from realuid.training.adversarial import deception_loss, discriminator_loss
from realuid.training.batches import Batches, Draw, micro_batches
from realuid.training.config import DistillConfig
from realuid.training.ema import EMA
from realuid.training.execution import choose_execution
from realuid.training.loop import Hopeless, Run, Task
from realuid.training.player import Losses, Player, able_to_learn
from realuid.training.sharding import place
from realuid.training.teacher import check_batch
from realuid.training.updates import fake_loss, generated_images, generator_loss

#: Time bins in which the distance between teacher and fake model is logged: the steps of a sampling grid so long.
TIME_BINS = 8


class DistillTask(Task):
    """A generator and a fake model around a frozen teacher.

    Args:
        teacher: f*, with its path.
        data: real data (its labels are used if the model is conditional).
        config: settings.
        accelerator: device and processes.
        start: a distilled generator to go on from, or a model to make one of; by default the teacher.
        fake: weights the fake model starts from, on the teacher's path; by default what `config.fake_start` says.
    """

    def __init__(
        self,
        teacher: MatchingModel,
        data: Dataset,
        config: DistillConfig,
        accelerator: Accelerator,
        start: Generator | MatchingModel | None = None,
        fake: MatchingModel | None = None,
    ):
        check_start(teacher, start.model if isinstance(start, Generator) else start, fake)
        check_batch(max(config.real_batch, config.gan_batch), data)
        self.config, self.path = config, teacher.path
        self.title, self.section = f"student ({config.alpha:g}, {config.beta:g})", "distillation"
        self.objective, self.adversarial = config.make_objective(), config.make_adversarial()
        self.space = check_distillation(teacher, config)
        frozen = guided(copy.deepcopy(teacher), config.guidance)
        self.generator = able_to_learn(self._generator_start(teacher, start, config).eval())
        self.fake = able_to_learn(self._fake_start(teacher, config, fake).eval())
        self.execution = choose_execution(config, accelerator.device, teacher)
        self.execution.apply(frozen, self.generator.model, self.fake)
        self.teacher = place(frozen.eval().requires_grad_(False), accelerator.device, self.execution.shard)
        mine = math.ceil(config.batch / accelerator.num_processes)
        parts = generator_parts(accelerator.device, mine * math.prod(teacher.shape))
        self.learner = Player(
            "generator", self.generator, config.generator_lr, config.adam_betas, config, accelerator, parts
        )
        against: nn.Module = self.fake
        if self.adversarial:
            against = new_discriminator(self.fake, mix(config.seed, "head start"))
        self.opponent = Player("fake", against, config.fake_lr, config.adam_betas, config, accelerator)
        self.players = (self.learner, self.opponent)
        self.ema = EMA(self.generator, config.ema, self.learner.shell)
        data = (data if teacher.num_classes else data.without_labels()).near(accelerator.device)
        process = (accelerator.process_index, accelerator.num_processes)
        draws = partial(
            Batches,
            data,
            self.path,
            config.seed,
            config.flip,
            *process,
            conditions=teacher.conditions,
            calls=self.generator.calls,
            device=accelerator.device,
        )
        self.batches, self.near = draws(), draws(window=config.gan_window)
        against_fake, against_generator = config.real_batch + 2 * config.gan_batch, config.gan_batch
        self.images_per_update = config.fake_updates * (config.batch + against_fake) + config.batch + against_generator
        self.inputs = {"data": data.fingerprint(pairs=True), "teacher": fingerprint(teacher)}

    @staticmethod
    def _generator_start(
        teacher: MatchingModel, start: Generator | MatchingModel | None, config: DistillConfig
    ) -> Generator:
        if not isinstance(start, Generator):
            return config.make_student(copy.deepcopy(start or teacher))
        if start.model.path != teacher.path:
            raise ConfigError(f"start is on path {start.model.path}, the teacher on {teacher.path}.")
        config.of_student(start)
        return copy.deepcopy(start)

    @staticmethod
    def _fake_start(teacher: MatchingModel, config: DistillConfig, fake: MatchingModel | None) -> MatchingModel:
        if fake is not None or config.fake_start == "teacher":
            return copy.deepcopy(fake or teacher)
        return fresh(teacher, mix(config.seed, "fake start"))

    def update(self, number: int) -> dict[str, Tensor]:
        """K steps of the fake model, then one of the generator."""
        self.objective = self.config.objective_at(number)
        return self._fake_turn(number) | self._generator_turn(number)

    def _fake_turn(self, number: int) -> dict[str, Tensor]:
        """K steps on one batch of images: the generator stands still meanwhile, so it makes them once."""
        c = self.config
        generated = self._shown(self.batches.turn("fake", number, c.batch))
        judged = self._shown(self.near.turn("judged", number, c.gan_batch)) if self.adversarial else repeat(None)
        steps = range(number * c.fake_updates, (number + 1) * c.fake_updates)
        values = [self._fake_step(number, *each) for each in zip(steps, generated, judged, strict=False)]
        return {name: torch.stack([v[name] for v in values]).mean() for name in values[0]}

    def _shown(self, turn: Iterator[Draw]) -> Iterator[Draw]:
        """The draws of a turn with their images, which the generator makes of the first one."""
        first = next(turn)
        with self.opponent.autocast():
            images = self.opponent.in_parts(partial(generated_images, self.generator, first))
        for draw in chain([first], turn):
            yield draw.showing(images)

    def _fake_step(self, number: int, step: int, generated: Draw, judged: Draw | None) -> dict[str, Tensor]:
        """A step, counted through the run: on images that are there already, and real ones of its own."""
        c = self.config
        real = self.batches.real("fake real", step, c.real_batch) if c.real_batch else None
        guide = c.guide_real and self.objective.guides_real_target
        judged_real = None if judged is None else self.near.real("judged real", step, c.gan_batch)

        def loss_of(fake: Any, g: Draw, r: Draw | None, judged: Draw | None, judged_real: Draw | None) -> Tensor:
            game = (fake, self.objective, self.path, self.space)
            loss = fake_loss(*game, g, r, c.batch, c.real_batch, self.teacher, guide)
            if self.adversarial is None or judged is None or judged_real is None:
                return loss
            return loss + discriminator_loss(fake, self.adversarial, self.path, judged, judged_real, c.gan_batch)

        def losses_in(parts: int) -> Losses:
            draws = (micro_batches(draw, parts) for draw in (generated, real, judged, judged_real))
            return [partial(loss_of, g=g, r=r, judged=j, judged_real=jr) for g, r, j, jr in zip(*draws, strict=True)]

        return self.opponent.step(number, losses_in)

    def _generator_turn(self, number: int) -> dict[str, Tensor]:
        c = self.config
        with_real = self.objective.generator_needs_real
        draw = self.batches.generated("generator", number, c.batch, c.generator_times, with_real)
        judged = self.near.generated("judged by generator", number, c.gan_batch) if self.adversarial else None
        opponent: Any = self.opponent.module
        gaps: list[tuple[Tensor, Tensor]] = []

        def loss_of(generator: Any, part: Draw | None, judged: Draw | None) -> Tensor:
            assert part is not None, "the generator's own draw"
            loss, gap, t = generator_loss(
                generator, self.teacher, opponent, self.objective, self.path, self.space, part, c.batch
            )
            gaps.append((gap, t))
            if self.adversarial is None or judged is None:
                return loss
            return loss + deception_loss(generator, opponent, self.adversarial, self.path, judged, c.gan_batch)

        def losses_in(parts: int) -> Losses:
            gaps.clear()
            pairs = zip(micro_batches(draw, parts), micro_batches(judged, parts), strict=True)
            return [partial(loss_of, part=part, judged=judged) for part, judged in pairs]

        with self.opponent.frozen():
            values = self.learner.step(number, losses_in)
        gap, t = (torch.cat(column) for column in zip(*gaps, strict=True))
        return values | self._gap_by_time(gap, t)

    def _gap_by_time(self, gap: Tensor, t: Tensor) -> dict[str, Tensor]:
        """Sums and counts of ||f* - f||^2 in the steps of a sampling grid, data first; `summary` divides them."""
        inner_edges = self.path.grid(min(TIME_BINS, self.path.most_steps), t.device).flip(0)[1:-1].to(t.dtype)
        index = torch.bucketize(t, inner_edges)
        zeros = torch.zeros(TIME_BINS, device=gap.device, dtype=gap.dtype)
        return {
            "gap/sum": zeros.index_add(0, index, gap),
            "gap/count": zeros.index_add(0, index, torch.ones_like(gap)),
        }

    def summary(self, means: dict[str, Any]) -> dict[str, Any]:
        """Replace the bins' sums and counts by mean gaps per element: overall, and by time from data to source."""
        means = dict(means)
        sums, counts = means.pop("gap/sum"), means.pop("gap/count")
        means["gap"] = sum(sums) / max(sum(counts), 1e-9)
        means["gap_by_time"] = [s / n if n else None for s, n in zip(sums, counts, strict=True)]
        return means

    def sample(self, model: nn.Module, count: int, seed: int, part: Part = WHOLE) -> Iterator[Tensor]:
        """One-step samples under the conditions of the data."""
        assert isinstance(model, Generator)
        return samples(model, self.batches.data, count, seed=seed, part=part)


def generator_parts(device: torch.device, numbers: int) -> int:
    """Parts of a process's share of a batch on the generator's turn, which keeps activations of three networks where
    the fake model's keeps one's: two on CPUs for shares of so many numbers (pixels times channels) that halves of them
    are about as fast.
    """
    return 2 if device.type == "cpu" and numbers > 2**15 else 1


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


def distill_teacher(
    teacher: MatchingModel,
    data: Dataset,
    config: DistillConfig,
    folder: str | Path,
    *,
    start: Generator | MatchingModel | None = None,
    fake: MatchingModel | None = None,
    evaluator: Evaluator | None = None,
    resume: bool = False,
    about: dict[str, Any] | None = None,
    files: dict[str, str] | None = None,
    hopeless: Hopeless | None = None,
) -> Generator:
    """Distil a teacher into a one-step generator and write the run to a folder.

    Args:
        teacher: the model to distil.
        data: real data; read where alpha, beta give it weight, and for class labels. A teacher on latents encodes it
            once, at the start.
        config: settings; everything random follows from `config.seed`.
        folder: of the run; what an earlier run left there is replaced.
        start: a distilled generator to go on from, or a model to make one of; by default the teacher.
        fake: weights the fake model starts from, on the teacher's path; by default what `config.fake_start` says.
        evaluator: for quick FDs on the way (with `config.evaluate_every`).
        resume: continue the run in `folder`.
        about: sections to add to the saved model's config.json.
        files: name -> text of further files to write into the folder.
        hopeless: stops the run early when it says so of the evaluations so far.

    Returns:
        the averaged generator: the best by quick FD, or the last where none was measured.
    """
    check_fits(teacher, data)
    check_degradation(teacher, data)
    for sentence in advice(config.make_objective(), fine_tuning=isinstance(start, Generator)):
        warnings.warn(sentence, UnwiseSettingWarning, stacklevel=2)
    accelerator = make_accelerator(config)
    if teacher.codec:
        if config.flip:
            raise ConfigError(
                "flip = True: the data is encoded once, and mirrored latents are not those of mirrored images."
            )
        data = encode_dataset(data, teacher.codec, accelerator.device)
    task = DistillTask(teacher, data, config, accelerator, start, fake)
    student = Run(task, config, Path(folder), accelerator, evaluator, about, files, hopeless).start(resume)
    assert isinstance(student, Generator)
    return student
