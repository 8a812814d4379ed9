r"""A generator as one line: at a fixed time everything around the network is a number.

G(z) = A z + D x_T + B F(C z + E x_T; tau): the noise at the start, the preconditioning and the conversion to a data
prediction are all linear, so five numbers hold path, prediction, preconditioning and t_init. Programs are made from
this line, and other libraries' parametrisations are matched to it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from realuid.models import Condition, Generator, MatchingModel, Network


@dataclass(frozen=True)
class Form:
    """x_0 = skip z + skip_source x_T + sum_i out[i] F_i(into z + into_source x_T; time).

    Attributes:
        skip, skip_source: what of the noise and of the source images passes the network by.
        into, into_source: what of them enters it (the network may also be given x_T itself).
        out: one factor for each head of the network.
        time: what the network is told.
    """

    skip: float
    skip_source: float
    into: float
    into_source: float
    out: tuple[float, ...]
    time: float


class _StandIn(Network):
    """Answers what it is told to and remembers what it was asked."""

    def __init__(self, heads: int, sees_source: bool):
        super().__init__({})
        self.shape, self.heads, self.sees_source = (1,), heads, sees_source
        self.answer = [0.0] * heads

    def forward(self, x: Tensor, time: Tensor, condition: Condition) -> Tensor:
        self.asked, self.time = float(x), float(time)
        return x.new_tensor([self.answer])


def form_of(generator: Generator) -> Form:
    """The numbers of a generator, found by asking its own code with a stand-in for the network.

    The time is rounded as the generator rounds it: to float32.
    """
    model = generator.model
    network = _StandIn(model.heads, model.network.sees_source)
    line = Generator(
        MatchingModel(network, model.path, model.prediction, model.preconditioning), generator.t_init, generator.noise
    )

    def ask(z: float, x_T: float, answer: list[float], dtype: torch.dtype = torch.float64) -> tuple[float, float]:
        network.answer = answer
        result = line(torch.tensor([[z]], dtype=dtype), Condition(source=torch.tensor([[x_T]], dtype=dtype)))
        return float(result), network.asked

    silent = [0.0] * model.heads
    skip, into = ask(1, 0, silent)
    skip_source, into_source = ask(0, 1, silent)
    out = tuple(ask(0, 0, [float(i == head) for i in range(model.heads)])[0] for head in range(model.heads))
    ask(0, 0, silent, torch.float32)
    return Form(skip, skip_source, into, into_source, out, network.time)
