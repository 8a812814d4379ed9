"""Distillation of a teacher: K fake updates, then one generator update (App. B, Alg. 1)."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import chain, repeat
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from realuid.data import Dataset
from realuid.metrics import Evaluator
from realuid.models import MatchingModel, Student, fingerprint
from realuid.models.discriminator import new_discriminator
from realuid.on_data import encode_dataset, record_classes, samples_of_each_call
from realuid.processes import WHOLE, Part
from realuid.seeds import mix
from realuid.training.accelerate import make_accelerator
from realuid.training.adversarial import deception_loss, discriminator_loss
from realuid.training.batches import DrawOptions
from realuid.training.buckets import batches_of
from realuid.training.compatibility import check_distillation, check_student_run
from realuid.training.config import DistillConfig
from realuid.training.draws import Draw, StepDraws, micro_batches
from realuid.training.ema import EMA
from realuid.training.execution import choose_execution
from realuid.training.grids import grid_prompts
from realuid.training.health import Facts
from realuid.training.health.vitals import PROBED, teacher_score, vitals
from realuid.training.log import Value
from realuid.training.loop import Run
from realuid.training.pairing import sharing_noise
from realuid.training.player import Player, able_to_learn
from realuid.training.resuming import form_of
from realuid.training.roles import make_roles
from realuid.training.sharding import place
from realuid.training.task import Task
from realuid.training.updates import Game, fake_loss, generated_images, generator_loss

#: Number of time bins in which the distance between teacher and fake model is logged: steps of a sampling grid.
TIME_BINS = 8


class DistillTask(Task):
    """Training of a student and a fake model against a frozen teacher.

    Args:
        teacher: f*, with its path.
        data: real data (its labels are used if the model is conditional).
        config: settings.
        accelerator: device and processes.
        start: a distilled student to continue from, or the model of a new one; by default the teacher.
        fake: initial fake model, on the teacher's path; by default as `config.fake_start` says.
    """

    def __init__(
        self,
        teacher: MatchingModel,
        data: Dataset,
        config: DistillConfig,
        accelerator: Accelerator,
        start: Student | MatchingModel | None = None,
        fake: MatchingModel | None = None,
    ):
        config = config.of_student(start) if isinstance(start, Student) else config
        self.config, self.path = config, teacher.path
        self.title, self.section = f"student ({config.label})", "distillation"
        self.adversarial, space = config.make_adversarial(), check_distillation(teacher, config)
        frozen, student, opponent = make_roles(teacher, config, start, fake)
        self.generator, self.fake = able_to_learn(student.eval()), able_to_learn(opponent.eval())
        record_classes(self.generator.model, data)
        self.execution = choose_execution(config, accelerator.device, teacher)
        self.execution.apply(frozen, self.generator.model, self.fake)
        frozen = place(frozen.eval().requires_grad_(False), accelerator.device, self.execution.shard)
        objective = config.make_objective()
        guide_real = config.guide_real and objective.guides_real_target
        self.game = Game(objective, self.path, space, frozen, guide_real)
        mine = math.ceil(config.batch / accelerator.num_processes)
        steps = generator_accumulation_steps(accelerator.device, mine * math.prod(teacher.shape))
        how = (config, accelerator, self.execution)
        self.learner = Player("generator", self.generator, config.generator_lr, *how, steps)
        against: nn.Module = self.fake
        if self.adversarial:
            against = new_discriminator(self.fake, mix(config.seed, "head start"))
        self.opponent = Player("fake", against, config.fake_lr, *how)
        self.players = (self.learner, self.opponent)
        self.ema = EMA(self.generator, config.ema, self.learner.shell)
        data = (data if teacher.num_classes else data.without_labels()).near(accelerator.device)
        part = Part(accelerator.process_index, accelerator.num_processes)
        self.calls, phases = self.generator.calls, self.generator.times if config.phases else ()
        usual = DrawOptions(
            calls=self.calls, from_data=config.call_inputs == "data", phases=phases, reals=config.fake_updates
        )
        drawn, conditions = (data, self.path, config.seed, config.flip, part), teacher.conditions
        self.batches, self.near = (
            batches_of(*drawn, conditions=conditions, device=accelerator.device, options=options)
            for options in (usual, dataclasses.replace(usual, window=config.gan_window))
        )
        against_fake, against_generator = config.real_batch + 2 * config.gan_batch, config.gan_batch
        self.images_per_update = config.fake_updates * (config.batch + against_fake) + config.batch + against_generator
        self.grid_prompts, self._given = grid_prompts(config.grid_prompts, teacher), teacher

    @cached_property
    def inputs(self) -> dict[str, object]:
        """Fingerprints of data and teacher, the form of the teacher, and the times of the student's calls."""
        data, teacher = self.batches.data.fingerprint(pairs=True), fingerprint(self._given)
        times = [float(time) for time in self.generator.times]
        return {"data": data, "teacher": teacher, **form_of(self._given), "times of calls": times}

    @property
    def teacher(self) -> MatchingModel:
        """f*, frozen and guided."""
        return self.game.teacher

    def update(self, number: int) -> dict[str, Tensor]:
        """K fake updates, then one generator update (App. B, Alg. 1); returns values for the log."""
        fake, generator, metrics = self.opponent, self.learner, []
        game = dataclasses.replace(self.game, objective=self.config.objective_at(number))

        # fake updates, on images that are generated once
        for draws in self.fake_draws(number):
            for attempt in fake.attempts():
                with attempt as accumulation_steps:
                    for micro_batch in draws.micro_batches(accumulation_steps):
                        with fake.accumulating():
                            fake.backward(self._fake_loss(game, micro_batch))
            metrics.append(fake.step(number))

        # generator update, against the frozen fake model
        draws = self.generator_draws(number)
        with fake.frozen():
            for attempt in generator.attempts():
                with attempt as accumulation_steps:
                    for micro_batch in draws.micro_batches(accumulation_steps):
                        with generator.accumulating():
                            generator.backward(*self._generator_loss(game, micro_batch))
            return mean_of(metrics) | generator.step(number)

    def fake_draws(self, number: int) -> Iterator[StepDraws]:
        """The draws of the K fake updates: the same generated images for all, different real ones."""
        c = self.config
        steps = range(number * c.fake_updates, (number + 1) * c.fake_updates)  # numbered through the run
        generated = self._shown(self.batches.turn("fake", number, c.batch))
        judged = self._shown(self.near.turn("judged", number, c.gan_batch)) if self.adversarial else repeat(None)
        for step, of_generated, of_judged in zip(steps, generated, judged, strict=False):
            real = self.batches.real("fake real", step, c.real_batch) if c.real_batch else None
            yield StepDraws(
                of_generated,
                sharing_noise(real, of_generated) if real is not None and self.game.objective.shares_noise else real,
                of_judged,
                self.near.real("judged real", step, c.gan_batch) if self.adversarial else None,
            )

    def _shown(self, turn: Iterator[Draw]) -> Iterator[Draw]:
        """The draws of the fake updates with images generated from the first one, since the student does not change."""
        first = next(turn)
        for attempt in self.opponent.attempts():
            with attempt as accumulation_steps, self.opponent.autocast():
                images = generated_images(self.generator, first, accumulation_steps)
        for draw in chain([first], turn):
            yield draw.showing(images)

    def generator_draws(self, number: int) -> StepDraws:
        """The draws of the generator update."""
        c, with_real = self.config, self.game.objective.generator_needs_real
        generated = self.batches.generated("generator", number, c.batch, c.generator_times, with_real)
        judged = self.near.generated("judged by generator", number, c.gan_batch) if self.adversarial else None
        return StepDraws(generated, judged=judged)

    def _fake_loss(self, game: Game, draws: StepDraws) -> Tensor:
        c, fake = self.config, self.opponent.call
        with self.opponent.autocast():
            loss = fake_loss(fake, game, draws.generated, draws.real, c.batch, c.real_batch)
            if self.adversarial is None or draws.judged is None or draws.judged_real is None:
                return loss
            judged = (draws.judged, draws.judged_real)
            return loss + discriminator_loss(fake, self.adversarial, self.path, *judged, c.gan_batch)

    def _generator_loss(self, game: Game, draws: StepDraws) -> tuple[Tensor, dict[str, Tensor]]:
        """The generator's loss, a scalar, and sums for the log."""
        c, generator, fake = self.config, self.learner.call, self.opponent.module
        with self.learner.autocast():
            loss, gap, t = generator_loss(generator, fake, game, draws.generated, c.batch)
            if self.adversarial is not None and draws.judged is not None:
                judged = (draws.judged, c.gan_batch)
                loss = loss + deception_loss(generator, fake, self.adversarial, self.path, *judged)
        return loss, self._gap_by_time(gap, t)

    def _gap_by_time(self, gap: Tensor, t: Tensor) -> dict[str, Tensor]:
        """Sums and counts of ||f* - f||^2 in time bins (steps of a sampling grid, data first) for `summary`."""
        inner_edges = self.path.grid(min(TIME_BINS, self.path.most_steps), t.device).flip(0)[1:-1].to(t.dtype)
        index = torch.bucketize(t, inner_edges)
        zeros = torch.zeros(TIME_BINS, device=gap.device, dtype=gap.dtype)
        counts = torch.ones_like(gap)
        return {"gap/sum": zeros.index_add(0, index, gap), "gap/count": zeros.index_add(0, index, counts)}

    def summary(self, means: Mapping[str, float | list[float]]) -> dict[str, Value]:
        """Replace the bins' sums and counts by mean gaps per element: overall, and by time from data to source."""
        sums, counts = means["gap/sum"], means["gap/count"]
        assert isinstance(sums, list) and isinstance(counts, list), "vectors"
        told: dict[str, Value] = {name: value for name, value in means.items() if name not in ("gap/sum", "gap/count")}
        told["gap"] = sum(sums) / max(sum(counts), 1e-9)
        told["gap_by_time"] = [s / n if n else None for s, n in zip(sums, counts, strict=True)]
        return told

    def facts(self) -> Facts:
        """What settings and data say about health before the run."""
        return Facts.of(self.config, self.teacher.num_classes, self.batches.data.labels)

    @torch.no_grad()
    def vitals(self, number: int) -> dict[str, float]:
        """How fake model, teacher, generated and real images stand to each other, on draws of their own streams."""
        count = min(PROBED, len(self.batches.data))
        parts = self.opponent.accumulation_steps * math.ceil(count / self.config.batch)
        generated = self.batches.generated("health", number, count)
        real = micro_batches(self.batches.real("health real", number, count), parts)
        with self.opponent.autocast():
            shown = micro_batches(generated.showing(generated_images(self.generator, generated, parts)), parts)
            return vitals(self.opponent.module, self.game, shown, real, self.learner.accelerator) | self._score

    @cached_property
    def _score(self) -> dict[str, float]:
        return {} if self.execution.shard else teacher_score(self.teacher, self.batches.data)

    def sample(self, model: nn.Module, count: int, seed: int, part: Part = WHOLE) -> Iterator[list[Tensor]]:
        """The student's samples under the conditions of the data, after each of its calls."""
        assert isinstance(model, Student)
        return samples_of_each_call(model, self.batches.data, count, seed=seed, part=part)


