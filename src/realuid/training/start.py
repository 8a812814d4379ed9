"""Start of a fine-tuning run: a distilled student with a chosen EMA of its weights, and the fake model of its run."""

from __future__ import annotations

import copy
from pathlib import Path

import torch

from realuid.errors import CheckpointError
from realuid.loaders import load_generator
from realuid.models import MatchingModel, Student
from realuid.training.checkpoints import Checkpoints


def load_start(path: str | Path, ema: float | None = None) -> Student:
    """Load a distilled student to continue from.

    Args:
        path: run folder, or anything else `load_generator` reads.
        ema: decay of the EMA weights. None: the best model of a run folder, the only weights of a file. Other decays
            are read from the newest checkpoint of a run folder.

    Raises:
        CheckpointError: for a path without student, or an EMA decay that it does not have.
    """
    if ema is None:
        return load_generator(path)
    if not Path(path).is_dir():
        return load_generator(path, key=str(ema))
    generator = load_generator(path)
    _, folder = Checkpoints(Path(path) / "checkpoints").latest()
    weights, _, meta = Checkpoints.read(folder)
    if ema not in meta["settings"]["ema"]:
        decays = ", ".join(map(str, meta["settings"]["ema"]))
        raise CheckpointError(f"'{path}' has no average of decay {ema}. Its averages: {decays}.")
    if meta["settings"].get("lora_rank"):
        raise CheckpointError(
            f"'{path}' was trained with adapters (lora_rank): only its best model can be started from. Leave "
            "start_ema out."
        )
    with torch.no_grad():
        for name, parameter in generator.named_parameters():
            parameter.copy_(weights["ema"][f"{ema}.{name}"])
    return generator


def load_fake(path: str | Path, teacher: MatchingModel) -> MatchingModel:
    """The fake model at the end of a run, to start another one's: `distill(teacher, data, start=path, fake=...)`.

    Args:
        path: run folder of a student of this teacher, of one call, trained without a discriminator or adapters.
        teacher: whose network the fake model has.

    Raises:
        CheckpointError: for a path without checkpoints, or with weights of another network.
    """
    if not (Path(path) / "checkpoints").is_dir():
        raise CheckpointError(f"'{path}' is no folder of a run, so it has no fake model to start from.")
    _, folder = Checkpoints(Path(path) / "checkpoints").latest()
    weights, _, _ = Checkpoints.read(folder)
    fake = copy.deepcopy(teacher).requires_grad_(True)
    found, needed = weights.get("fake", {}), fake.state_dict()
    if {name: value.shape for name, value in found.items()} != {name: value.shape for name, value in needed.items()}:
        raise CheckpointError(
            f"the fake model of '{path}' is no network like the teacher's: its student has several calls, adapters or "
            "a discriminator, or another teacher. Leave the fake model out."
        )
    fake.load_state_dict(found)
    return fake
