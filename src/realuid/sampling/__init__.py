"""Sampling: multi-step samplers for teachers, one or a few calls for students."""

from __future__ import annotations

from realuid.sampling.base import Sampler, as_batch
from realuid.sampling.classes import spread_labels
from realuid.sampling.dpm_solver import dpm_solver
from realuid.sampling.ode import euler, heun
from realuid.sampling.options import OneStep, Sampling, SamplingOptions, check_use
from realuid.sampling.posterior import ancestral, ddim
from realuid.sampling.sample import (
    SAMPLERS,
    find_sampler,
    generate,
    generate_each_call,
    sample_teacher,
)
from realuid.sampling.sde import noise_diffusion, reverse_diffusion, scaled_sde, sde

__all__ = [
    "SAMPLERS",
    "OneStep",
    "Sampler",
    "Sampling",
    "SamplingOptions",
    "ancestral",
    "as_batch",
    "check_use",
    "ddim",
    "dpm_solver",
    "euler",
    "find_sampler",
    "generate",
    "generate_each_call",
    "heun",
    "noise_diffusion",
    "reverse_diffusion",
    "sample_teacher",
    "scaled_sde",
    "sde",
    "spread_labels",
]
