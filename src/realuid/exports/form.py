r"""The affine form of one call of a student: at a fixed time, the network's inputs and output are only scaled.

G(z) = A z + D x_T + B F(C z + E x_T; tau): the noise at the start, the preconditioning and the conversion to a data
prediction are all linear, so five coefficients and tau represent path, prediction, preconditioning and time. Exported
programs are built from this form, and parametrisations of other libraries are matched to it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from realuid.models import Condition, MatchingModel, Network, Student


@dataclass(frozen=True)
class Form:
    """x_0 = skip z + skip_source x_T + sum_i out[i] F_i(into z + into_source x_T; time).

    Attributes:
        skip, skip_source: coefficients of noise and source images in the skip connection.
        into, into_source: their coefficients in the network's input (the network may also read x_T itself).
        out: one factor for each head of the network.
        time: the network's time input.
    """

    skip: float
    skip_source: float
    into: float
    into_source: float
    out: tuple[float, ...]
    time: float


class _StandIn(Network):
    """Stub network that records its input and returns a given output."""

    def __init__(self, heads: int, sees_source: bool):
        super().__init__({})
        self.shape, self.heads, self.sees_source = (1,), heads, sees_source
        self.answer = [0.0] * heads

    def forward(self, x: Tensor, time: Tensor, condition: Condition) -> Tensor:
        self.asked, self.time = float(x), float(time)
        return x.new_tensor([self.answer])


def form_of(student: Student, call: int = 0) -> Form:
    """The numbers of one call, found by asking the student's own code with a stub for the network.

    Of the first call as a function of the noise z; of a later one of its input x_t in the place of z. The time is
    rounded as the student rounds it: to float32.
    """
    model = student.model
    network = _StandIn(model.heads, model.network.sees_source)
    stub = MatchingModel(network, model.path, model.prediction, model.preconditioning)
    line = Student(stub, student.times[call], student.noise)

    def ask(z: float, x_T: float, answer: list[float], dtype: torch.dtype = torch.float64) -> tuple[float, float]:
        network.answer = answer
        condition, x = Condition(source=torch.tensor([[x_T]], dtype=dtype)), torch.tensor([[z]], dtype=dtype)
        result = line.predict(0, line.start(x, condition) if call == 0 else x, condition)
        return float(result), network.asked

    silent = [0.0] * model.heads
    skip, into = ask(1, 0, silent)
    skip_source, into_source = ask(0, 1, silent)
    out = tuple(ask(0, 0, [float(i == head) for i in range(model.heads)])[0] for head in range(model.heads))
    ask(0, 0, silent, torch.float32)
    return Form(skip, skip_source, into, into_source, out, network.time)
