"""Multi-step samplers for teachers, one call for generators."""

from __future__ import annotations

from realuid.sampling.ode import SAMPLERS, euler, heun
from realuid.sampling.sample import balanced_labels, generate, sample_teacher

__all__ = ["SAMPLERS", "balanced_labels", "euler", "generate", "heun", "sample_teacher"]
