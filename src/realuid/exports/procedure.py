"""A student as a module for tracing, with tensors as inputs: all calls, or one call at a given time."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from diffusers.models.embeddings import Timesteps
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.upsampling import Upsample2D
from torch import Tensor, nn
from torch.nn import functional as F

from realuid.data.pixels import quantise
from realuid.errors import ExportError
from realuid.exports.contract import Contract
from realuid.exports.form import Form, form_of
from realuid.exports.schedule import Schedule
from realuid.models import Condition, Network, Student
from realuid.models.networks.condition import SOURCE
from realuid.models.networks.specs import ConditionSpec

#: What torch notes at every step of a trace: where in the code it was, with the paths of this machine.
_NOTES = ("stack_trace", "nn_module_stack", "source_fn_stack", "torch_fn", "from_node")


class Procedure(nn.Module):
    """All calls of a student, each as its affine form, inputs in the order of `Contract.inputs`.

    Args:
        student: in evaluation mode; its network is copied.
        contract: which inputs there are, and whether images leave as uint8.
        half: compute in float16; noise and float images stay float32.
    """

    def __init__(self, student: Student, contract: Contract, half: bool = False):
        super().__init__()
        self.contract, self.schedule = contract, Schedule.of(student)
        self.forms = [form_of(student, call) for call in range(student.calls)]
        self.network = _for_any_batch(copy.deepcopy(student.model.network)).eval().requires_grad_(False)
        self.codec = codec = student.codec
        self.autoencoder: Any = _for_any_batch(copy.deepcopy(codec.autoencoder)) if codec else None
        self.dtype = torch.float16 if half else torch.float32
        for parameter in self.parameters() if half else ():
            parameter.data = parameter.data.half()
        # Buffers stay float32, as do times: half precision cannot tell one step of a thousand from the next.
        for call, form in enumerate(self.forms):
            self.register_buffer(f"time_{call}", torch.tensor([form.time], dtype=torch.float32), persistent=False)

    def forward(self, *inputs: Tensor) -> Tensor:
        noise, later, given = self.contract.parts(inputs)
        x_T, x_t = given.get(SOURCE), noise
        image = self._call(0, x_t, given)
        for k in range(1, len(self.forms)):
            x_t = self.schedule.start(noise, x_T) if k == 1 else x_t
            x_t = self.schedule.next_input(k - 1, x_t, image, x_T, None if later is None else later[:, k - 1])
            image = self._call(k, x_t, given)
        if self.codec is not None:
            image = self.codec.decoded(image, self.autoencoder, self.dtype).to(noise.dtype)
        return quantise(image) if self.contract.uint8 else image

    def _call(self, call: int, x_t: Tensor, given: Condition) -> Tensor:
        """The data prediction; of the first call as a function of the noise."""
        form: Form = self.forms[call]
        x_T = given.get(SOURCE)
        x, image = form.into * x_t, form.skip * x_t
        if x_T is not None:
            x, image = x + form.into_source * x_T, image + form.skip_source * x_T
        time = getattr(self, f"time_{call}").expand(x_t.shape[0])
        raw = self.network(x.to(self.dtype), time, given.to(dtype=self.dtype)).to(x_t.dtype)
        for part, factor in zip(raw.chunk(len(form.out), dim=1), form.out, strict=True):
            image = image + factor * part
        return image


class OneCall(nn.Module):
    """One call of a student: x_t, its times and conditions to the data prediction.

    Args:
        student, contract, half: as in `Procedure`. Of a student on latents it makes latents.
    """

    def __init__(self, student: Student, contract: Contract, half: bool = False):
        super().__init__()
        self.contract, self.model = contract, copy.deepcopy(student.model)
        network = _for_any_batch(self.model.network)
        assert isinstance(network, Network)
        for parameter in network.parameters() if half else ():
            parameter.data = parameter.data.half()
        self.model.network = _Halved(network) if half else network
        self.eval().requires_grad_(False)

    def forward(self, *inputs: Tensor) -> Tensor:
        x_t, time, *others = inputs
        return self.model(x_t, time, self.contract.condition(others), space="data_prediction")


class _Halved(Network):
    """A network of float16 weights with inputs and outputs of float32; it is told the time in float32."""

    def __init__(self, network: Network):
        super().__init__(network.settings)
        self.network, self.shape, self.num_classes = network, network.shape, network.num_classes
        self.sees_source, self.heads = network.sees_source, network.heads

    @property
    def conditions(self) -> tuple[ConditionSpec, ...]:
        return self.network.conditions

    def forward(self, x: Tensor, time: Tensor, condition: Condition) -> Tensor:
        return self.network(x.half(), time, condition.to(dtype=torch.float16)).float()


class _Upsample(nn.Module):
    """Twice as large by nearest neighbours, then a convolution: diffusers' `Upsample2D` as U-Nets use it.

    diffusers asks whether the batch has 64 samples, to copy the memory if so; a trace of that holds for fewer only.
    """

    def __init__(self, original: Upsample2D):
        super().__init__()
        self.conv = original.conv

    def forward(self, hidden_states: Tensor, output_size: int | None = None) -> Tensor:
        return self.conv(F.interpolate(hidden_states, scale_factor=2.0, mode="nearest"))


class _Frequencies(nn.Module):
    """diffusers' `Timesteps` with its frequencies as numbers: the argument of a sine is a thousand of them, and another
    library's exponential differs in the last digit.
    """

    def __init__(self, original: Timesteps):
        super().__init__()
        self.original = original
        half = original.num_channels // 2
        exponent = -math.log(10000) * torch.arange(half, dtype=torch.float32) / (half - original.downscale_freq_shift)
        self.register_buffer("frequencies", torch.exp(exponent), persistent=False)

    def forward(self, timesteps: Tensor) -> Tensor:
        frequencies: Tensor = self.frequencies  # type: ignore[assignment]
        angles = self.original.scale * (timesteps[:, None].float() * frequencies)
        waves = [torch.sin(angles), torch.cos(angles)]
        return torch.cat(waves[::-1] if self.original.flip_sin_to_cos else waves, dim=-1)


def _for_any_batch(network: nn.Module) -> nn.Module:
    """Replace, in place, what would tie a traced program to a range of batch sizes, or to torch's exponential."""
    for module in list(network.modules()):
        if isinstance(module, ResnetBlock2D) and module.upsample is not None:
            raise ExportError(
                "the U-Net enlarges inside its residual blocks (upsample_type = resnet), which diffusers writes so "
                "that a trace holds for batches below 64 only. Export to diffusers or safetensors instead."
            )
        for name, child in module.named_children():
            if isinstance(child, Upsample2D):
                setattr(module, name, _Upsample(child))
            if isinstance(child, Timesteps) and child.num_channels % 2 == 0:
                setattr(module, name, _Frequencies(child))
    return network


def trace(student: Student, contract: Contract, half: bool = False) -> torch.export.ExportedProgram:
    """What a contract promises as a program for any batch size from 1; arguments as of `Procedure`.

    Raises:
        ExportError: where the network cannot be traced.
    """
    step = (Procedure if contract.graph == "whole" else OneCall)(student, contract, half)
    example = contract.example(2)
    batch = torch.export.Dim("batch", min=1)
    lengths = {
        name: {1: torch.export.Dim(spec.name, min=1)}
        for spec in contract.conditions
        for name in spec.names
        if None in spec.shape
    }
    first = [{0: batch}] * (len(example) - len(contract.names))
    shapes = ((*first, *({0: batch, **lengths.get(name, {})} for name in contract.names)),)
    try:
        with torch.no_grad():
            program = torch.export.export(step, example, dynamic_shapes=shapes, strict=False)
    except Exception as error:  # a user's network may do anything
        reason = " ".join(str(error).split())[:300]
        name = type(student.model.network).__name__
        raise ExportError(f"the network, a {name}, cannot be traced for any batch size ({reason}).") from error
    for node in program.graph.nodes:
        for note in _NOTES:
            node.meta.pop(note, None)
    return program
