"""A network conditioned on the call that made a sample, for fake models of students of several calls."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from realuid.errors import ConfigError
from realuid.models.networks.base import Network
from realuid.models.networks.condition import CALL, LABEL, Condition
from realuid.models.networks.specs import ConditionSpec
from realuid.seeds import seeded


class SeesCall(Network):
    """A network of pairs (class, call) in the place of classes; at first it is the network that it is made of.

    Args:
        network: of an architecture that takes classes, conditional or not; its weights are copied, and a class of it
            becomes that many classes of the same embedding. Without classes, embeddings of calls begin at zero.
        calls: of the student.

    Raises:
        ConfigError: for an architecture without classes.
    """

    def __init__(self, network: Network, calls: int):
        super().__init__({"calls": calls, **network.settings})
        check_told(network)
        self.calls = calls
        self.shape, self.num_classes = network.shape, network.num_classes
        self.sees_source, self.heads = network.sees_source, network.heads
        pairs = max(network.num_classes, 1) * calls
        with seeded(0):  # of weights that are replaced
            self.network = type(network)(**{**network.settings, network.class_setting: pairs})
        self.network.load_state_dict(_of_pairs(network, self.network, calls))

    @property
    def conditions(self) -> tuple[ConditionSpec, ...]:
        call = ConditionSpec(CALL, "label", dtype=torch.int64, classes=self.calls)
        others = tuple(spec for spec in self.network.conditions if spec.name != LABEL)
        return (*super().conditions[: self.num_classes > 0], *others, call)

    def forward(self, x: Tensor, time: Tensor, condition: Condition) -> Tensor:
        call, label = self.read(condition, CALL), self.labels(condition)
        pair = call if label is None else label * self.calls + call
        return self.network(x, time, condition.replace(**{LABEL: pair}))

    def bottleneck(self) -> tuple[nn.Module, tuple[int, ...]]:
        return self.network.bottleneck()

    def recompute_activations(self) -> None:
        self.network.recompute_activations()


def check_told(network: Network) -> None:
    """Raise ConfigError for an architecture without classes."""
    if not network.class_setting:
        raise ConfigError(
            f"fake_sees_call = True: a {type(network).__name__} has no classes, which would tell it the call. "
            "Leave fake_sees_call out."
        )


def _of_pairs(network: Network, wide: Network, calls: int) -> dict[str, Tensor]:
    """The weights of a network of classes for one of pairs (class, call)."""
    old, found = network.state_dict(), {}
    for name, value in wide.state_dict().items():
        if name not in old:
            found[name] = torch.zeros_like(value)
        elif value.shape == old[name].shape:
            found[name] = old[name]
        else:
            axis = next(i for i, (m, n) in enumerate(zip(value.shape, old[name].shape, strict=True)) if m != n)
            of_classes, others = old[name].split(
                [network.num_classes, old[name].shape[axis] - network.num_classes], axis
            )
            repeated = of_classes.repeat_interleave(calls, axis) * (network.class_gain / wide.class_gain)
            found[name] = torch.cat([repeated, others], axis)
    return found
