"""The adversarial loss, the paper's baseline: a non-saturating GAN loss at times near the data."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import softplus

from realuid.errors import ConfigError

#: lambda_D / lambda_G of the published runs.
PUBLISHED_RATIO = 3.0


@dataclass(frozen=True)
class Adversarial:
    """Losses of a discriminator (a head on the fake model) and of the generator, per sample.

    Args:
        lambda_g: weight beside the generator's loss, which is a sum over the elements of a sample.
        lambda_d: weight beside the fake model's loss.
        window: fraction of the path's times, those nearest to the data, at which the discriminator is trained.

    Raises:
        ConfigError: for weights that are not positive, or a window outside (0, 1].
    """

    lambda_g: float
    lambda_d: float
    window: float = 0.2

    def __post_init__(self) -> None:
        for name in ("lambda_g", "lambda_d"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} = {getattr(self, name)}: with the adversarial loss it must be positive.")
        if not 0 < self.window <= 1:
            raise ConfigError(f"gan_window = {self.window} is outside (0, 1]: it is a share of the path's times.")

    def discriminator_on_generated(self, logits: Tensor) -> Tensor:
        """lambda_D softplus(D(x_t^g)), shape (b,)."""
        return self.lambda_d * softplus(logits.float())

    def discriminator_on_real(self, logits: Tensor) -> Tensor:
        """lambda_D softplus(-D(x_t^r)), shape (b,)."""
        return self.lambda_d * softplus(-logits.float())

    def generator(self, logits: Tensor) -> Tensor:
        """lambda_G softplus(-D(x_t^g)), shape (b,): the non-saturating loss."""
        return self.lambda_g * softplus(-logits.float())
