r"""General RealUID: the weight of ||delta||^2 is a coefficient of its own (Def. 3).

    E_g [-gamma ||delta||^2 + 2 alpha <delta, f*> - 2 beta <delta, y^g>]
  + E_r [-(1 - gamma) ||delta||^2 + 2 (1 - alpha) <delta, f*> - 2 (1 - beta) <delta, y^r>],        delta = f* - f

gamma = alpha is RealUID. With gamma < 1, alpha = 1 with beta != 1 is legal, and so are alpha and beta above 1, which
the paper leaves out: with alpha = beta = 1 / (1 - lambda) the student learns the mixture (1 - lambda) teacher + lambda
data.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from realuid.objectives.base import Objective
from realuid.objectives.coefficients import check_alpha_sid, check_gamma, check_positive, spread_ratio
from realuid.objectives.reduce import inner


@dataclass(frozen=True)
class GeneralRealUID(Objective):
    """General RealUID for one (alpha, beta, gamma).

    Args:
        alpha, beta: weights of <delta, f*> and <delta, y> on generated data, positive.
        gamma: weight of ||delta||^2 on generated data, in (0, 1]; below 1 unless alpha = beta = 1.
        delta_scale: delta = delta_scale (f* - f): 1, or beta for the paper's alternative parametrisation.
        alpha_sid: factor of 2 gamma ||delta||^2 in the generator's loss; 0.5 is the true gradient.

    Raises:
        ConfigError: for coefficients the loss is not defined for.
    """

    alpha: float = 1.0
    beta: float = 1.0
    gamma: float = 1.0
    delta_scale: float = 1.0
    alpha_sid: float = 0.5

    fake_needs_teacher = True

    def __post_init__(self) -> None:
        check_positive(self.alpha, self.beta)
        check_gamma(self.alpha, self.beta, self.gamma)
        check_alpha_sid(self.alpha_sid)

    @property
    def uses_real_data(self) -> bool:
        return not self.alpha == self.beta == self.gamma == 1

    @property
    def shares_noise(self) -> bool:
        return self.beta > 1

    @property
    def real_spread(self) -> float:
        return spread_ratio(self.alpha, self.beta)

    def fake_on_generated(self, fake: Tensor, target: Tensor, teacher: Tensor | None = None) -> Tensor:
        """gamma ||delta||^2 - 2 alpha <delta, f*> + 2 beta <delta, y>."""
        return self._fake(fake, target, teacher, self.alpha, self.beta, self.gamma)

    def fake_on_real(self, fake: Tensor, target: Tensor, teacher: Tensor | None = None) -> Tensor:
        """(1 - gamma) ||delta||^2 - 2 (1 - alpha) <delta, f*> + 2 (1 - beta) <delta, y>."""
        return self._fake(fake, target, teacher, 1 - self.alpha, 1 - self.beta, 1 - self.gamma)

    def _fake(
        self, fake: Tensor, target: Tensor, teacher: Tensor | None, alpha: float, beta: float, gamma: float
    ) -> Tensor:
        assert teacher is not None, "the fake step calls the teacher where fake_needs_teacher"
        delta = self.delta_scale * (teacher - fake)
        return inner(delta, gamma * delta - 2 * alpha * teacher + 2 * beta * target)

    def generator(self, teacher: Tensor, fake: Tensor, target: Tensor, x_t: Tensor) -> Tensor:
        """-2 s gamma ||delta||^2 + 2 alpha <delta, f*> - 2 beta <delta, y^g>."""
        delta = self.delta_scale * (teacher - fake)
        return inner(delta, 2 * self.alpha * teacher - 2 * self.beta * target - 2 * self.alpha_sid * self.gamma * delta)
