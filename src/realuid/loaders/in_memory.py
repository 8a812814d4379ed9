"""Models of diffusers that are in memory: written to a temporary folder, which is then read as any other."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from realuid.errors import ConfigError
from realuid.loaders.diffusers_folder import load_diffusers
from realuid.models import MatchingModel


def is_of_diffusers(source: object) -> bool:
    """Whether an object is one of diffusers: a pipeline or a network."""
    return any(kind.__module__.startswith("diffusers.") for kind in type(source).__mro__)


def load_from_memory(
    source: Any, scheduler: Any = None, key: str | None = None, size: tuple[int, ...] | None = None
) -> MatchingModel:
    """A teacher from a pipeline of diffusers, or from a network and its scheduler; the weights are copied.

    Args:
        source: a `DiffusionPipeline`, or a network such as `UNet2DModel`.
        scheduler: of a network, for instance the `DDPMScheduler` it was trained with.
        key: which network of the pipeline.
        size: as for `load_model`.

    Raises:
        ConfigError: for a network without a scheduler, or a pipeline with another one.
        CheckpointError: for what is not supported, as in a folder.
    """
    from diffusers import DiffusionPipeline, SchedulerMixin

    if isinstance(source, DiffusionPipeline):
        if scheduler is not None:
            raise ConfigError("scheduler: the pipeline has one. Leave it out, or pass the network alone.")
    elif not isinstance(scheduler, SchedulerMixin):
        raise ConfigError(
            f"scheduler is a {type(scheduler).__name__}: a network alone does not say on which path it was trained. "
            "Pass its scheduler, for instance scheduler=DDPMScheduler()."
        )
    with tempfile.TemporaryDirectory() as folder:
        source.save_pretrained(folder)
        if scheduler is not None:
            scheduler.save_pretrained(folder)
        model = load_diffusers(folder, key, size)
    model.origin = type(source).__name__
    loaded_from = str(getattr(source, "name_or_path", "") or "")
    model.prompts = loaded_from if model.prompts and (Path(loaded_from) / "model_index.json").is_file() else ""
    return model
