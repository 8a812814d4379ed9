"""The one-step generator: a matching model asked once, at one fixed time."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from realuid.errors import ConfigError
from realuid.models.codec import Codec
from realuid.models.matching import MatchingModel
from realuid.models.networks.condition import SOURCE, Condition
from realuid.models.networks.specs import ConditionSpec

#: Noise-to-signal ratio at which a generator starts unless told otherwise: SiD's sigma_init.
SIGMA_INIT = 2.5


class Generator(nn.Module):
    """G(z) = the model's data prediction at x_t = b(t_init) z, t = t_init (sec. 3 and App. B).

    In general x_t is the path's start: all of its noise and, where coupled, its source images; nothing of x_0.

    On a coupled path x_T comes with the condition: G(z, x_T), or without noise G(x_T).

    Args:
        model: the matching model that becomes the generator; distillation starts from the teacher's weights.
        t_init: start time in (0, t_max]. t_max is the paper's form (for flow G(z) = z - f(z, 1)). Below it is SiD's
            sigma_init = b / a, by default 2.5: t = 0.714 on the linear path. On coupled paths the default is the first
            time at which the noise c is as strong as the data a.
        noise: whether z enters. Without it samples are a function of x_T, which only coupled paths have.

    Raises:
        ConfigError: for a t_init outside the path's times, or no noise where there is no x_T.
        PredictionError: if a data prediction does not follow from the model's own.

    Attributes:
        about: how it was made (teacher, data, settings), JSON-ready, where its files or the run say so.
    """

    def __init__(self, model: MatchingModel, t_init: float | None = None, noise: bool = True):
        super().__init__()
        path = model.path
        self.model, self.noise = model, noise
        self.about: dict[str, Any] = {}
        self.t_init = path.start_time(SIGMA_INIT) if t_init is None else float(t_init)
        if not path.t_min < self.t_init <= path.t_max:
            raise ConfigError(
                f"t_init = {t_init} is outside ({path.t_min:g}, {path.t_max:g}], the times of path '{path.name}'."
            )
        if not noise and not path.coupled:
            raise ConfigError(
                f"noise = False, but only coupled paths start from a source image; '{path.name}' is none."
            )
        model.check_space("data_prediction")

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        return self.model.shape

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Shape of one sample as people see it: decoded, where the model lives on latents."""
        return self.model.image_shape

    @property
    def num_classes(self) -> int:
        """Number of classes, 0 where unconditional."""
        return self.model.num_classes

    @property
    def conditions(self) -> tuple[ConditionSpec, ...]:
        """What it is conditioned on."""
        return self.model.conditions

    @property
    def coupled(self) -> bool:
        """Whether it starts from source images x_T."""
        return self.model.coupled

    @property
    def codec(self) -> Codec | None:
        """Where samples are latents: what turns them into images."""
        return self.model.codec

    @property
    def device(self) -> torch.device:
        """The device of the parameters."""
        return self.model.device

    def forward(self, z: Tensor, condition: Condition | None = None) -> Tensor:
        """One network call: standard normal z, shape (b, *shape), to samples of the same shape in data units.

        Args:
            z: standard normal; without `noise` only its shape counts.
            condition: what `conditions` declares.
        """
        dtype = torch.promote_types(z.dtype, torch.float32)
        t = torch.full((z.shape[0],), self.t_init, device=z.device, dtype=dtype)
        x_T = condition.get(SOURCE) if condition else None
        x_t = self.model.path.start(t, z if self.noise else torch.zeros_like(z), x_T)
        return self.model(x_t.to(z.dtype), t, condition, space="data_prediction")
