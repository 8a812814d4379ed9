"""Students that are adapters on tiny text-to-image pipelines."""

from __future__ import annotations

from pathlib import Path

import torch

from realuid.data import Dataset
from realuid.loaders import load_model, load_prompt_encoder
from realuid.models import MatchingModel, Student
from realuid.training import DistillConfig, distill_teacher

PROMPT = "a red cat on blue"
#: Rank and alpha of the adapters, and settings of a run.
SETTINGS = {"lora_rank": 2, "lora_alpha": 3.0, "generator_lr": 0.05, "fake_lr": 0.05, "fake_start": "teacher"}
SETTINGS |= {"updates": 2, "batch": 2, "fake_updates": 1, "device": "cpu", "ema": (0.5,), "t_init": 1.0}


def prompted_data(teacher: MatchingModel, folder: Path) -> Dataset:
    """Random images with the embeddings of a prompt."""
    encoder = load_prompt_encoder(folder)
    told = encoder.encode([PROMPT])
    columns = {name: value.repeat(8, *(1,) * (value.dim() - 1)) for name, value in told.items()}
    random = torch.Generator().manual_seed(0)
    images = torch.randint(256, (8, *teacher.image_shape), generator=random, dtype=torch.uint8)
    return Dataset(images, columns=columns, nulls=encoder.null())


def distilled(teacher_folder: Path, out: Path, **changes) -> Student:
    """A student of two updates."""
    teacher = load_model(teacher_folder)
    data = prompted_data(teacher, teacher_folder)
    return distill_teacher(teacher, data, DistillConfig(**{**SETTINGS, **changes}), out)
