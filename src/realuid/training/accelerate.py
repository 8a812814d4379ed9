"""The one place where accelerate's process-wide state is set up."""

from __future__ import annotations

from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from realuid.errors import ConfigError
from realuid.training.config import LoopConfig


def make_accelerator(config: LoopConfig, folder: Path | None = None) -> Accelerator:
    """An accelerator for a run: its device, its processes (torchrun's), its trackers.

    Mixed precision is torch.autocast in `Player`, visible where it acts, so accelerate's own stays off.
    """
    if config.device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device = cuda, but torch sees no CUDA device. Use device = cpu or auto.")
    AcceleratorState._reset_state()  # a process may make several runs; the process group itself stays
    trackers = None if folder is None else ["wandb" if config.wandb else "tensorboard"]
    return Accelerator(
        mixed_precision="no",
        cpu=config.device == "cpu",
        log_with=trackers,
        project_dir=None if folder is None else str(folder),
    )
