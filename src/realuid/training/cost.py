"""The one cost model: forward passes of an update, per generated image of the batch.

A forward pass of one image through the network is 1. A backward pass is 2, or 1 where only the input needs a gradient;
a discriminator's head stops at the bottleneck, half a network.
"""

from __future__ import annotations

from typing import NamedTuple

from realuid.training.config import DistillConfig


class Cost(NamedTuple):
    """Forward passes per generated image of a batch.

    Attributes:
        fake_step: one step of the fake model.
        making: of the images that the K fake steps of an update share.
        generator_step: the step of the generator.
    """

    fake_step: float
    making: float
    generator_step: float


def cost_of(config: DistillConfig) -> Cost:
    """What the steps of a distillation cost.

    Fake step: 3 for generated and real images alike, and where the objective reads the teacher on this turn its forward
    pass. Generator step: 3 for the generator; for teacher and fake model 2 each, or 1 where the objective's gradient
    does not go through them. A guided teacher is called twice.
    """
    objective, teacher = config.make_objective(), 1.0 if config.guidance == 1 else 2.0
    real, judged = config.real_batch / config.batch, config.gan_batch / config.batch
    fake_step = (3 + (teacher if objective.fake_needs_teacher else 0)) * (1 + real) + 3 * judged
    through = 2 if objective.through_networks else 1
    generator_step = 3 + through * (1 + teacher) + (teacher if objective.generator_needs_real else 0) + 4 * judged
    return Cost(fake_step, 1 + judged, generator_step)


def forward_passes(config: DistillConfig) -> float:
    """Forward passes of one update: K fake steps and one of the generator."""
    cost = cost_of(config)
    return config.fake_updates * cost.fake_step + cost.making + cost.generator_step
