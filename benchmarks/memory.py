"""Peak memory of distilling published text-to-image models on one GPU, counted without a GPU and without weights.

    python -m benchmarks.memory sdxl sd15 flux sdxl-full

What is counted is the code of an update with tensors that have sizes only (`realuid.training.footprint`); how far that
is from measured peaks is tested in tests/training/test_footprint.py. The CUDA context (about half a GiB), workspaces
and fragmentation come on top.
"""

from __future__ import annotations

import argparse
import time
from typing import Any, NamedTuple

import torch

from realuid.compat import moving_sizes, sizes_only
from realuid.loaders.schedulers import read_scheduler
from realuid.models import MatchingModel, example
from realuid.models.networks.prompted import PromptNetwork
from realuid.training import DistillConfig
from realuid.training.footprint import footprint

_DDPM = {
    "_class_name": "DDIMScheduler",
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "num_train_timesteps": 1000,
}
_FLOW = {"_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": 1000, "shift": 3.0}

#: config.json of denoisers, as published.
SD15 = {
    "_class_name": "UNet2DConditionModel",
    "attention_head_dim": 8,
    "block_out_channels": [320, 640, 1280, 1280],
    "cross_attention_dim": 768,
    "layers_per_block": 2,
    "sample_size": 64,
}
SDXL = {
    "_class_name": "UNet2DConditionModel",
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "attention_head_dim": [5, 10, 20],
    "block_out_channels": [320, 640, 1280],
    "cross_attention_dim": 2048,
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    "layers_per_block": 2,
    "projection_class_embeddings_input_dim": 2816,
    "sample_size": 128,
    "transformer_layers_per_block": [1, 2, 10],
    "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
    "use_linear_projection": True,
}
FLUX = {
    "_class_name": "FluxTransformer2DModel",
    "attention_head_dim": 128,
    "axes_dims_rope": [16, 56, 56],
    "guidance_embeds": True,
    "in_channels": 64,
    "joint_attention_dim": 4096,
    "num_attention_heads": 24,
    "num_layers": 19,
    "num_single_layers": 38,
    "patch_size": 1,
    "pooled_projection_dim": 768,
}


class Case(NamedTuple):
    """A model at a size, and how it is distilled."""

    pipeline: str
    denoiser: dict[str, Any]
    shape: tuple[int, ...]
    scheduler: dict[str, Any]
    numbers: dict[str, Any]
    tokens: int
    guidance: float
    settings: dict[str, Any]
    dtype: torch.dtype = torch.bfloat16


_ADAPTERS = {"lora_rank": 64, "calls": 4, "activation_checkpointing": True, "ema": (0.99,)}
_SDXL = ("sdxl", SDXL, (4, 128, 128), _DDPM, {"factor": 8}, 77, 8.0)
_SD15 = ("stable_diffusion", SD15, (4, 64, 64), _DDPM, {}, 77, 1.75)
_FLUX = ("flux", FLUX, (16, 128, 128), _FLOW, {"embedded_guidance": 3.5}, 512, 1.0)
#: Full copies in fp32 with Adam and an average of the student, as FastGen keeps them for one GPU.
_FULL = {"calls": 4, "activation_checkpointing": True, "objective": "dmd", "ema": (0.99,)}
#: DMD2's run on SDXL: a discriminator on the fake model's bottleneck, the frozen teacher in bfloat16 (it keeps no
#: average, which is one copy less).
_DMD2 = {"calls": 4, "activation_checkpointing": True, "objective": "dmd", "ema": (0.99,), "lambda_g": 5e-3}
CASES = {
    "sd15": Case(*_SD15, _ADAPTERS),
    "sdxl": Case(*_SDXL, _ADAPTERS),
    "flux": Case(*_FLUX, {**_ADAPTERS, "lora_base": "nf4"}),
    "sd15-full": Case(*_SD15, _FULL, torch.float32),
    "sdxl-full": Case(*_SDXL, _FULL, torch.float32),
    "sdxl-dmd2": Case(*_SDXL, _DMD2),
    "flux-full": Case(*_FLUX, _FULL, torch.float32),
}


def teacher_of(case: Case) -> MatchingModel:
    """The teacher without weights."""
    path, prediction, preconditioning, *_ = read_scheduler(case.scheduler)
    with sizes_only(), moving_sizes():
        network = PromptNetwork(case.pipeline, case.denoiser, case.shape, **case.numbers).to(case.dtype)
    null = example(network.conditions, 1)
    network.null = null.replace(text=torch.zeros(1, case.tokens, null["text"].shape[2]))
    return MatchingModel(network, path, prediction, preconditioning)


def config_of(case: Case) -> DistillConfig:
    """Settings of one image with one real one, rank 64, four calls."""
    common = {"batch": 1, "fake_start": "teacher", "alpha": 0.92, "beta": 0.94, "guidance": case.guidance}
    common |= {"precision": "bf16", "updates": 1000}
    if case.settings.get("objective") == "dmd":
        common |= {"alpha": 1.0, "beta": 1.0}
    return DistillConfig(**{**common, **case.settings})


def main() -> None:
    """Count the cases named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", default=list(CASES), choices=list(CASES))
    for name in parser.parse_args().cases:
        case, start = CASES[name], time.perf_counter()
        found = footprint(teacher_of(case), config_of(case), tokens=case.tokens)
        print(f"{name}: peak {found.peak / 2**30:.2f} GiB ({time.perf_counter() - start:.0f} s to count)")
        for part, size in {**found.parts, **found.turns}.items():
            print(f"  {part:30} {size / 2**30:8.2f} GiB", flush=True)


if __name__ == "__main__":
    main()
