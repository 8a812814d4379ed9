"""Multi-step samplers for teachers, one call for generators."""

from __future__ import annotations

from realuid.sampling.base import Sampler, as_batch
from realuid.sampling.dpm_solver import dpm_solver
from realuid.sampling.ode import euler, heun
from realuid.sampling.posterior import ancestral, ddim
from realuid.sampling.sample import SAMPLERS, OneStep, balanced_labels, generate, sample_teacher
from realuid.sampling.sde import noise_diffusion, reverse_diffusion, sde

__all__ = [
    "SAMPLERS",
    "OneStep",
    "Sampler",
    "ancestral",
    "as_batch",
    "balanced_labels",
    "ddim",
    "dpm_solver",
    "euler",
    "generate",
    "heun",
    "noise_diffusion",
    "reverse_diffusion",
    "sample_teacher",
    "sde",
]
