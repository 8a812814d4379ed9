"""Accelerators of runs, and the modules that they copy to several processes."""

from __future__ import annotations

from accelerate import Accelerator, DistributedType
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from realuid.compat import new_accelerator
from realuid.devices import choose_device
from realuid.errors import ConfigError
from realuid.processes import to_meet
from realuid.training.config import LoopConfig

#: Ways to spread a run that accelerate may set up; `shard` splits weights itself, for several networks at once.
SUPPORTED = (DistributedType.NO, DistributedType.MULTI_CPU, DistributedType.MULTI_GPU)


def make_accelerator(config: LoopConfig) -> Accelerator:
    """An accelerator for a run: its device and its processes (torchrun's).

    Mixed precision is torch.autocast in `Player`, visible where it acts, so accelerate's own stays off.

    Raises:
        ConfigError: for a way to spread runs that is not supported, more processes than images in a batch, or processes
            that cannot be reached.
    """
    with to_meet():
        accelerator = new_accelerator(cpu=choose_device(config.device).type == "cpu")
    if accelerator.distributed_type not in SUPPORTED:
        raise ConfigError(
            f"accelerate was told to use {accelerator.distributed_type.value}, but realuid runs one process, or "
            "several that it shares the work among itself. Launch it with torchrun, or an accelerate config without "
            "FSDP, DeepSpeed and the like; for memory, use --shard, --activation-checkpointing and --micro-batch."
        )
    config.check_processes(accelerator.num_processes)
    return accelerator


def copied(module: nn.Module, accelerator: Accelerator) -> nn.Module:
    """A module as it is called where every process has a copy of it: alike from the start, with gradients averaged."""
    module = accelerator.prepare_model(module)
    if isinstance(module, DistributedDataParallel):
        # No network here changes its buffers in training: they are sent once, not along with every pass. Where one's
        # own does (batch norm), each process goes on with its own, and those of process 0 are saved.
        module.broadcast_buffers = False
    return module
