"""A user's network: any module or callable. Its weights can be saved, its code cannot."""

from __future__ import annotations

import inspect
from collections.abc import Callable

from torch import Tensor, nn

from realuid.compat import inner_name
from realuid.errors import CheckpointError, ConfigError
from realuid.models.networks.base import Network
from realuid.models.networks.condition import Condition

#: function(x, time), or function(x, time, labels) where there are classes.
Function = Callable[..., Tensor]


class OwnNetwork(Network):
    """A user's module or callable, called as function(x, time) or function(x, time, labels).

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
        self.register_state_dict_post_hook(_without_wrappers)
        self.register_load_state_dict_pre_hook(_with_wrappers)

    def forward(self, x: Tensor, time: Tensor, condition: Condition) -> Tensor:
        labels = self.labels(condition)
        output = self.function(x, time) if labels is None else self.function(x, time, labels)
        needed = (x.shape[0], self.heads * self.shape[0], *self.shape[1:])
        if not isinstance(output, Tensor) or output.shape != needed:
            found = f"shape {tuple(output.shape)}" if isinstance(output, Tensor) else f"a {type(output).__name__}"
            raise ConfigError(
                f"{self.settings['function']} returned {found} for x of shape {tuple(x.shape)}: needed is a tensor of "
                f"shape {needed}."
            )
        return output


def _wrappers(network: nn.Module) -> str:
    """What torch.compile, DataParallel and their kin put before the names of the user's own weights."""
    module, names = getattr(network, "function", None), ""
    while (name := inner_name(module)) is not None:
        module, names = getattr(module, name), f"{names}{name}."
    return names


def _without_wrappers(network: nn.Module, state: dict[str, Tensor], prefix: str, *_: object) -> None:
    """Weights are saved under the names that the module itself gives them, so that it fits wrapped or not."""
    wrapped, plain = f"{prefix}function.{_wrappers(network)}", f"{prefix}function."
    for name in [name for name in state if name.startswith(wrapped)]:
        state[plain + name.removeprefix(wrapped)] = state.pop(name)


def _with_wrappers(network: nn.Module, state: dict[str, Tensor], prefix: str, *_: object) -> None:
    wrapped, plain = f"{prefix}function.{_wrappers(network)}", f"{prefix}function."
    for name in [name for name in state if name.startswith(plain)]:
        state[wrapped + name.removeprefix(plain)] = state.pop(name)


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
