"""A network of the user's own: any module or callable. Its weights can be saved, its code cannot."""

from __future__ import annotations

import inspect
from collections.abc import Callable

from torch import Tensor

from realuid.errors import CheckpointError, ConfigError
from realuid.models.networks.base import Network
from realuid.models.networks.condition import Condition

#: function(x, time), or function(x, time, labels) where there are classes.
Function = Callable[..., Tensor]


class OwnNetwork(Network):
    """A module or callable of the user's own, called as function(x, time) or function(x, time, labels).

    Args:
        function: takes x, shape (b, *shape), and time, shape (b,), and labels, int64, shape (b,), where there are
            classes; returns `heads` predictions of the shape of x, stacked along its first axis.
        shape: of one sample.
        num_classes: 0 for unconditional.
        heads: predictions made at once.
    """

    def __init__(self, function: Function, shape: tuple[int, ...], num_classes: int = 0, heads: int = 1):
        owner = function if inspect.isroutine(function) else type(function)
        name = f"{owner.__module__}.{owner.__qualname__}"
        super().__init__({"function": name, "shape": list(shape), "num_classes": num_classes, "heads": heads})
        self.function = function
        self.shape, self.num_classes, self.heads = tuple(shape), num_classes, heads

    def forward(self, x: Tensor, time: Tensor, condition: Condition) -> Tensor:
        labels = self.labels(condition)
        output = self.function(x, time) if labels is None else self.function(x, time, labels)
        needed = (len(x), self.heads * self.shape[0], *self.shape[1:])
        if not isinstance(output, Tensor) or output.shape != needed:
            found = f"shape {tuple(output.shape)}" if isinstance(output, Tensor) else f"a {type(output).__name__}"
            raise ConfigError(
                f"{self.settings['function']} returned {found} for x of shape {tuple(x.shape)}: needed is a tensor of "
                f"shape {needed}."
            )
        return output


def own_network(settings: dict, function: Function | None) -> OwnNetwork:
    """The network that saved settings stand for, around what the user passed.

    Raises:
        CheckpointError: where nothing was passed.
    """
    if function is None:
        raise CheckpointError(
            f"the network is a {settings.get('function')}, whose code is not stored with its weights. Build one and "
            "pass it: load_generator(folder, network=...), or load_teacher(folder, network=...)."
        )
    return OwnNetwork(function, tuple(settings["shape"]), settings["num_classes"], settings["heads"])
