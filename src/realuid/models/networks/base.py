"""Base of networks with the call `network(x, time, condition)`; U-Net, DiT and MLP."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from diffusers import DiTTransformer2DModel, ModelMixin, UNet2DModel
from torch import Tensor, nn

from realuid.errors import CheckpointError, ConfigError
from realuid.models.networks.condition import LABEL, SOURCE, Condition
from realuid.models.networks.cpu_blocks import lay_out
from realuid.models.networks.embedding import find_time_embedding
from realuid.models.networks.merged import Merged
from realuid.models.networks.specs import ConditionSpec, example, label_spec, source_spec
from realuid.models.saving.weights import check_sample


class Network(nn.Module):
    """A network with the settings it was built from, so that it can be saved as JSON and weights.

    Subclasses take their settings as keyword arguments and pass them on to `__init__` here. Those that read other
    conditions than a class and x_T declare them by overriding `conditions`.
    """

    #: Of one sample, (c, h, w) or (d,); number of classes (0: unconditional); whether it reads x_T; and predictions
    #: made at once, stacked along the first axis of a sample (`velocity_and_noise`: two).
    shape: tuple[int, ...]
    num_classes: int = 0
    sees_source: bool = False
    heads: int = 1
    #: The row of its table of classes that stands for "no class", beyond them; None where the table has none.
    null_row: int | None = None
    class_setting: ClassVar[str] = ""  #: the setting that holds the number of classes, '' for an architecture without
    #: Ends of the names of layers that adapters change by default, * for any characters; empty: `AdapterSettings`'.
    lora_targets: tuple[str, ...] = ()
    #: Whether its weights are an adapter on a network that others share. A deep copy has weights of its own.
    shares_base: bool = False
    runs_without_memory: bool = True  #: whether it can be called with tensors that have sizes only
    keeps_precision: ClassVar[bool] = False  #: whether weights stay in the precision of their file; else float32
    #: The unconditional condition of networks that read text, one row, from data or a prompt encoder. No weight.
    null: Condition | None = None
    usual_guidance: float | None = None  #: of its text-to-image pipeline, unless told otherwise

    def __init__(self, settings: dict[str, Any]):
        super().__init__()
        self.settings = settings
        #: Tensors of imported weights that it does not use, such as a discriminator's head: saved and exported with it.
        self.unused: dict[str, Tensor] = {}
        self.merged: Merged | None = None  # the adapter that the weights contain

    @property
    def class_gain(self) -> float:
        """What multiplies the embedding of a class where it enters."""
        return 1.0

    @property
    def conditions(self) -> tuple[ConditionSpec, ...]:
        """Conditions it reads besides x and time: by default its class label and the source x_T, if any."""
        return (
            *([label_spec(self.num_classes, null=self.null_row)] if self.num_classes else []),
            *([source_spec(self.shape)] if self.sees_source else []),
        )

    def forward(self, x: Tensor, time: Tensor, condition: Condition) -> Tensor:
        """Args: x, shape (b, *shape), already scaled; time, shape (b,), already scaled. Returns: `heads` like x."""
        raise NotImplementedError

    def guide(self, conditional: Tensor, unconditional: Tensor, scale: float) -> Tensor:
        """Classifier-free guidance: predictions with and without a condition, both of the same samples, as one."""
        return unconditional + scale * (conditional - unconditional)

    def time_embedding(self) -> tuple[nn.Module, int] | None:
        """The module that embeds the time, whose output of shape (b, width) modulates all blocks, and the width.

        None where there is no such module, or blocks that are recomputed on the backward pass call it.
        """
        return find_time_embedding(self)

    def bottleneck(self) -> tuple[nn.Module, tuple[int, ...]]:
        """The module whose output is the deepest features, and the shape of those of one sample: (c, h, w) or (c,).

        Raises:
            ConfigError: where the network has none.
        """
        raise ConfigError(
            f"a {type(self).__name__} has no bottleneck for a discriminator's head. Use lambda_g = 0, or a U-Net."
        )

    def recompute_activations(self) -> None:
        """Turn on activation checkpointing of the network's blocks.

        Raises:
            ConfigError: if the network does not support it.
        """
        raise ConfigError(
            f"a {type(self).__name__} cannot recompute its activations. Leave activation_checkpointing out, and "
            "use a smaller micro_batch."
        )

    def units(self) -> list[nn.Module]:
        """Disjoint submodules that hold most of the weights and are called one after another, for sharding; may be
        empty.
        """
        return []

    def read(self, condition: Condition, name: str) -> Tensor:
        """An entry of a condition that this network declares.

        Raises:
            ConfigError: where it is missing.
        """
        if name not in condition:
            spec = next(spec for spec in self.conditions if name in spec.names)
            raise ConfigError(f"the model is conditional on {spec.what}, but no {spec.argument} were passed.")
        return condition[name]

    def labels(self, condition: Condition) -> Tensor | None:
        """The class labels, None for an unconditional network, or an error where they are missing."""
        return self.read(condition, LABEL) if self.num_classes else None


class UNet(Network):
    """diffusers' `UNet2DModel`; with `sees_source`, x_T is concatenated to x along the channels.

    Args:
        sees_source: whether x_T is read (conditional bridges).
        heads: number of predictions; out_channels is that many times a sample's.
        learns_variance: whether out_channels is twice that, for a learned variance (iDDPM), which is dropped.
        **unet: `UNet2DModel`'s own settings, as in its config.json.
    """

    class_setting: ClassVar[str] = "num_class_embeds"
    #: The class of diffusers that it is made of.
    denoiser: ClassVar[type[ModelMixin]] = UNet2DModel

    def __init__(self, sees_source: bool = False, heads: int = 1, learns_variance: bool = False, **unet: Any):
        super().__init__({"sees_source": sees_source, "heads": heads, "learns_variance": learns_variance, **unet})
        self.unet = self.denoiser(**unet)
        lay_out(self.unet)
        config = self.unet.config
        size = config.sample_size
        channels = config.out_channels // (2 * heads if learns_variance else heads)
        self.shape = (channels, *((size, size) if isinstance(size, int) else size))
        self.num_classes = config.num_class_embeds or 0
        self.sees_source, self.heads = sees_source, heads
        needed = self.shape[0] * (2 if sees_source else 1)
        if config.in_channels != needed:
            raise ConfigError(
                f"in_channels = {config.in_channels} for samples of shape {self.shape} and sees_source = "
                f"{sees_source}: {needed} are needed."
            )

    def forward(self, x: Tensor, time: Tensor, condition: Condition) -> Tensor:
        if self.sees_source:
            x = torch.cat([x, self.read(condition, SOURCE).to(x.dtype)], dim=1)
        output = self.unet(x, time, class_labels=self.labels(condition), return_dict=False)[0]
        return output[:, : self.heads * self.shape[0]]

    def recompute_activations(self) -> None:
        self.unet.enable_gradient_checkpointing()

    def units(self) -> list[nn.Module]:
        middle = [] if self.unet.mid_block is None else [self.unet.mid_block]
        return [*self.unet.down_blocks, *middle, *self.unet.up_blocks]

    def bottleneck(self) -> tuple[nn.Module, tuple[int, ...]]:
        channels = self.unet.config.block_out_channels
        height, width = (side >> (len(channels) - 1) for side in self.shape[1:])
        return self.unet.mid_block, (channels[-1], height, width)


class DiT(Network):
    """diffusers' `DiTTransformer2DModel` (Peebles & Xie 2023); a learned variance is dropped.

    Args:
        **dit: its own settings, as in its config.json.
    """

    class_setting: ClassVar[str] = "num_embeds_ada_norm"

    def __init__(self, **dit: Any):
        super().__init__(dit)
        self.transformer = DiTTransformer2DModel(**dit)
        config = self.transformer.config
        self.shape = (config.in_channels, config.sample_size, config.sample_size)
        self.num_classes = config.num_embeds_ada_norm
        self.null_row = self.num_classes  # diffusers' LabelEmbedding has a row more, for classifier-free guidance
        if self.transformer.out_channels not in (config.in_channels, 2 * config.in_channels):
            raise ConfigError(
                f"out_channels = {config.out_channels} with in_channels = {config.in_channels}: needed as many, or "
                "twice as many (learned variance)."
            )

    def forward(self, x: Tensor, time: Tensor, condition: Condition) -> Tensor:
        labels = self.labels(condition)
        return self.transformer(x, timestep=time, class_labels=labels, return_dict=False)[0][:, : self.shape[0]]

    def time_embedding(self) -> tuple[nn.Module, int] | None:
        return None  # every block has its own

    def recompute_activations(self) -> None:
        self.transformer.enable_gradient_checkpointing()

    def units(self) -> list[nn.Module]:
        return list(self.transformer.transformer_blocks[1:])  # the output layer calls a part of the first one


def check_runs(network: Network) -> None:
    """Check that a network can be called: diffusers also builds networks with contradictory settings.

    Args:
        network: created under `on_paper`, without memory.

    Raises:
        CheckpointError: if it fails on samples of its own shape, or returns another shape.
    """
    check_sample(network.shape)
    if not network.runs_without_memory:
        return
    wrong = "its settings contradict each other"
    with torch.device("meta"):
        x = torch.empty(1, *network.shape)
        try:
            answer = network(x, torch.zeros(1), example(network.conditions, 1)).shape
        except Exception as error:  # whatever its parts make of such settings
            reason = " ".join(str(error).split())[:200]
            raise CheckpointError(f"{wrong}: on samples of {network.shape}, {reason}") from error
    if answer[1:] != (network.heads * network.shape[0], *network.shape[1:]):
        raise CheckpointError(f"{wrong}: samples of {network.shape} become {tuple(answer[1:])}.")


class MLP(Network):
    """A residual perceptron for toy data, shape (d,): sinusoidal time and class embeddings modulate every block.

    Args:
        features: d.
        width: hidden width.
        depth: number of residual blocks.
        num_classes: 0 for unconditional.
        sees_source: whether x_T is read.
        heads: number of predictions.
    """

    class_setting: ClassVar[str] = "num_classes"
    frequencies: Tensor

    def __init__(
        self,
        features: int,
        width: int = 256,
        depth: int = 4,
        num_classes: int = 0,
        sees_source: bool = False,
        heads: int = 1,
    ):
        super().__init__(
            {
                "features": features,
                "width": width,
                "depth": depth,
                "num_classes": num_classes,
                "sees_source": sees_source,
                "heads": heads,
            }
        )
        self.shape, self.num_classes, self.sees_source, self.heads = (features,), num_classes, sees_source, heads
        self.inlet = nn.Linear(features * (2 if sees_source else 1), width)
        self.register_buffer("frequencies", torch.exp(torch.linspace(0, math.log(1000), 32)), persistent=False)
        self.time = nn.Sequential(nn.Linear(64, width), nn.SiLU(), nn.Linear(width, width))
        self.classes = nn.Embedding(num_classes, width) if num_classes else None
        self.modulations = nn.ModuleList(nn.Linear(width, 2 * width) for _ in range(depth))
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, width)) for _ in range(depth)
        )
        self.middle = nn.Identity()
        self.outlet = nn.Linear(width, features * heads)

    def forward(self, x: Tensor, time: Tensor, condition: Condition) -> Tensor:
        if self.sees_source:
            x = torch.cat([x, self.read(condition, SOURCE).to(x.dtype)], dim=1)
        angles = time[:, None].to(self.frequencies) * self.frequencies / 1000
        embedding = self.time(torch.cat([angles.sin(), angles.cos()], dim=1).to(x.dtype))
        if self.classes is not None:
            embedding = embedding + self.classes(self.labels(condition))
        h = self.inlet(x)
        for i, (modulation, block) in enumerate(zip(self.modulations, self.blocks, strict=True)):
            scale, shift = modulation(nn.functional.silu(embedding)).chunk(2, dim=1)
            h = h + block(nn.functional.layer_norm(h, h.shape[1:]) * (1 + scale) + shift)
            if i == len(self.blocks) // 2:
                h = self.middle(h)
        return self.outlet(h)

    def time_embedding(self) -> tuple[nn.Module, int] | None:
        return self.time, self.inlet.out_features

    def bottleneck(self) -> tuple[nn.Module, tuple[int, ...]]:
        return self.middle, (self.inlet.out_features,)
