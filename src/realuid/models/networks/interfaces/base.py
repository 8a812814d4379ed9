"""What all interfaces share: how a pipeline of diffusers calls its denoiser and encodes its prompts."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import diffusers
import torch
from torch import Tensor, nn

from realuid.models.networks import specs
from realuid.models.networks.condition import Condition
from realuid.models.networks.specs import ConditionSpec
from realuid.models.prompts import POOLED, TEXT_MASK
from realuid.models.saving.quiet import quiet_transformers

#: Layers that adapters change by default, by the ends of their names.
ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
JOINT_ATTENTION = (*ATTENTION, "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out")
FEED_FORWARD = ("ff.net.0.proj", "ff.net.2")

#: Settings of a denoiser: its config.json.
Config = Mapping[str, Any]


class Interface(ABC):
    """One family of pipelines: what its denoiser is told besides the sample and the time, and how.

    What is the same for all samples (ids, sizes, an embedded guidance scale) is no condition: `call` computes it.
    """

    #: Classes of pipelines, as model_index.json names them, and of the denoiser, as its config.json does.
    pipelines: ClassVar[tuple[str, ...]]
    denoiser: ClassVar[str]
    #: Folder of the denoiser in a pipeline, and its attribute.
    folder: ClassVar[str] = "transformer"
    #: Ends of the names of layers that adapters change by default.
    lora_targets: ClassVar[tuple[str, ...]] = (*JOINT_ATTENTION, *FEED_FORWARD)
    #: The prompt whose embedding is the null (unconditional) condition.
    null_prompt: ClassVar[str] = ""

    @abstractmethod
    def conditions(self, config: Config, numbers: Mapping[str, Any]) -> tuple[ConditionSpec, ...]:
        """What the denoiser reads of a prompt."""

    def usual_guidance(self, numbers: Mapping[str, Any]) -> float:
        """Scale of classifier-free guidance of the pipeline's call unless told otherwise; 1 for none.

        Args:
            numbers: the network's further settings.
        """
        with quiet_transformers():
            return default_guidance(getattr(diffusers, self.pipelines[0]))

    @abstractmethod
    def shape(self, config: Config) -> tuple[int, ...]:
        """Shape of one sample at the size that the pipeline makes by default."""

    def numbers(self, config: Config, factor: int) -> dict[str, Any]:
        """Further settings of a network, JSON-ready.

        Args:
            config: of the denoiser.
            factor: side of an image by that of its latents.
        """
        return {}

    @abstractmethod
    def call(
        self, denoiser: nn.Module, x: Tensor, time: Tensor, condition: Condition, numbers: Mapping[str, Any]
    ) -> Tensor:
        """The denoiser's output for samples, in their shape.

        Args:
            denoiser: of diffusers.
            x: shape (b, *shape), in the denoiser's precision, as floating-point entries of the condition are.
            time: shape (b,): number of the step, or 1000 sigma.
            condition: with the entries that `conditions` declares.
            numbers: the network's further settings.
        """

    def guide(self, conditional: Tensor, unconditional: Tensor, scale: float) -> Tensor:
        """Classifier-free guidance as the pipeline does it, on the denoiser's outputs in the shape of samples."""
        return unconditional + scale * (conditional - unconditional)

    def encode(self, pipeline: Any, prompts: Sequence[str]) -> Condition:
        """Conditions of prompts by a pipeline's own `encode_prompt`, one row each.

        Args:
            pipeline: with its text encoders; other parts may be missing.
            prompts: at least one.
        """
        return self.named(pipeline.encode_prompt(list(prompts), **own_defaults(pipeline)))

    def null(self, pipeline: Any) -> Condition:
        """The unconditional condition of a pipeline, one row; by default of the null prompt."""
        return self.encode(pipeline, [self.null_prompt])

    @abstractmethod
    def named(self, answer: tuple[Any, ...]) -> Condition:
        """What `encode_prompt` answers, by the names of conditions."""


def default_guidance(pipeline: type) -> float:
    """The default scale of classifier-free guidance of a class of pipelines; 1 for none."""
    call = inspect.signature(pipeline.__call__).parameters
    name = next((name for name in ("true_cfg_scale", "guidance_scale") if name in call), None)
    return float(call[name].default or 1) if name else 1.0


def own_defaults(pipeline: Any, with_null: bool = False) -> dict[str, Any]:
    """What a pipeline's call passes to its `encode_prompt` unless told otherwise, such as the longest prompt.

    Args:
        pipeline: of diffusers.
        with_null: whether the null condition is asked for, too.
    """
    call = inspect.signature(type(pipeline).__call__).parameters
    given: dict[str, Any] = {}
    for name, parameter in inspect.signature(type(pipeline).encode_prompt).parameters.items():
        default = call[name].default if name in call else None
        if name not in ("self", "prompt") and (default is not None or parameter.default is inspect.Parameter.empty):
            given[name] = default
    own = {"device": torch.device("cpu"), "do_classifier_free_guidance": with_null}
    return given | {name: value for name, value in own.items() if name in taken_by(pipeline)}


def taken_by(pipeline: Any) -> set[str]:
    """Names of the arguments of a pipeline's `encode_prompt`."""
    return set(inspect.signature(type(pipeline).encode_prompt).parameters)


def whole(time: Tensor) -> Tensor:
    """Numbers of steps, without the rounding error of a time that is their multiple."""
    nearest = time.round()
    return torch.where((time - nearest).abs() < 1e-3, nearest, time)


def text_spec(width: int, *, masked: bool = False) -> ConditionSpec:
    """Embeddings of the tokens of a prompt, shape (b, length, width)."""
    return specs.text_spec((None, width), TEXT_MASK if masked else "")


def pooled_spec(width: int) -> ConditionSpec:
    """One embedding of a whole prompt, shape (b, width)."""
    return ConditionSpec(POOLED, "vector", (width,))


def sides(size: int | Sequence[int]) -> tuple[int, int]:
    """Height and width of a `sample_size`."""
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def for_each(x: Tensor, numbers: Sequence[float]) -> Tensor:
    """The same numbers for every sample, shape (b, n), made so that a trace holds for any batch size."""
    return torch.stack([torch.full((x.shape[0],), float(n), device=x.device, dtype=x.dtype) for n in numbers], dim=1)


def packed(x: Tensor) -> Tensor:
    """Patches of 2 x 2 as tokens: (b, c, h, w) becomes (b, h w / 4, 4 c)."""
    b, c, h, w = x.shape
    return x.reshape(b, c, h // 2, 2, w // 2, 2).permute(0, 2, 4, 1, 3, 5).reshape(b, h * w // 4, 4 * c)


def unpacked(tokens: Tensor, shape: Sequence[int]) -> Tensor:
    """The reverse of `packed`, for samples of shape (c, h, w)."""
    c, h, w = shape
    x = tokens.reshape(tokens.shape[0], h // 2, w // 2, c, 2, 2).permute(0, 3, 1, 4, 2, 5)
    return x.reshape(tokens.shape[0], c, h, w)
