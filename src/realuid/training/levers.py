"""How the machine is used: arithmetic, memory layout, kernels. No lever changes what is computed, only how.

What a setting leaves open is chosen for the device here, in one place, and written into the run's folder.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist

from realuid.models import MatchingModel, OwnNetwork
from realuid.training.config import LoopConfig

_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Levers:
    """The levers of one run, all of them decided."""

    #: fp32, bf16 or fp16: what the networks' convolutions and matrix products compute in (autocast).
    precision: str
    #: Images lie in memory pixel by pixel, as fast convolutions want them.
    channels_last: bool
    #: One kernel for Adam over all weights.
    fused: bool
    #: Activations of a block are computed again on the way back instead of kept.
    recompute: bool
    #: torch.compile wrote kernels for the networks.
    compile: bool
    #: Weights, gradients, optimiser states and averages are split over the processes.
    shard: bool

    def to_dict(self) -> dict[str, Any]:
        """For the run's log."""
        return dataclasses.asdict(self)

    def autocast(self, device: torch.device) -> torch.autocast:
        """The precision of the networks, as a context."""
        dtype = _DTYPES.get(self.precision)
        return torch.autocast(device.type, dtype=dtype, enabled=dtype is not None)

    def apply(self, *models: MatchingModel) -> None:
        """Prepare models for training with these levers, in place: their weights and results stay the same.

        Raises:
            ConfigError: for `recompute`, where a network does not know its blocks.
        """
        for model in models:
            if self.channels_last:
                if self.shard:  # only contiguous weights can be split: images bring the layout
                    model.network.register_forward_pre_hook(_lay_out)
                else:
                    model.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            if self.recompute:
                model.network.recompute_activations()
            if self.compile:
                model.network.compile()  # in place: names of weights, copies and saved files stay as they are


def choose_levers(config: LoopConfig, device: torch.device, model: MatchingModel | None = None) -> Levers:
    """The levers of a configuration on a device.

    None and 'auto' become: bf16 on accelerators that compute in it, else fp32; channels last on accelerators, and on
    CPUs in fp32 for networks of 64 channels or more (narrow ones get slower, and so does bf16), but never, even if told
    so, for networks without convolutions and those of one's own, whose code may want contiguity; fused Adam everywhere;
    recomputation nowhere, since it costs a third more arithmetic; compilation nowhere, since it brings nothing on a
    CPU and was not measured elsewhere; splitting nowhere, since it costs communication, and one process has nothing
    to split.
    """
    accelerator = device.type == "cuda"
    precision = config.precision
    if precision == "auto":
        precision = "bf16" if accelerator and torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    widest = _widest(model)
    by_itself = accelerator or (precision == "fp32" and widest >= 64)
    return Levers(
        precision=precision,
        channels_last=widest > 0 and (by_itself if config.channels_last is None else config.channels_last),
        fused=config.fused is not False,
        recompute=bool(config.recompute),
        compile=bool(config.compile),
        shard=bool(config.shard) and dist.is_initialized() and dist.get_world_size() > 1,
    )


def _lay_out(network: torch.nn.Module, inputs: tuple) -> tuple:
    """A network's inputs, images among them pixel by pixel."""
    x, *others = inputs
    return (x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x, *others)


def _widest(model: MatchingModel | None) -> int:
    """Most channels of a convolution that may be laid out; 0 for no such convolution."""
    if model is None or isinstance(model.network, OwnNetwork):
        return 0
    layers = (layer for layer in model.network.modules() if isinstance(layer, torch.nn.Conv2d))
    return max((layer.out_channels for layer in layers), default=0)
