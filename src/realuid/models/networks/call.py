"""Networks conditioned on the call that made a sample, for fake models of students of several calls.

One with classes of its own has pairs of a class and a call instead. Any other one that declares its `time_embedding`
gets a vector for each call, added there: adapters on a shared base among them.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from realuid.errors import ConfigError
from realuid.models.networks.base import Network
from realuid.models.networks.condition import CALL, LABEL, Condition
from realuid.models.networks.specs import ConditionSpec
from realuid.seeds import seeded


class SeesCall(Network):
    """A network that reads the call besides its own conditions; at first it is the network that it is made of.

    Args:
        network: that is called.
        calls: of the student.
    """

    def __init__(self, network: Network, calls: int):
        super().__init__({"calls": calls, **network.settings})
        self.network, self.calls, self.shares_base = network, calls, network.shares_base
        self.shape, self.num_classes = network.shape, network.num_classes
        self.sees_source, self.heads = network.sees_source, network.heads
        self._specs = (*network.conditions, ConditionSpec(CALL, "label", dtype=torch.int64, classes=calls))

    @property
    def conditions(self) -> tuple[ConditionSpec, ...]:
        return self._specs

    def bottleneck(self) -> tuple[nn.Module, tuple[int, ...]]:
        return self.network.bottleneck()

    def recompute_activations(self) -> None:
        self.network.recompute_activations()


class PairsWithCall(SeesCall):
    """Pairs (class, call) in the place of classes.

    Args:
        network: of an architecture that takes classes, conditional or not; its weights are copied, and a class of it
            becomes that many classes of the same embedding. Without classes, embeddings of calls begin at zero.
        calls: of the student.
    """

    def __init__(self, network: Network, calls: int):
        super().__init__(network, calls)
        pairs = max(network.num_classes, 1) * calls
        with seeded(0):  # of weights that are replaced
            self.network = type(network)(**{**network.settings, network.class_setting: pairs})
        self.network.load_state_dict(_of_pairs(network, self.network, calls))

    def forward(self, x: Tensor, time: Tensor, condition: Condition) -> Tensor:
        call, label = self.read(condition, CALL), self.labels(condition)
        pair = call if label is None else label * self.calls + call
        return self.network(x, time, condition.replace(**{LABEL: pair}))


class _Added:
    """A forward hook that adds `value`, a vector for each sample, to a module's output; None adds nothing."""

    value: Tensor | None = None

    def __call__(self, module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor | None:
        return None if self.value is None else output + self.value.to(output.dtype)


class TimeWithCall(SeesCall):
    """A vector for each call, added to the embedding of the time; they begin at zero.

    Args:
        network: that declares its `time_embedding`. Adapters keep the base that they share, and other roles on that
            base are not told.
        calls: of the student.
    """

    def __init__(self, network: Network, calls: int):
        super().__init__(network, calls)
        embedding = network.time_embedding()
        assert embedding is not None, "a network that can be told"
        module, width = embedding
        self.added = _Added()
        module.register_forward_hook(self.added)
        self.vectors = nn.Embedding(calls, width, _weight=torch.zeros(calls, width))

    def forward(self, x: Tensor, time: Tensor, condition: Condition) -> Tensor:
        self.added.value = self.vectors(self.read(condition, CALL))
        try:
            return self.network(x, time, condition)
        finally:
            self.added.value = None


def can_be_told(network: Network, adapted: bool = False) -> bool:
    """Whether a network can be conditioned on the call; `adapted`: once it is the base of an adapter."""
    return (bool(network.class_setting) and not adapted) or network.time_embedding() is not None


def told(network: Network, calls: int) -> SeesCall:
    """The network conditioned on the call.

    Raises:
        ConfigError: for an architecture without classes that does not declare its `time_embedding`.
    """
    check_told(network)
    return (PairsWithCall if network.class_setting else TimeWithCall)(network, calls)


def check_told(network: Network, adapted: bool = False) -> None:
    """Raise ConfigError for a network that cannot be conditioned on the call; arguments as of `can_be_told`."""
    if not can_be_told(network, adapted):
        raise ConfigError(
            f"fake_sees_call = True: a {type(network).__name__}{' with adapters' * adapted} has neither classes nor a "
            "`time_embedding`, through which it could see the call. Leave fake_sees_call out."
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
