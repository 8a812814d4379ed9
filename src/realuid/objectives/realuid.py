r"""RealUID: the min-max loss with real data (Def. 2, Thm. 2, Lemma 3), and RealSiD (App. A.3).

    min_G max_f  RealUM(f*) - RealUM(f)

The losses are expanded so that nothing is divided by alpha or 1 - alpha, and alpha = 1 is no special case.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from realuid.objectives.base import Objective
from realuid.objectives.coefficients import check_alpha_beta, check_alpha_sid, check_ratio, spread_ratio
from realuid.objectives.reduce import inner, squared_norm


@dataclass(frozen=True)
class RealUM(Objective):
    """The fake model's loss of RealUID: unified matching on a mixture of generated and real data (Def. 2).

    Args:
        alpha: weight of generated data, in (0, 1].
        beta: weight of generated data's target, in (0, 1]; 1 where alpha is.

    Raises:
        ConfigError: for coefficients the loss is not defined for.
    """

    alpha: float = 1.0
    beta: float = 1.0

    def __post_init__(self) -> None:
        check_alpha_beta(self.alpha, self.beta)
        check_ratio(self.alpha, self.beta)

    @property
    def uses_real_data(self) -> bool:
        return self.alpha < 1

    @property
    def real_spread(self) -> float:
        return spread_ratio(self.alpha, self.beta)

    def fake_on_generated(self, fake: Tensor, target: Tensor, teacher: Tensor | None = None) -> Tensor:
        """alpha ||f - (beta / alpha) y||^2, the generated term of RealUM."""
        a, b = self.alpha, self.beta
        return a * squared_norm(fake) - 2 * b * inner(fake, target) + b * b / a * squared_norm(target)

    def fake_on_real(self, fake: Tensor, target: Tensor, teacher: Tensor | None = None) -> Tensor:
        """(1 - alpha) ||f - ((1 - beta) / (1 - alpha)) y||^2, the real term of RealUM."""
        a, b = 1 - self.alpha, 1 - self.beta
        constant = b * b / a if a > 0 else 0.0
        return a * squared_norm(fake) - 2 * b * inner(fake, target) + constant * squared_norm(target)


@dataclass(frozen=True)
class RealUID(RealUM):
    """RealUID for one (alpha, beta); alpha = beta = 1 is UID, which is FGM, SiD at 0.5 and IBMD.

    Args:
        alpha, beta: see `RealUM`.
        alpha_sid: s, weight of ||f* - f||^2 in the generator's loss (SiD's alpha): 0.5 is the true gradient of the
            min-max loss; 1.0 to 1.2 is what SiD uses in practice.
    """

    alpha_sid: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_alpha_sid(self.alpha_sid)

    def generator(self, teacher: Tensor, fake: Tensor, target: Tensor, x_t: Tensor) -> Tensor:
        """-2 s alpha ||delta||^2 + 2 alpha <delta, f*> - 2 beta <delta, y^g>, delta = f* - f (Lemma 3, App. A.3).

        At s = 0.5 it is Thm. 2's alpha (||f* - (beta / alpha) y||^2 - ||f - (beta / alpha) y||^2).
        """
        delta = teacher - fake
        return inner(delta, 2 * self.alpha * (teacher - self.alpha_sid * delta) - 2 * self.beta * target)
