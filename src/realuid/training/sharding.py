"""Weights, gradients, optimiser states and EMA sharded over processes, by torch's FSDP2.

Each process holds its shard of every tensor. The weights of a block are gathered before it is evaluated and freed
afterwards; gradients are reduced and sharded. Checkpoints, models and samples are made from unsharded weights.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from realuid.compat import MovesAnother
from realuid.errors import ConfigError
from realuid.models import Discriminator, Network

M = TypeVar("M", bound=nn.Module)
S = TypeVar("S")


def place(module: M, device: torch.device, shard: bool) -> M:
    """Move a module to a device, in place: all of it or, with `shard`, this process's shard of its weights.

    Of adapters on a shared network it is that network whose weights are sharded.

    Raises:
        ConfigError: for weights that cannot be sharded: scalars, several dtypes, tensors that are not contiguous.
    """
    if not shard:
        return module.to(device)
    if shares_base(module):
        _split_base(module.to(device), device)
        return module
    _check(module)
    mesh = init_device_mesh(device.type, (dist.get_world_size(),))
    units: list[nn.Module] = [*_units(module), module]
    for unit in units:
        fully_shard(unit, mesh=mesh, reshard_after_forward=True)
    return module


def shares_base(module: nn.Module) -> bool:
    """Whether a module is an adapter on a network that others share: that network is split, the adapter is not."""
    return any(isinstance(network, Network) and network.shares_base for network in module.modules())


def has_split_base(module: nn.Module) -> bool:
    """Whether a module is an adapter on a network whose weights are split over the processes."""
    return any(isinstance(m, MovesAnother) and isinstance(m.moved_along(), FSDPModule) for m in module.modules())


def _split_base(module: nn.Module, device: torch.device) -> None:
    """Split the frozen weights of a shared network over the processes, once; every process keeps all adapters."""
    from realuid.models.networks.adapters import AdaptedNetwork

    for role in (m for m in module.modules() if isinstance(m, AdaptedNetwork)):
        base = role.base
        if base.shell is not None:
            continue
        adapters = {p for p in base.network.parameters() if p.requires_grad}
        _check(base.network, adapters)
        base.shell = hollow(base.network)
        mesh = init_device_mesh(device.type, (dist.get_world_size(),))
        for unit in (*_units(base.network), base.network):
            fully_shard(unit, mesh=mesh, reshard_after_forward=True, ignored_params=adapters)


def _check(module: nn.Module, without: Collection[nn.Parameter] = ()) -> None:
    """Raise ConfigError for weights that cannot be sharded."""
    known = {id(p) for p in without}
    split = {name: p for name, p in module.named_parameters() if id(p) not in known}
    refused = [name for name, p in split.items() if p.dim() == 0 or not p.is_contiguous()]
    if refused or len({p.dtype for p in split.values()}) > 1:
        raise ConfigError(
            f"shard = True needs contiguous weights of one dtype, none of them a scalar; the {type(module).__name__} "
            f"has others{': ' + ', '.join(refused[:3]) if refused else ''}. Leave shard out, or change them."
        )


def _units(module: nn.Module) -> list[nn.Module]:
    """Submodules that are gathered separately; the rest of the module is another unit."""
    if isinstance(module, Discriminator):  # it exits the network at the bottleneck, where blocks would not be freed
        return []
    return [block for network in module.modules() if isinstance(network, Network) for block in network.units()]


def full(value: Tensor) -> Tensor:
    """The whole tensor of which this process holds a shard; every process has to call it."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def gathered(state: S) -> S:
    """A (nested) state dict with whole tensors instead of shards: on the CPU of process 0, elsewhere None.

    Every process has to call it. Values that are not sharded stay unchanged.
    """
    if isinstance(state, dict):
        return cast(S, {name: gathered(value) for name, value in state.items()})
    if not isinstance(state, DTensor):
        return state
    whole = state.full_tensor()
    return cast(S, whole.cpu() if dist.get_rank() == 0 else None)


def share(value: S, own: Tensor | None) -> S:
    """This process's shard of a whole tensor, or of those in a dictionary, if `own` is a shard.

    Tensors of another shape (an optimiser's step count) are not sharded.
    """
    if isinstance(value, dict):
        return cast(S, {name: share(entry, own) for name, entry in value.items()})
    if not isinstance(own, DTensor) or not isinstance(value, Tensor) or value.shape != own.shape:
        return value
    return cast(S, distribute_tensor(value.to(own.device), own.device_mesh, own.placements, src_data_rank=None))


def hollow(module: M) -> M:
    """A copy of a module, before sharding, with empty weights: for `filled`."""
    empty = {id(p): nn.Parameter(p.detach().new_empty(0), p.requires_grad) for p in module.parameters()}
    return copy.deepcopy(module, empty)


@contextmanager
def filled(shell: M, weights: Iterable[Tensor], buffers: Iterable[Tensor]) -> Iterator[M]:
    """A hollow module with whole weights and buffers within a `with` block; every process has to call it."""
    for parameter, value in zip(shell.parameters(), weights, strict=True):
        parameter.data = full(value)
    for buffer, value in zip(shell.buffers(), buffers, strict=True):
        buffer.data = value
    try:
        yield shell
    finally:
        for parameter in shell.parameters():
            parameter.data = parameter.detach().new_empty(0)
