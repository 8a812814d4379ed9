"""accelerate's `Accelerator` for a run, and modules replicated over processes."""

from __future__ import annotations

from accelerate import Accelerator, DistributedType
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from realuid.compat import new_accelerator
from realuid.devices import choose_device
from realuid.errors import ConfigError
from realuid.processes import to_meet
from realuid.training.config import LoopConfig

#: Supported distributed types of accelerate; `shard` splits weights without it, for several networks at once.
SUPPORTED = (DistributedType.NO, DistributedType.MULTI_CPU, DistributedType.MULTI_GPU)


def make_accelerator(config: LoopConfig) -> Accelerator:
    """The accelerator of a run: its device and its processes (torchrun's).

    Mixed precision is torch.autocast in `Player`; accelerate's own is off.

    Raises:
        ConfigError: for a way to spread runs that is not supported, more processes than images in a batch, or processes
            that cannot be reached.
    """
    with to_meet():
        accelerator = new_accelerator(cpu=choose_device(config.device).type == "cpu")
    if accelerator.distributed_type not in SUPPORTED:
        raise ConfigError(
            f"accelerate is configured for {accelerator.distributed_type.value}, but realuid runs one process, or "
            "several among which it divides the work itself. Launch it with torchrun, or an accelerate config without "
            "FSDP, DeepSpeed and the like; for memory, use --shard, --activation-checkpointing and --micro-batch."
        )
    config.check_processes(accelerator.num_processes)
    return accelerator


def copied(module: nn.Module, accelerator: Accelerator) -> nn.Module:
    """The module as called when replicated over processes: equal at the start, with averaged gradients."""
    module = accelerator.prepare_model(module)
    if isinstance(module, DistributedDataParallel):
        # No network of realuid changes its buffers in training: they are broadcast once instead of in every pass. If a
        # user's network does (batch norm), each process keeps its own, and those of process 0 are saved.
        module.broadcast_buffers = False
    return module
