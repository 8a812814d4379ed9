"""The one place where accelerate's process-wide state is set up."""

from __future__ import annotations

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from realuid.devices import choose_device
from realuid.training.config import LoopConfig


def make_accelerator(config: LoopConfig) -> Accelerator:
    """An accelerator for a run: its device and its processes (torchrun's).

    Mixed precision is torch.autocast in `Player`, visible where it acts, so accelerate's own stays off.
    """
    device = choose_device(config.device)
    # A process may make several runs, on different devices; only a process group has to outlive them.
    AcceleratorState._reset_state(reset_partial_state=not torch.distributed.is_initialized())
    return Accelerator(mixed_precision="no", cpu=device.type == "cpu")