def mean_of(steps: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Means of the metrics of several steps."""
    names = dict.fromkeys(chain.from_iterable(steps))
    return {name: torch.stack([step[name] for step in steps]).mean() for name in names}


def generator_accumulation_steps(device: torch.device, numbers: int) -> int:
    """Initial gradient-accumulation steps of the generator update, which stores activations of three networks.

    Two on CPUs for batches so large that halves of them are about as fast, else one.

    Args:
        device: of the run.
        numbers: pixels times channels of a process's batch.
    """
    return 2 if device.type == "cpu" and numbers > 2**15 else 1


def distillation_task(
    teacher: MatchingModel,
    data: Dataset,
    config: DistillConfig,
    start: Student | MatchingModel | None = None,
    fake: MatchingModel | None = None,
) -> tuple[DistillTask, Accelerator]:
    """The task of a distillation on the device of its settings, with data encoded for the teacher."""
    accelerator = make_accelerator(config)
    if teacher.codec:
        data = encode_dataset(data, teacher.codec, accelerator.device)
    return DistillTask(teacher, data, config, accelerator, start, fake), accelerator


def distill_teacher(
    teacher: MatchingModel,
    data: Dataset,
    config: DistillConfig,
    folder: str | Path,
    *,
    start: Student | MatchingModel | None = None,
    fake: MatchingModel | None = None,
    evaluator: Evaluator | None = None,
    resume: bool = False,
) -> Student:
    """Distil a teacher into a generator and write the run to a folder.

    Args:
        teacher: the model to distil.
        data: real data, for the real terms of the losses and for class labels. For a teacher on latents it is encoded
            once, at the start.
        config: settings; everything random follows from `config.seed`.
        folder: of the run, new or empty.
        start: a distilled student to continue from, or the model of a new one; by default the teacher.
        fake: initial fake model, on the teacher's path; by default as `config.fake_start` says.
        evaluator: for quick FDs during training (with `config.evaluate_every`).
        resume: continue the run in `folder`.

    Returns:
        the student with EMA weights: the best by quick FD, or the last if none was computed.
    """
    check_student_run(teacher, data, config, start, fake)
    task, accelerator = distillation_task(teacher, data, config, start, fake)
    student = Run(task, config, Path(folder), accelerator, evaluator).start(resume)
    assert isinstance(student, Student)
    return student
