r"""Data-Forcing Distillation (arXiv 2606.18478): DMD with the teacher also evaluated at noised real data.

The generator follows s_fake(x_t^g) - s*(x_t^r) with probability w, and DMD's s_fake(x_t^g) - s*(x_t^g) otherwise, with
the same noise in x_t^g and x_t^r. Here both are used, weighted by their probabilities, which is the expectation.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from realuid.objectives.base import Objective
from realuid.objectives.coefficients import check_data_weight
from realuid.objectives.matching import matching_loss
from realuid.objectives.reduce import inner


@dataclass(frozen=True)
class DataForcing(Objective):
    """Data-Forcing Distillation, on paths from data to noise.

    With the same noise, the difference of scores is that of residuals: f*(x_t^r) - y^r takes the place of
    f*(x_t^g) - y^g, in whatever space. In the data space the gradient has the weight that DMD was published with.

    Args:
        data_weight: w, the probability of noised real data, in [0, 1]; 0 is DMD, 0.5 is published.

    Raises:
        ConfigError: for a probability outside [0, 1].
    """

    data_weight: float = 0.5

    through_networks = False
    generator_needs_real = True
    spaces = ("data_prediction", "score")
    needs_ratio = False

    def __post_init__(self) -> None:
        check_data_weight(self.data_weight)

    @property
    def uses_real_data(self) -> bool:
        """The fake model learns the generator's distribution alone."""
        return False

    @property
    def real_spread(self) -> float:
        return 0.0

    def fake_on_generated(self, fake: Tensor, target: Tensor, teacher: Tensor | None = None) -> Tensor:
        """||f - y^g||^2."""
        return matching_loss(fake, target)

    def fake_on_real(self, fake: Tensor, target: Tensor, teacher: Tensor | None = None) -> Tensor:
        """Zeros: real data has no term here."""
        return 0 * matching_loss(fake, target)

    def teacher_signal(self, on_generated: Tensor, y_g: Tensor, on_real: Tensor, y_r: Tensor) -> Tensor:
        """(1 - w) f*(x_t^g) + w (f*(x_t^r) - y^r + y^g), shapes (b, *d)."""
        return on_generated + self.data_weight * (on_real - y_r + y_g - on_generated)

    def generator(self, teacher: Tensor, fake: Tensor, target: Tensor, x_t: Tensor) -> Tensor:
        """A number whose gradient in x_t is s_fake minus the teacher's signal."""
        return inner((fake - teacher).detach(), x_t)
