r"""RealUID: the min-max loss with real data inside (Def. 2, Thm. 2, Lemma 3), and RealSiD (App. A.3).

    min_G max_f  RealUM(f*) - RealUM(f)

Division by alpha and 1 - alpha is expanded away, so alpha = 1 needs no case of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from realuid.objectives.coefficients import check_realuid
from realuid.objectives.reduce import inner, squared_norm


@dataclass(frozen=True)
class RealUID:
    """The losses of both players for one (alpha, beta).

    Args:
        alpha: weight of generated data in the fake model's loss, in (0, 1].
        beta: weight of the generated data's target, in (0, 1]. alpha = beta = 1 is UID (= FGM, SiD at 0.5, IBMD).
        alpha_sid: weight of ||f* - f||^2 in the generator's loss (SiD's alpha): 0.5 is the true gradient of the
            min-max loss; 1.0 to 1.2 is what SiD uses in practice.

    Raises:
        ConfigError: for coefficients the loss is not defined for.
    """

    alpha: float = 1.0
    beta: float = 1.0
    alpha_sid: float = 0.5

    #: The teacher is called on the generator's turn only.
    fake_needs_teacher = False

    def __post_init__(self) -> None:
        check_realuid(self.alpha, self.beta, self.alpha_sid)

    @property
    def uses_real_data(self) -> bool:
        """Whether the fake step has a real-data term at all: not at alpha = beta = 1."""
        return not self.alpha == self.beta == 1

    def fake_on_generated(self, fake: Tensor, target: Tensor, teacher: Tensor | None = None) -> Tensor:
        """alpha ||f - (beta / alpha) y||^2 per sample, the generated term of RealUM (Def. 2).

        Args:
            fake: f(x_t^g), shape (b, *d).
            target: y^g, shape (b, *d).
            teacher: not read; General RealUID needs it.
        """
        a, b = self.alpha, self.beta
        return a * squared_norm(fake) - 2 * b * inner(fake, target) + b * b / a * squared_norm(target)

    def fake_on_real(self, fake: Tensor, target: Tensor, teacher: Tensor | None = None) -> Tensor:
        """(1 - alpha) ||f - ((1 - beta) / (1 - alpha)) y||^2 per sample, the real term of RealUM (Def. 2)."""
        a, b = 1 - self.alpha, 1 - self.beta
        constant = b * b / a if a > 0 else 0.0
        return a * squared_norm(fake) - 2 * b * inner(fake, target) + constant * squared_norm(target)

    def generator(self, teacher: Tensor, fake: Tensor, target: Tensor) -> Tensor:
        """-2 s alpha ||delta||^2 + 2 alpha <delta, f*> - 2 beta <delta, y^g> per sample (Lemma 3, App. A.3).

        With delta = f* - f. At s = alpha_sid = 0.5 it is Thm. 2's
        alpha (||f* - (beta / alpha) y||^2 - ||f - (beta / alpha) y||^2).

        Args:
            teacher, fake: f*(x_t^g) and f(x_t^g), shape (b, *d), with the graph through x_t^g.
            target: y^g, shape (b, *d), with the graph through x_0^g.
        """
        delta = teacher - fake
        return inner(delta, 2 * self.alpha * (teacher - self.alpha_sid * delta) - 2 * self.beta * target)
