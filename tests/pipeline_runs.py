"""Text-to-image pipelines called as their users do, while their denoisers and schedulers are listened to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import diffusers
import torch
from pipelines import size_of
from torch import Tensor, nn


@dataclass
class Run:
    """What happened while a pipeline made samples.

    Attributes:
        inputs, times: of the denoiser in every step, for the conditional half, in the shape of latents.
        outputs: guided predictions that the scheduler got.
        told: the scheduler's own times.
        latents, images: what came out; images in [0, 1].
    """

    inputs: list[Tensor]
    outputs: list[Tensor]
    told: list[Tensor]
    latents: Tensor
    images: Tensor


def denoiser_of(pipeline: Any) -> nn.Module:
    return pipeline.unet if hasattr(pipeline, "unet") else pipeline.transformer


def in_float64(pipeline: Any) -> Any:
    """A pipeline whose denoiser computes in float64, whatever it is given, and so does its autoencoder."""

    def cast(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: cast(entry) for name, entry in value.items()}
        return value.double() if isinstance(value, Tensor) and value.is_floating_point() else value

    def before(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return tuple(map(cast, args)), cast(kwargs)

    pipeline.vae.double()
    denoiser_of(pipeline).double().register_forward_pre_hook(before, with_kwargs=True)
    return pipeline


@torch.no_grad()
def run(name: str, pipeline: Any, prompts: list[str], guidance: float = 1.0, steps: int = 2) -> Run:
    """Call a pipeline as its users do, and listen to its denoiser and its scheduler.

    Args:
        name: in `PIPELINES`.
        pipeline: with all of its parts.
        prompts: one for every sample.
        guidance: of classifier-free guidance; 1 for none.
        steps: of the scheduler.
    """
    how: dict[str, Any] = {"prompt": prompts, "num_inference_steps": steps}
    *frames, how["height"], how["width"] = size_of(name)
    if frames:
        how["num_frames"] = frames[0]
    if name.startswith(("flux", "qwen")):
        how |= {"true_cfg_scale": guidance, "negative_prompt": [" " if name == "qwen_image" else ""] * len(prompts)}
    else:
        how["guidance_scale"] = guidance
    if name.startswith(("pixart", "sana")):
        how["use_resolution_binning"] = False
    inputs, outputs, told = [], [], []

    def before(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        x = args[0] if args else kwargs["hidden_states"]
        inputs.append(latents_of(name, x[-len(prompts) :].clone()))

    step = pipeline.scheduler.step

    def listening(output: Tensor, t: Tensor, *args: Any, **kwargs: Any) -> Any:
        outputs.append(latents_of(name, output.clone()))
        told.append(t)
        return step(output, t, *args, **kwargs)

    handle = denoiser_of(pipeline).register_forward_pre_hook(before, with_kwargs=True)
    pipeline.scheduler.step = listening
    try:
        noise = torch.Generator().manual_seed(5)
        latents = latents_of(name, pipeline(**how, output_type="latent", generator=noise)[0])
        heard = list(inputs), list(outputs), list(told)
        images = pipeline(**how, output_type="pt", generator=noise.manual_seed(5))[0]
    finally:
        handle.remove()
        pipeline.scheduler.step = step
    every = len(heard[0]) // len(heard[1])
    return Run(heard[0][::every], heard[1], heard[2], latents, images)


def latents_of(name: str, x: Tensor) -> Tensor:
    """Packed tokens as latents; others as they are."""
    if not name.startswith(("flux", "qwen")):
        return x
    height, width = (side // 2 for side in size_of(name))
    pipeline = diffusers.FluxPipeline
    return pipeline._unpack_latents(x, 2 * height, 2 * width, 2)
