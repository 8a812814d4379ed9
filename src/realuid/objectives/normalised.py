r"""Normalised RealUID: only the direction of delta counts (Def. 4).

E_g <u_g, alpha f* - beta y^g> + E_r <u_r, (1 - alpha) f* - (1 - beta) y^r>,        u = (f* - f) / ||f* - f||
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from realuid.objectives.base import Objective
from realuid.objectives.coefficients import check_alpha_beta, spread_ratio
from realuid.objectives.reduce import inner, squared_norm

#: Below this norm delta has no direction worth following.
_TINY = 1e-12


@dataclass(frozen=True)
class NormalisedRealUID(Objective):
    """Normalised RealUID for one (alpha, beta), both in (0, 1].

    Raises:
        ConfigError: for coefficients outside (0, 1].
    """

    alpha: float = 1.0
    beta: float = 1.0

    fake_needs_teacher = True

    def __post_init__(self) -> None:
        check_alpha_beta(self.alpha, self.beta)

    @property
    def uses_real_data(self) -> bool:
        return not self.alpha == self.beta == 1

    @property
    def real_spread(self) -> float:
        return spread_ratio(self.alpha, self.beta)

    @staticmethod
    def _along(teacher: Tensor, fake: Tensor, vector: Tensor) -> Tensor:
        """<u, vector>, with u = delta / ||delta||."""
        delta = teacher - fake
        return inner(delta, vector) / squared_norm(delta).clamp(min=_TINY**2).sqrt()

    def fake_on_generated(self, fake: Tensor, target: Tensor, teacher: Tensor | None = None) -> Tensor:
        """-<u, alpha f* - beta y>."""
        assert teacher is not None, "the fake step calls the teacher where fake_needs_teacher"
        return -self._along(teacher, fake, self.alpha * teacher - self.beta * target)

    def fake_on_real(self, fake: Tensor, target: Tensor, teacher: Tensor | None = None) -> Tensor:
        """-<u, (1 - alpha) f* - (1 - beta) y>."""
        assert teacher is not None, "the fake step calls the teacher where fake_needs_teacher"
        return -self._along(teacher, fake, (1 - self.alpha) * teacher - (1 - self.beta) * target)

    def generator(self, teacher: Tensor, fake: Tensor, target: Tensor, x_t: Tensor) -> Tensor:
        """<u, alpha f* - beta y^g>."""
        return self._along(teacher, fake, self.alpha * teacher - self.beta * target)
