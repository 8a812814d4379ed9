"""A network that is told which call of a student made a sample: for fake models of students of several calls."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from realuid.models.networks.base import Network
from realuid.models.networks.condition import CALL, Condition
from realuid.models.networks.specs import ConditionSpec


class SeesCall(Network):
    """Adds a learned image for each call, zero at first, to the input of any network: at first it is that network.

    Args:
        network: called with what it declares itself.
        calls: of the student.
    """

    def __init__(self, network: Network, calls: int):
        super().__init__({"calls": calls, **network.settings})
        self.network = network
        self.shape, self.num_classes = network.shape, network.num_classes
        self.sees_source, self.heads, self.shares_base = network.sees_source, network.heads, network.shares_base
        self.of_call = nn.Parameter(torch.zeros(calls, *network.shape))

    @property
    def conditions(self) -> tuple[ConditionSpec, ...]:
        call = ConditionSpec(CALL, "label", dtype=torch.int64, classes=len(self.of_call))
        return (*self.network.conditions, call)

    def forward(self, x: Tensor, time: Tensor, condition: Condition) -> Tensor:
        return self.network(x + self.of_call[self.read(condition, CALL)].to(x.dtype), time, condition)

    def bottleneck(self) -> tuple[nn.Module, tuple[int, ...]]:
        return self.network.bottleneck()

    def recompute_activations(self) -> None:
        self.network.recompute_activations()
