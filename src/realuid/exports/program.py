"""The generator as a `torch.export` program: noise (and class, and source image) in, image out, any batch size."""

from __future__ import annotations

import copy
import io
from pathlib import Path
from typing import Any

import torch
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.upsampling import Upsample2D
from torch import Tensor, nn
from torch.export.passes import move_to_device_pass
from torch.nn import functional as F

from realuid.data.pixels import quantise
from realuid.errors import ExportError
from realuid.exports.contract import ABOUT, Contract
from realuid.exports.form import form_of
from realuid.exports.program_file import check_operators, read_program
from realuid.exports.student import ExportedStudent
from realuid.models import Student
from realuid.models.networks.condition import SOURCE

#: What torch notes at every step of a trace: where in the code it was, with the paths of this machine.
_NOTES = ("stack_trace", "nn_module_stack", "source_fn_stack", "torch_fn", "from_node")


class OneStep(nn.Module):
    """A generator written out as its line, with plain tensors as inputs, in the order of `Contract.inputs`.

    Args:
        generator: in evaluation mode; its network is copied.
        contract: which inputs there are, and whether images leave as uint8.
        half: compute in float16; noise and float images stay float32.
    """

    time: Tensor

    def __init__(self, generator: Student, contract: Contract, half: bool = False):
        super().__init__()
        self.contract, self.form = contract, form_of(generator)
        self.network = _for_any_batch(copy.deepcopy(generator.model.network)).eval().requires_grad_(False)
        codec = generator.codec
        self.autoencoder: Any = _for_any_batch(copy.deepcopy(codec.autoencoder)) if codec else None
        self.scale = codec.scale if codec else 1.0
        self.dtype = torch.float16 if half else torch.float32
        for parameter in self.parameters() if half else ():
            parameter.data = parameter.data.half()
        # Buffers stay float32, as does the time: half precision cannot tell one step of a thousand from the next.
        self.register_buffer("time", torch.tensor([self.form.time], dtype=torch.float32), persistent=False)

    def forward(self, *inputs: Tensor) -> Tensor:
        noise, *others = inputs
        given = self.contract.condition(others)
        x_T = given.get(SOURCE)
        x, image = self.form.into * noise, self.form.skip * noise
        if x_T is not None:
            x, image = x + self.form.into_source * x_T, image + self.form.skip_source * x_T
        time = self.time.expand(noise.shape[0])
        raw = self.network(x.to(self.dtype), time, given.to(dtype=self.dtype)).to(noise.dtype)
        for part, factor in zip(raw.chunk(len(self.form.out), dim=1), self.form.out, strict=True):
            image = image + factor * part
        if self.autoencoder is not None:
            image = self.autoencoder.decode((image / self.scale).to(self.dtype)).sample.to(noise.dtype)
        return quantise(image) if self.contract.uint8 else image


class _Upsample(nn.Module):
    """Twice as large by nearest neighbours, then a convolution: diffusers' `Upsample2D` as U-Nets use it.

    diffusers asks whether the batch has 64 samples, to copy the memory if so; a trace of that holds for fewer only.
    """

    def __init__(self, original: Upsample2D):
        super().__init__()
        self.conv = original.conv

    def forward(self, hidden_states: Tensor, output_size: int | None = None) -> Tensor:
        return self.conv(F.interpolate(hidden_states, scale_factor=2.0, mode="nearest"))


def _for_any_batch(network: nn.Module) -> nn.Module:
    """Replace, in place, what would tie a traced program to a range of batch sizes."""
    for module in list(network.modules()):
        if isinstance(module, ResnetBlock2D) and module.upsample is not None:
            raise ExportError(
                "the U-Net enlarges inside its residual blocks (upsample_type = resnet), which diffusers writes so "
                "that a trace holds for batches below 64 only. Export to diffusers or safetensors instead."
            )
        for name, child in module.named_children():
            if isinstance(child, Upsample2D):
                setattr(module, name, _Upsample(child))
    return network


def trace(step: OneStep) -> torch.export.ExportedProgram:
    """A program for any batch size from 1.

    Raises:
        ExportError: where the network cannot be traced.
    """
    example = step.contract.example(2)
    batch = torch.export.Dim("batch", min=1)
    shapes = (tuple({0: batch} for _ in example),)
    try:
        with torch.no_grad():
            program = torch.export.export(step, example, dynamic_shapes=shapes, strict=False)
    except Exception as error:  # a network of the user's own may do anything
        reason = " ".join(str(error).split())[:300]
        name = type(step.network).__name__
        raise ExportError(f"the network, a {name}, cannot be traced for any batch size ({reason}).") from error
    for node in program.graph.nodes:
        for note in _NOTES:
            node.meta.pop(note, None)
    return program


def write_program(generator: Student, out: Path, contract: Contract) -> None:
    """Write a .pt2 file that `torch.export.load` reads, with the contract beside the program.

    Raises:
        ExportError: where the network cannot be traced, or calls what `ProgramStudent` would not open again.
    """
    program = trace(OneStep(generator, contract))
    check_operators(program)
    content = io.BytesIO()  # where it writes to a disk that is full, it ends the process
    torch.export.save(program, content, extra_files={ABOUT: contract.to_json()})
    out.write_bytes(content.getbuffer())


class ProgramStudent(ExportedStudent):
    """A student as a torch.export program: torch alone runs it.

    Args:
        path: file that `write_program` wrote.

    Raises:
        CheckpointError: where it is missing, damaged or not ours; nothing that is not ours was run.
    """

    def __init__(self, path: Path):
        self.program, self.module, contract = read_program(path)
        super().__init__(contract)

    def run(self, inputs: tuple[Tensor, ...]) -> Tensor:
        return self.module(*inputs)

    def to(self, device: torch.device | str) -> ProgramStudent:
        if torch.device(device) != self.device:
            self.device = torch.device(device)
            self.module = move_to_device_pass(self.program, self.device).module()
        return self
