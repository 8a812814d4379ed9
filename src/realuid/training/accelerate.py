"""The one place where accelerate's process-wide state is set up."""

from __future__ import annotations

from pathlib import Path

import torch
from accelerate import Accelerator, DistributedType
from accelerate.state import AcceleratorState

from realuid.errors import ConfigError
from realuid.training.config import LoopConfig

#: Ways to spread a run that the loop knows: averages, checkpoints and the exchange of players need whole weights.
SUPPORTED = (DistributedType.NO, DistributedType.MULTI_CPU, DistributedType.MULTI_GPU)


def make_accelerator(config: LoopConfig, folder: Path | None = None) -> Accelerator:
    """An accelerator for a run: its device, its processes (torchrun's), its trackers.

    Mixed precision is torch.autocast in `Player`, visible where it acts, so accelerate's own stays off.
    """
    if config.device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device = cuda, but torch sees no CUDA device. Use device = cpu or auto.")
    AcceleratorState._reset_state()  # a process may make several runs; the process group itself stays
    trackers = None if folder is None else ["wandb" if config.wandb else "tensorboard"]
    accelerator = Accelerator(
        mixed_precision="no",
        cpu=config.device == "cpu",
        log_with=trackers,
        project_dir=None if folder is None else str(folder),
    )
    if accelerator.distributed_type not in SUPPORTED:
        raise ConfigError(
            f"accelerate was told to use {accelerator.distributed_type.value}, but realuid runs one process, or "
            "several with a whole copy of the model each. Launch it with torchrun, or an accelerate config without "
            "FSDP, DeepSpeed and the like; for memory, use --recompute and --micro-batch."
        )
    return accelerator
