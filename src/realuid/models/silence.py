"""A model that returns 0, for distillation without a teacher and for dry runs."""

from __future__ import annotations

import torch
from torch import Tensor

from realuid.models.matching import MatchingModel
from realuid.models.networks.base import Network
from realuid.models.networks.condition import Condition
from realuid.models.networks.specs import ConditionSpec


class Silent(Network):
    """Predicts 0 for samples of another network's shape and conditions; it has no weights."""

    def __init__(self, like: Network):
        super().__init__({})
        self.shape, self.num_classes = like.shape, like.num_classes
        self.sees_source, self.heads = like.sees_source, like.heads
        self._conditions = like.conditions

    @property
    def conditions(self) -> tuple[ConditionSpec, ...]:
        return self._conditions

    def forward(self, x: Tensor, time: Tensor, condition: Condition) -> Tensor:
        return torch.cat([torch.zeros_like(x)] * self.heads, dim=1)

    def recompute_activations(self) -> None:
        """There are none."""


def silent(model: MatchingModel) -> MatchingModel:
    """A model of the same samples, path, prediction and conditions around a network that returns 0."""
    twin = MatchingModel(
        Silent(model.network), model.path, model.prediction, model.preconditioning, model.codec, model.null_class
    )
    twin.degradation = model.degradation
    twin.class_names, twin.class_counts = model.class_names, model.class_counts
    return twin.eval()
