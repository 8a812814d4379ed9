"""How a run uses the machine: precision, memory format, kernels.

Automatic settings are resolved here, once for each run, and written to the run's folder.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
import torch.distributed as dist

from realuid.models import MatchingModel, OwnNetwork
from realuid.training.settings import SystemSettings

_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Execution:
    """`SystemSettings` on a device, with nothing left open."""

    #: fp32, bf16 or fp16: precision of the networks by autocast.
    precision: str
    #: channels_last (NHWC) memory format.
    channels_last: bool
    #: Fused Adam.
    fused: bool
    #: Activation checkpointing of the networks' blocks.
    activation_checkpointing: bool
    #: Networks are compiled by torch.compile.
    compile: bool
    #: Weights, gradients, optimiser states and averages are sharded over the processes.
    shard: bool

    def to_dict(self) -> dict[str, str | bool]:
        """For the run's log."""
        return dataclasses.asdict(self)

    def autocast(self, device: torch.device) -> torch.autocast:
        """The precision of the networks, as a context."""
        dtype = _DTYPES.get(self.precision)
        return torch.autocast(device.type, dtype=dtype, enabled=dtype is not None)

    def apply(self, *models: MatchingModel) -> None:
        """Prepare models for training, in place: their weights and results stay the same.

        Raises:
            ConfigError: for activation checkpointing of a network that does not support it.
        """
        for model in models:
            if self.channels_last:
                if self.shard:  # only contiguous weights can be sharded: inputs set the memory format
                    model.network.register_forward_pre_hook(_to_channels_last)
                else:
                    model.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            if self.activation_checkpointing:
                model.network.recompute_activations()
            if self.compile:
                model.network.compile()  # in place: names of weights, copies and saved files do not change


def choose_execution(settings: SystemSettings, device: torch.device, model: MatchingModel | None = None) -> Execution:
    """The settings on a device, with defaults for those left open.

    precision 'auto' is bf16 on accelerators that support it, else fp32. channels_last None is on for accelerators, and
    for CPUs in fp32 with networks of 64 channels or more (narrower ones and bf16 get slower). It is always off for
    networks without convolutions and for users' networks, whose code may need contiguous images. Sharding needs
    several processes.
    """
    accelerator = device.type == "cuda"
    precision = settings.precision
    if precision == "auto":
        precision = "bf16" if accelerator and torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    widest = _widest(model)
    by_itself = accelerator or (precision == "fp32" and widest >= 64)
    return Execution(
        precision=precision,
        channels_last=widest > 0 and (by_itself if settings.channels_last is None else settings.channels_last),
        fused=settings.fused,
        activation_checkpointing=settings.activation_checkpointing,
        compile=settings.compile,
        shard=settings.shard and dist.is_initialized() and dist.get_world_size() > 1,
    )


def _to_channels_last(network: torch.nn.Module, inputs: tuple) -> tuple:
    """A network's inputs, with images in the channels_last memory format."""
    x, *others = inputs
    return (x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x, *others)


def _widest(model: MatchingModel | None) -> int:
    """Largest number of output channels of a convolution that may be channels_last; 0 if there is none."""
    if model is None or isinstance(model.network, OwnNetwork):
        return 0
    layers = (layer for layer in model.network.modules() if isinstance(layer, torch.nn.Conv2d))
    return max((layer.out_channels for layer in layers), default=0)
