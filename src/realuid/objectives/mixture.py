r"""Mixture UID: the student learns the mixture of the teacher's distribution and the data (docs/theory.md, law 2).

    E_g [-gamma ||delta||^2 + 2 <delta, f~ - y^g>] + E_r [-(1 - gamma) ||delta||^2 - 2 lambda <delta, f~ - y^r>]

with delta = f~ - f; f maximises, the generator minimises. Its maximum over f is 0 if and only if

    p^g = (1 - lambda) p~ + lambda p^r,

where p~ is the teacher's distribution. It is General RealUID at alpha = beta = 1 / (1 - lambda) > 1 with
delta = beta (f~ - f), divided by beta^2, and needs no division, so lambda = 1 is no special case.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from realuid.errors import ConfigError
from realuid.objectives.base import Objective
from realuid.objectives.coefficients import check_alpha_sid, check_data_weight
from realuid.objectives.reduce import inner


@dataclass(frozen=True)
class MixtureUID(Objective):
    """Mixture UID for one (lambda, gamma).

    Args:
        data_weight: lambda, the weight of the data in the mixture that the student learns, in [0, 1]: 0 is UID, 1
            is the data alone, whatever the teacher.
        gamma: weight of ||delta||^2 on generated data, in (0, 1]; below 1 unless lambda = 0. It changes how the two
            distributions are compared, not where they agree.
        alpha_sid: factor of 2 gamma ||delta||^2 in the generator's loss; 0.5 is the true gradient.

    Raises:
        ConfigError: for coefficients the loss is not defined for.
    """

    data_weight: float = 1.0
    gamma: float = 0.5
    alpha_sid: float = 0.5

    fake_needs_teacher = True
    guides_real_target = True
    needs_ratio = False

    def __post_init__(self) -> None:
        check_data_weight(self.data_weight)
        check_alpha_sid(self.alpha_sid)
        if not 0 < self.gamma <= 1:
            raise ConfigError(f"gamma = {self.gamma} is outside (0, 1]. The mixture objective's default is 0.5.")
        if self.gamma == 1 and self.data_weight > 0:
            raise ConfigError(
                f"gamma = 1 with data_weight = {self.data_weight}: on real data nothing would hold the fake model back "
                "(weight 1 - gamma = 0). Use gamma < 1; the default is 0.5."
            )

    @property
    def uses_real_data(self) -> bool:
        return self.gamma < 1

    @property
    def shares_noise(self) -> bool:
        return self.data_weight > 0

    @property
    def real_spread(self) -> float:
        """Near the solution delta is small, so the gradients' spreads are those of y^g and of lambda y^r."""
        return max(self.data_weight, 1 - self.gamma)

    def fake_on_generated(self, fake: Tensor, target: Tensor, teacher: Tensor | None = None) -> Tensor:
        """gamma ||delta||^2 - 2 <delta, f~ - y^g>."""
        return self._fake(fake, target, teacher, self.gamma, 1.0)

    def fake_on_real(self, fake: Tensor, target: Tensor, teacher: Tensor | None = None) -> Tensor:
        """(1 - gamma) ||delta||^2 + 2 lambda <delta, f~ - y^r>."""
        return self._fake(fake, target, teacher, 1 - self.gamma, -self.data_weight)

    @staticmethod
    def _fake(fake: Tensor, target: Tensor, teacher: Tensor | None, gamma: float, weight: float) -> Tensor:
        assert teacher is not None, "the fake step calls the teacher where fake_needs_teacher"
        delta = teacher - fake
        return inner(delta, gamma * delta - 2 * weight * (teacher - target))

    def generator(self, teacher: Tensor, fake: Tensor, target: Tensor, x_t: Tensor) -> Tensor:
        """-2 s gamma ||delta||^2 + 2 <delta, f~ - y^g>."""
        delta = teacher - fake
        return 2 * inner(delta, teacher - target - self.alpha_sid * self.gamma * delta)
