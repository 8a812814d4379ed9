"""What a run runs on: for machine.json, and what that does not support."""

from __future__ import annotations

import torch
from accelerate import Accelerator

from realuid.errors import ConfigError
from realuid.training.config import LoopConfig
from realuid.training.log import check_wandb
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


def check_machine(config: LoopConfig, device: torch.device) -> None:
    """Raise ConfigError for settings that this machine does not support."""
    check_wandb(config.wandb)
    if config.precision == "fp16" and device.type == "cpu":
        raise ConfigError("precision = fp16 on a CPU: it needs a GPU. Pass bf16 or fp32, or leave it out.")
