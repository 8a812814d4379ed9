"""What a run ran on, for machine.json."""

from __future__ import annotations

import torch
from accelerate import Accelerator

from realuid.training.task import Task


def machine_of(task: Task, accelerator: Accelerator) -> dict[str, object]:
    """Device, processes, versions and the resolved `Execution`."""
    device = accelerator.device
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "processes": accelerator.num_processes,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "execution": task.execution.to_dict(),
        "gradient_accumulation_steps": {p.name: p.accumulation_steps for p in task.players},
    }
