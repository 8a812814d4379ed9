"""Classifier-free guidance (Ho & Salimans 2022)."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from realuid.errors import ConfigError
from realuid.models.matching import MatchingModel
from realuid.models.networks.condition import Condition
from realuid.models.networks.specs import without
from realuid.paths import Estimate
from realuid.settings import check_finite


class Guided(MatchingModel):
    """f(x_t, t, null) + scale (f(x_t, t, c) - f(x_t, t, null)), in one network call with twice the batch.

    All conditions that have a null are replaced together; the source x_T has none and stays.

    Conversions between predictions are affine at a point, so guidance is the same in every prediction (but for networks
    with a rule of their own: `Network.guide`, which is applied to what they predict). It
    shares its network with the model that it guides, and is saved as that model.

    Args:
        model: conditional, trained with conditions dropped: one of them has a null.
        scale: 1 is the model itself.

    Raises:
        ConfigError: for a model none of whose conditions has a null.
    """

    def __init__(self, model: MatchingModel, scale: float):
        if all(spec.null is None for spec in model.conditions):
            if any(spec.kind == "text" for spec in model.conditions):
                raise ConfigError(
                    f"guidance = {scale:g}: the empty prompt is not known. Take data that `realuid prepare` wrote, or "
                    "a prompt encoder, or use guidance = 1."
                )
            raise ConfigError(
                f"guidance = {scale:g}: the model was not trained without labels. Train the teacher with "
                "conditional data and label_dropout > 0, or use guidance = 1."
            )
        super().__init__(
            model.network, model.path, model.prediction, model.preconditioning, model.codec, model.null_class
        )
        self.scale, self.clipping = scale, model.clipping

    def forward(
        self,
        x_t: Tensor,
        t: Tensor,
        condition: Condition | None = None,
        space: str | None = None,
        with_unguided: bool = False,
    ) -> Tensor:
        """As of any model; `with_unguided`: the guided prediction and the one without guidance, shape (2, b, *d)."""
        space = space or self.prediction
        if not with_unguided:
            return self.estimate(x_t, t, condition)[space]
        guided, unguided = self._both(x_t, t, condition)
        return torch.stack([guided[space], unguided[space]])

    def estimate(self, x_t: Tensor, t: Tensor, condition: Condition | None = None) -> Estimate:
        return self._both(x_t, t, condition)[0]

    def _both(self, x_t: Tensor, t: Tensor, condition: Condition | None) -> tuple[Estimate, Estimate]:
        """With guidance and without, from one network call."""
        condition = condition or Condition()
        for spec in self.network.conditions:
            self.network.read(condition, spec.name)
        pair = Condition.cat([condition, without(self.conditions, condition)])
        both = super().estimate(torch.cat([x_t, x_t]), torch.cat([t, t]), pair)
        conditional, unconditional = both.value.chunk(2)
        k, x_T = self.path.coefficients(t).expand(x_t), None if both.x_T is None else both.x_T.chunk(2)[0]
        value = self.network.guide(conditional, unconditional, self.scale)
        guided = dataclasses.replace(both, value=value, k=k, x_t=x_t, x_T=x_T)
        return guided, dataclasses.replace(guided, value=conditional)


def guided(model: MatchingModel, scale: float | None) -> MatchingModel:
    """The model with guidance of a scale; at 1 the model itself.

    Args:
        model: a teacher.
        scale: None: the usual one of its text-to-image pipeline if the null condition is known, else 1.

    Raises:
        ConfigError: for a scale that is no finite number, or a model that cannot be guided.
    """
    if scale is None:
        known = any(spec.null is not None for spec in model.conditions)
        scale = model.network.usual_guidance or 1.0 if known else 1.0
    check_finite("guidance", scale)
    return model if scale == 1 else Guided(model, scale)
