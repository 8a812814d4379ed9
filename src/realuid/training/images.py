"""The generator's images of an update: the fake model learns from them, then the generator through them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from realuid.models import Condition
from realuid.training.batches import Draw, micro_batches

#: A generator, or its distributed wrapper: (z, condition) -> x_0.
GeneratorCall = Callable[[Tensor, Condition], Tensor]


def shown(generator: GeneratorCall, draws: Sequence[Draw]) -> list[Draw]:
    """Draws with their images x_0^g = G(z), all made in one pass; those that have theirs stay as they are."""
    if all(draw.x_0 is not None for draw in draws):
        return list(draws)
    z = torch.cat([draw.z for draw in draws if draw.z is not None])
    images = generator(z, Condition.cat([draw.condition for draw in draws]))
    return [draw.showing(x_0) for draw, x_0 in zip(draws, images.split([len(draw) for draw in draws]), strict=True)]


class Images:
    """x_0^g = G(z) of one update, for several draws of z at once.

    With their graph, the generator makes them once an update: losses on its turn go back to the images, part by part,
    and from there through the graph, all at once. Without it, it makes them again on its turn, part by part.

    Args:
        generator: whose images they are (or its distributed wrapper).
        turns: for every draw of z: the generator's own draw, then draws of the same samples without end.
        keep: their graph.
        parts: in how many parts they are made where it is not kept.
    """

    def __init__(self, generator: GeneratorCall, turns: Sequence[Iterator[Draw]], keep: bool, parts: int):
        self._turns, self._own = turns, [next(turn) for turn in turns]
        self._graph: list[Tensor] | None = None
        self._leaves: list[Tensor] = []
        if keep:
            self._graph = [draw.images for draw in shown(generator, self._own)]
            self._values = [x_0.detach() for x_0 in self._graph]
        else:
            with torch.no_grad():
                made = [shown(generator, part) for part in _cut(self._own, parts)]
            self._values = [torch.cat([draw.images for draw in column]) for column in zip(*made, strict=True)]

    def again(self) -> list[Draw]:
        """For a step of the fake model: the images at other times and with other noise, and no way back from them."""
        return [next(turn).showing(x_0) for turn, x_0 in zip(self._turns, self._values, strict=True)]

    def own(self, parts: int) -> list[list[Draw]]:
        """For the generator's step, by parts: draws for `shown`, with images to go back from if there is a graph."""
        if self._graph is None:
            return _cut(self._own, parts)
        self._leaves = [x_0.clone().requires_grad_() for x_0 in self._values]
        return _cut([draw.showing(x_0) for draw, x_0 in zip(self._own, self._leaves, strict=True)], parts)

    def go_back(self) -> None:
        """Take the gradients that losses left at the images through the graph, if there is one."""
        if self._graph is not None:
            torch.autograd.backward(self._graph, [leaf.grad for leaf in self._leaves])

    def drop_graph(self) -> None:
        """Free its memory."""
        self._graph = None
        self._leaves = []


def _cut(draws: Sequence[Draw], parts: int) -> list[list[Draw]]:
    """Micro-batches of several draws side by side."""
    return [list(part) for part in zip(*(micro_batches(draw, parts) for draw in draws), strict=True)]
