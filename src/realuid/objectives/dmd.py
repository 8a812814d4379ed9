r"""Distribution matching distillation with real data (Lemma 5): a KL divergence between score fields.

The fake model learns the score of the mixture alpha p^g + (1 - alpha) p*; the generator follows alpha (s_fake - s*) at
x_t^g, with no gradient through the two networks.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from realuid.errors import ConfigError
from realuid.objectives.realuid import RealUM
from realuid.objectives.reduce import inner


@dataclass(frozen=True)
class DMD(RealUM):
    """DMD; the mixture of Lemma 5 is RealUM with alpha = beta.

    In the score space the generator's gradient is Lemma 5's times w(t), the path's own being b^2. In the data space it
    is Lemma 5's times b^2 / a, the weight that DMD was published with.

    Raises:
        ConfigError: unless alpha = beta, in (0, 1].
    """

    through_networks = False
    spaces = ("data_prediction", "score")
    needs_ratio = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.alpha != self.beta:
            raise ConfigError(
                f"alpha = {self.alpha}, beta = {self.beta}: DMD with real data needs alpha = beta (Lemma 5)."
            )

    def generator(self, teacher: Tensor, fake: Tensor, target: Tensor, x_t: Tensor) -> Tensor:
        """A number whose gradient in x_t is alpha (s_fake - s*)."""
        return self.alpha * inner((fake - teacher).detach(), x_t)
