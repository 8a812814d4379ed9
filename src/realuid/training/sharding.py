"""Weights, gradients, optimiser states and averages split over processes, by torch's FSDP2.

Each process holds its share of every tensor. The weights of a network's block are gathered when its turn comes and
dropped after it; gradients are summed and split again. What leaves a run (checkpoints, models, samples) is whole.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from realuid.errors import ConfigError
from realuid.models import Discriminator, Network

M = TypeVar("M", bound=nn.Module)
S = TypeVar("S")


def place(module: M, device: torch.device, shard: bool) -> M:
    """Move a module to a device, in place: all of it or, with `shard`, this process's share of its weights.

    Raises:
        ConfigError: for weights that cannot be split: scalars, several dtypes, tensors that are not contiguous.
    """
    if not shard:
        return module.to(device)
    refused = [name for name, p in module.named_parameters() if p.dim() == 0 or not p.is_contiguous()]
    if refused or len({p.dtype for p in module.parameters()}) > 1:
        raise ConfigError(
            f"shard = True needs contiguous weights of one dtype, none of them a scalar; the {type(module).__name__} "
            f"has others{': ' + ', '.join(refused[:3]) if refused else ''}. Leave shard out, or change them."
        )
    mesh = init_device_mesh(device.type, (dist.get_world_size(),))
    units: list[nn.Module] = [*_units(module), module]
    for unit in units:
        fully_shard(unit, mesh=mesh, reshard_after_forward=True)
    return module


def _units(module: nn.Module) -> list[nn.Module]:
    """What is gathered on its own; the rest of the module is another such unit."""
    if isinstance(module, Discriminator):  # it leaves the network halfway, where blocks would not be dropped
        return []
    return [block for network in module.modules() if isinstance(network, Network) for block in network.units()]


def full(value: Tensor) -> Tensor:
    """The whole of a tensor, which every process has to ask for, where this one holds a share."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def gathered(state: S) -> S:
    """A state dict, nested or not, with whole tensors instead of shares: on the CPU of process 0, elsewhere None.

    Every process has to call it. What is not split stays as it is.
    """
    if isinstance(state, dict):
        return cast(S, {name: gathered(value) for name, value in state.items()})
    if not isinstance(state, DTensor):
        return state
    whole = state.full_tensor()
    return cast(S, whole.cpu() if dist.get_rank() == 0 else None)


def share(value: S, own: Tensor | None) -> S:
    """What belongs to `own` of a whole tensor, or of all in a dictionary: this process's share, where `own` is one.

    Tensors of another shape (an optimiser's count of steps) are not split, and need not be.
    """
    if isinstance(value, dict):
        return cast(S, {name: share(entry, own) for name, entry in value.items()})
    if not isinstance(own, DTensor) or not isinstance(value, Tensor) or value.shape != own.shape:
        return value
    return cast(S, distribute_tensor(value.to(own.device), own.device_mesh, own.placements, src_data_rank=None))


def hollow(module: M) -> M:
    """A copy of a module that is not split yet, with weights of no elements: for `filled`."""
    empty = {id(p): nn.Parameter(p.detach().new_empty(0), p.requires_grad) for p in module.parameters()}
    return copy.deepcopy(module, empty)


@contextmanager
def filled(shell: M, weights: Iterable[Tensor], buffers: Iterable[Tensor]) -> Iterator[M]:
    """A hollow module with whole weights, and with buffers, for the length of a `with` block; for every process."""
    for parameter, value in zip(shell.parameters(), weights, strict=True):
        parameter.data = full(value)
    for buffer, value in zip(shell.buffers(), buffers, strict=True):
        buffer.data = value
    try:
        yield shell
    finally:
        for parameter in shell.parameters():
            parameter.data = parameter.detach().new_empty(0)
