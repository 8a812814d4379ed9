"""Export of a student as a `torch.export` program for any batch size."""

from __future__ import annotations

import io
from pathlib import Path

import torch
from torch import Tensor
from torch.export.passes import move_to_device_pass

from realuid.exports.contract import ABOUT, Contract
from realuid.exports.procedure import trace
from realuid.exports.program_file import check_operators, read_program
from realuid.exports.student import ExportedStudent
from realuid.models import Student


def write_program(generator: Student, out: Path, contract: Contract) -> None:
    """Write a .pt2 file that `torch.export.load` reads, with the contract beside the program.

    Raises:
        ExportError: where the network cannot be traced, or calls what `ProgramStudent` would not open again.
    """
    program = trace(generator, contract)
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
