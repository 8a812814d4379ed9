"""The denoiser of a text-to-image pipeline of diffusers, called as its pipeline calls it."""

from __future__ import annotations

import dataclasses
import inspect
import json
from typing import Any, ClassVar

import diffusers
import torch
from torch import Tensor, nn

from realuid.errors import ConfigError, unknown_name
from realuid.models.networks.base import Network, check_runs
from realuid.models.networks.condition import Condition
from realuid.models.networks.interfaces import INTERFACES, Interface
from realuid.models.networks.specs import ConditionSpec, required
from realuid.models.prompts import TEXT, TEXT_MASK
from realuid.models.saving.diffusers_weights import quiet_diffusers
from realuid.models.saving.weights import on_paper


class PromptNetwork(Network):
    """A denoiser of diffusers that is conditioned on prompts.

    It works in the precision of its weights, which may be bfloat16 or float16 while they are frozen: samples and
    conditions are cast, and the result has the dtype of the samples.

    Args:
        pipeline: name of the interface: how the denoiser is called, a name in `INTERFACES`.
        denoiser: its config.json, with `_class_name`.
        shape: of one sample: (c, h, w), of videos (c, frames, h, w).
        **numbers: what else the interface needs, such as the embedded guidance scale of FLUX.1-dev.

    Raises:
        ConfigError: for an unknown interface, or a denoiser of another class than it calls.
    """

    keeps_precision: ClassVar[bool] = True

    def __init__(self, pipeline: str, denoiser: dict[str, Any], shape: tuple[int, ...], **numbers: Any):
        called = interface(pipeline)
        kind = str(denoiser.get("_class_name", called.denoiser))
        if kind != (called.denoiser or kind) or not is_model(kind):
            wanted = called.denoiser or "model of diffusers"
            raise ConfigError(f"the denoiser of a '{pipeline}' is a {wanted}, not a {kind[:100]}.")
        with quiet_diffusers():
            made = getattr(diffusers, kind).from_config(denoiser)
        settings = {"_class_name": kind, **complete(made)}
        super().__init__({"pipeline": pipeline, "denoiser": settings, "shape": list(shape), **numbers})
        self.interface, self.denoiser = called, made
        self.runs_without_memory = pipeline != "recorded"  # its denoiser may read values of what it is given
        self.shape, self.numbers = tuple(shape), numbers
        self.lora_targets = self.interface.lora_targets
        self._null: Condition | None = None

    def resize(self, shape: tuple[int, ...]) -> None:
        """Make it one for samples of another height and width (and number of frames).

        Raises:
            ConfigError: for other channels, and where the pipeline's call was recorded with samples of one size.
            CheckpointError: where the denoiser cannot be called with such samples.
        """
        if len(shape) != len(self.shape) or shape[0] != self.shape[0]:
            raise ConfigError(f"samples of shape {shape}: the denoiser's have {self.shape[0]} channels, {self.shape}.")
        if "size" in self.numbers and list(shape) != list(self.numbers["size"]):
            raise ConfigError(
                f"samples of shape {tuple(shape)}: the call of this pipeline was recorded with {self.shape}, the only "
                "ones that it takes. In Python, load_teacher(source, size=...) records others."
            )
        settings = {**self.settings, "shape": list(shape)}
        with on_paper(parameters=len(self.state_dict())):
            check_runs(PromptNetwork(**settings))
        self.shape, self.settings = tuple(shape), settings

    @property
    def usual_guidance(self) -> float | None:  # type: ignore[override]
        return self.interface.usual_guidance(self.numbers)

    @property
    def null(self) -> Condition | None:  # type: ignore[override]
        """The unconditional condition, one row; None until prepared data or an encoder of prompts says it.

        It belongs to the encoder of prompts rather than to the weights, and is not saved.
        """
        return self._null

    @null.setter
    def null(self, condition: Condition | None) -> None:
        if condition is not None:
            checked = required(self._declared, condition, 1)
            if TEXT_MASK in checked:  # what the mask leaves out is left out, so that the mask of a null is full
                mask = checked[TEXT_MASK][0]
                text = checked[TEXT][:, mask] if mask.any() else checked[TEXT][:, :1]
                checked = checked.replace(**{TEXT: text, TEXT_MASK: torch.ones(text.shape[:2], dtype=torch.bool)})
            condition = checked
        self._null = condition

    @property
    def _declared(self) -> tuple[ConditionSpec, ...]:
        return self.interface.conditions(self.settings["denoiser"], self.numbers)

    @property
    def conditions(self) -> tuple[ConditionSpec, ...]:
        """What it reads of a prompt, with the null condition where it is known."""
        null = self._null
        if null is None:
            return self._declared
        return tuple(dataclasses.replace(spec, null=null[spec.name][0]) for spec in self._declared)

    def forward(self, x: Tensor, time: Tensor, condition: Condition) -> Tensor:
        dtype: torch.dtype = self.denoiser.dtype  # type: ignore[assignment]
        given = {name: self.read(condition, name) for spec in self._declared for name in spec.names}
        told = Condition(given).to(dtype=dtype)
        output = self.interface.call(self.denoiser, x.to(dtype), time.float(), told, self.numbers)
        return output.to(x.dtype)

    def guide(self, conditional: Tensor, unconditional: Tensor, scale: float) -> Tensor:
        return self.interface.guide(conditional, unconditional, scale)

    def recompute_activations(self) -> None:
        self.denoiser.enable_gradient_checkpointing()  # type: ignore[operator]

    def units(self) -> list[nn.Module]:
        """The blocks of a transformer, or of a U-Net."""
        lists = [child for child in self.denoiser.children() if isinstance(child, nn.ModuleList)]
        middle = getattr(self.denoiser, "mid_block", None)
        return [*(block for blocks in lists for block in blocks), *([] if middle is None else [middle])]

    def bottleneck(self) -> tuple[nn.Module, tuple[int, ...]]:
        middle: nn.Module | None = getattr(self.denoiser, "mid_block", None)
        if middle is None:
            return super().bottleneck()
        channels = self.settings["denoiser"]["block_out_channels"]
        height, width = (side >> (len(channels) - 1) for side in self.shape[1:])
        return middle, (channels[-1], height, width)


def is_model(name: str) -> bool:
    """Whether diffusers has a network of this name."""
    found = getattr(diffusers, name, None) if name in dir(diffusers) else None
    return isinstance(found, type) and issubclass(found, diffusers.ModelMixin)


def interface(name: str) -> Interface:
    """The interface of a name.

    Raises:
        ConfigError: for an unknown one.
    """
    if name not in INTERFACES:
        raise ConfigError(unknown_name("pipeline", str(name)[:100], INTERFACES))
    return INTERFACES[name]


def complete(model: Any) -> dict[str, Any]:
    """All settings of a model of diffusers, JSON-ready, without those that it keeps but does not read."""
    known = inspect.signature(type(model).__init__).parameters
    settings: dict[str, Any] = json.loads(json.dumps({n: v for n, v in model.config.items() if n in known}))
    return settings
