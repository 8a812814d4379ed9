"""A discriminator as a head on the fake model's bottleneck, for the adversarial baseline."""

from __future__ import annotations

import math

from torch import Tensor, nn

from realuid.models.matching import MatchingModel
from realuid.models.networks.condition import Condition
from realuid.seeds import seeded


class _ReachedError(Exception):
    """Raised at the bottleneck, so that the rest of the network is not computed."""

    def __init__(self, features: Tensor):
        super().__init__()
        self.features = features


class Discriminator(nn.Module):
    """The fake model with a head that classifies real and generated samples from its deepest features.

    For images the head halves them by strided convolutions down to one pixel, as the authors' does; for points it has
    one hidden layer. The network's features follow time and labels, so the discriminator is conditional where it is.

    Args:
        model: the fake model, which is trained by both losses.
    """

    def __init__(self, model: MatchingModel):
        super().__init__()
        self.model = model
        _, shape = model.network.bottleneck()
        self.head = _image_head(*shape) if len(shape) == 3 else _point_head(*shape)

    def forward(
        self,
        x_t: Tensor,
        t: Tensor,
        condition: Condition | None = None,
        space: str | None = None,
        judge: bool = False,
    ) -> Tensor:
        """The model's prediction as `MatchingModel.forward` gives it; with `judge`, logits, shape (b,): large is real.

        One method for both, since a distributed wrapper only sees this one.
        """
        if not judge:
            return self.model(x_t, t, condition, space)
        return self.head(self._features(x_t, t, condition)).flatten(1).mean(1)

    def _features(self, x_t: Tensor, t: Tensor, condition: Condition | None) -> Tensor:
        def stop(module: nn.Module, inputs: object, output: Tensor) -> None:
            raise _ReachedError(output)

        hook = self.model.network.bottleneck()[0].register_forward_hook(stop)
        try:
            self.model(x_t, t, condition)
        except _ReachedError as reached:
            return reached.features
        finally:
            hook.remove()
        raise AssertionError("the network's forward pass does not go through its bottleneck")


def _image_head(channels: int, height: int, width: int) -> nn.Sequential:
    """(b, c, h, w) to (b, 1, h', w'), both sides at most 1 after the last halving (odd ones lose a row)."""
    layers: list[nn.Module] = []
    for _ in range(int(math.log2(min(height, width)))):
        # groups of 8 channels: smaller groups would normalise the last pixel to a constant
        normalise = nn.GroupNorm(math.gcd(channels, max(1, channels // 8)), channels)
        layers += [nn.Conv2d(channels, channels, 2, stride=2), normalise, nn.SiLU()]
    return nn.Sequential(*layers, nn.Conv2d(channels, 1, 1))


def _point_head(width: int) -> nn.Sequential:
    """(b, c) to (b, 1)."""
    return nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 1))


def new_discriminator(model: MatchingModel, seed: int) -> Discriminator:
    """A discriminator around a model, its head's weights random but seeded."""
    with seeded(seed):
        return Discriminator(model)
