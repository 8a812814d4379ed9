"""Adversarial losses of one step, with the conventions of `updates`."""

from __future__ import annotations

import torch
from torch import Tensor

from realuid.models import Condition
from realuid.objectives import Adversarial
from realuid.paths import Path
from realuid.training.draws import Draw
from realuid.training.updates import GeneratorCall, ModelCall


def discriminator_loss(
    discriminator: ModelCall,
    adversarial: Adversarial,
    path: Path,
    generated: Draw,
    real: Draw,
    batch: int,
) -> Tensor:
    """lambda_D (E softplus(D(x_t^g)) + E softplus(-D(x_t^r))), a scalar, in one forward pass.

    Args:
        discriminator: the trained discriminator (or its distributed wrapper).
        adversarial: the per-sample losses.
        path: of x_t.
        generated, real: draws with images, at times near the data.
        batch: size of the whole batch of either.
    """
    assert generated.x_0 is not None and real.x_0 is not None, "draws with images"
    eps = None if generated.eps is None or real.eps is None else torch.cat([generated.eps, real.eps])
    x_0, x_T = torch.cat([generated.x_0, real.x_0]), torch.cat([generated.x_T, real.x_T])
    t, condition = torch.cat([generated.t, real.t]), Condition.cat([generated.condition, real.condition])
    x_t, _ = path.sample(x_0, x_T, t, eps)
    on_generated, on_real = discriminator(x_t, t, condition, judge=True).split([len(generated), len(real)])
    fooled = adversarial.discriminator_on_generated(on_generated).sum()
    return (fooled + adversarial.discriminator_on_real(on_real).sum()) / batch


def deception_loss(
    generator: GeneratorCall,
    discriminator: ModelCall,
    adversarial: Adversarial,
    path: Path,
    draw: Draw,
    batch: int,
) -> Tensor:
    """lambda_G E softplus(-D(x_t^g)), a scalar: the generator's adversarial loss, with the discriminator frozen.

    Args:
        generator: the trained student (or its distributed wrapper).
        discriminator: its parameters must not require gradients.
        adversarial, path, batch: as in `discriminator_loss`.
        draw: noise, times near the data, labels.
    """
    x_0 = generator(*draw.inputs)
    x_t, _ = path.sample(x_0, draw.x_T, draw.t, draw.eps)
    return adversarial.generator(discriminator(x_t, draw.t, draw.condition, judge=True)).sum() / batch
