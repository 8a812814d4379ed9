"""Exponential moving averages of a model's weights, several decays at once."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from realuid.compat import lerp_all_
from realuid.training.sharding import filled, has_split_base, share


class EMA:
    """Averages of one module's parameters for several decays, one foreach call each.

    The decay at update n is min(decay, (1 + n) / (5 + n)), so that initial weights do not dominate short runs: until
    the decay is reached, update k of n has weight (k / n)^3, a power-function average of relative width 0.16 (Karras et
    al. 2024, arXiv 2312.02696, section 3.1).

    Args:
        module: the module to follow.
        decays: for instance (0.999, 0.9999).
        shell: with sharded weights, a `hollow` copy of the module that receives whole averages.
    """

    def __init__(self, module: nn.Module, decays: tuple[float, ...], shell: nn.Module | None = None):
        self.module, self.decays, self.shell, self.updates = module, decays, shell, 0
        self.averages = {decay: [p.detach().clone() for p in module.parameters()] for decay in decays}

    @torch.no_grad()
    def update(self) -> None:
        """Move every average towards the current weights."""
        self.updates += 1
        present = [p.detach() for p in self.module.parameters()]
        for decay, average in self.averages.items():
            now = min(decay, (1 + self.updates) / (5 + self.updates))
            lerp_all_(average, present, 1 - now)

    @torch.no_grad()
    def _swap(self, decay: float) -> None:
        for parameter, average in zip(self.module.parameters(), self.averages[decay], strict=True):
            kept = parameter.detach().clone()
            parameter.copy_(average)
            average.copy_(kept)

    @contextmanager
    def applied(self, decay: float) -> Iterator[nn.Module]:
        """The module itself with averaged weights, in evaluation mode, within a `with` block.

        With sharded weights it is the shell with whole ones, and of an adapter on a sharded network a copy with the
        adapter merged; every process has to call this.
        """
        if self.shell is not None:
            with filled(self.shell, self.averages[decay], self.module.buffers()) as whole:
                yield whole.eval()
            return
        training = self.module.training
        self._swap(decay)
        self.module.eval()
        try:
            yield copy.deepcopy(self.module) if has_split_base(self.module) else self.module
        finally:
            self._swap(decay)
            self.module.train(training)

    def averaged(self, decay: float) -> nn.Module:
        """A copy of the module with averaged weights, in evaluation mode."""
        with self.applied(decay) as module:
            return copy.deepcopy(module).eval().requires_grad_(False)

    def state_dict(self) -> dict[str, Tensor]:
        """All averages under names like '0.999.network.conv.weight', and the number of updates."""
        names = [name for name, _ in self.module.named_parameters()]
        state = {
            f"{decay}.{name}": value
            for decay, average in self.averages.items()
            for name, value in zip(names, average, strict=True)
        }
        return {**state, "updates": torch.tensor(self.updates)}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Read back what `state_dict` wrote; a KeyError names what is missing."""
        self.updates = int(state["updates"])
        names = [name for name, _ in self.module.named_parameters()]
        for decay, average in self.averages.items():
            for name, value in zip(names, average, strict=True):
                value.copy_(share(state[f"{decay}.{name}"], value))
