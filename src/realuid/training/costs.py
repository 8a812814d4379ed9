"""Cost of an update, in forward passes of one image through one network.

Settings, dry runs, benchmarks and tests all use this count.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from realuid.training.config import DistillConfig

#: A forward pass alone.
FORWARD = 1.0
#: A forward pass, and a backward pass to weights and activations: a trained network.
LEARN = 3.0
#: A forward pass, and a backward pass to the input only: a frozen network.
THROUGH = 2.0
#: Fraction of the fake model that the discriminator evaluates: up to the bottleneck.
JUDGED_SHARE = 0.5


@dataclass(frozen=True)
class UpdateCost:
    """Cost of one update of a distillation, per image of its batch.

    Attributes:
        images: forward passes that generate the images of the fake updates.
        fake_step: passes of one fake update, including real images and those of the discriminator.
        fake_steps: number of fake updates.
        generator: passes of the generator update.
        fake_kept, generator_kept: forward passes whose activations are stored for the backward pass, in a fake update
            and in the generator update.
    """

    images: float
    fake_step: float
    fake_steps: int
    generator: float
    fake_kept: float
    generator_kept: float

    @property
    def passes(self) -> float:
        """All forward passes of the update."""
        return self.images + self.fake_steps * self.fake_step + self.generator


def generated_cost(fake_updates: int, with_teacher: bool = False) -> float:
    """Cost of a generated image in a fake update, relative to a real one: its generation is shared by the K updates.

    Args:
        fake_updates: K.
        with_teacher: whether the fake model's loss also calls the teacher.
    """
    in_a_step = LEARN + (FORWARD if with_teacher else 0)
    return 1 + FORWARD / (in_a_step * fake_updates)


def update_cost(config: DistillConfig) -> UpdateCost:
    """Cost of an update with these settings."""
    objective = config.make_objective()
    real, judged = config.real_batch / config.batch, config.gan_batch / config.batch
    teacher_calls = 1 if config.guidance == 1 else 2  # with a condition, and without
    fake_step = LEARN * (1 + real + 2 * JUDGED_SHARE * judged)
    if objective.fake_needs_teacher:
        fake_step += FORWARD * teacher_calls * (1 + real)
    frozen = THROUGH if objective.through_networks else FORWARD
    rollout = (config.number_of_calls - 1) / 2 if config.call_inputs == "rollout" else 0  # calls before the one trained
    generator = (LEARN + FORWARD * rollout) * (1 + judged)
    generator += frozen * (1 + teacher_calls) + THROUGH * JUDGED_SHARE * judged
    if objective.generator_needs_real:
        generator += FORWARD * teacher_calls
    return UpdateCost(
        images=FORWARD * (1 + rollout) * (1 + judged),
        fake_step=fake_step,
        fake_steps=config.fake_updates,
        generator=generator,
        fake_kept=1 + real + 2 * JUDGED_SHARE * judged,
        generator_kept=1 + judged * (1 + JUDGED_SHARE) + (1 + teacher_calls if objective.through_networks else 0),
    )
