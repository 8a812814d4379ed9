"""Checkpoints of runs: atomic, checksummed, the last few kept, damaged ones reported and skipped."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from realuid.errors import CheckpointError
from realuid.files import atomic_folder, damage, write_checksums
from realuid.models.saving.weights import apart
from realuid.training.log import Sums


class DamagedCheckpointWarning(UserWarning):
    """A checkpoint failed its checksums; an earlier one is used."""


class Meta(TypedDict):
    """Contents of a checkpoint besides tensors, as JSON."""

    #: Progress of the run, see `realuid.training.task.Progress`.
    update: int
    best: dict[str, float] | None
    history: list[dict[str, float]]
    pending: NotRequired[bool]
    #: Running means of values for the next line of the log.
    means: Sums
    #: Settings by name, with fingerprints of data and teacher.
    settings: dict[str, Any]
    #: Further sections of the saved model's config.json.
    about: NotRequired[dict[str, Any]]
    #: Version of realuid that wrote it.
    version: NotRequired[str]


class Checkpoints:
    """The checkpoints of one run, `folder/0000400/...`, one folder an update.

    Args:
        folder: created when the first checkpoint is written.
        keep: number of newest checkpoints to keep.
    """

    def __init__(self, folder: Path, keep: int = 2):
        self.folder, self.keep = folder, keep
        self._damaged: set[int] = set()

    def steps(self) -> list[int]:
        """Updates that have a checkpoint, in increasing order, without those that `latest` has found damaged."""
        return [step for step in self._all() if step not in self._damaged]

    def _all(self) -> list[int]:
        if not self.folder.is_dir():
            return []
        names = (p.name for p in self.folder.iterdir() if p.is_dir() and p.name.isdecimal())
        return sorted(int(name) for name in names if name == self.at(int(name)).name)  # others are copies of a user's

    def at(self, step: int) -> Path:
        """Folder of the checkpoint of an update."""
        return self.folder / f"{step:07d}"

    def save(self, step: int, weights: dict[str, dict[str, Tensor]], optimizers: dict[str, dict], meta: Meta) -> Path:
        """Write one checkpoint, then delete those beyond `keep`.

        Args:
            step: number of updates done.
            weights: name -> state dict of tensors, one safetensors file each.
            optimizers: name -> optimiser state dict, torch format.
            meta: everything else that resuming needs.
        """
        with atomic_folder(self.at(step)) as temporary:
            for name, state in weights.items():
                save_file(apart(state), temporary / f"{name}.safetensors")
            for name, state in optimizers.items():
                torch.save(state, temporary / f"{name}.pt")
            (temporary / "meta.json").write_text(json.dumps(meta) + "\n")
            write_checksums(temporary)
        self._damaged.discard(step)
        oldest = self.steps()[-self.keep :][0]
        for old in self._all():
            if old < oldest:
                shutil.rmtree(self.at(old))
        return self.at(step)

    def latest(self) -> tuple[int, Path]:
        """The newest undamaged checkpoint and its update.

        Raises:
            CheckpointError: if there is none.
        """
        damaged: list[str] = []
        for step in reversed(self._all()):
            reason = damage(self.at(step))
            if reason is None:
                if damaged:
                    warnings.warn(
                        f"damaged checkpoint passed over: {'; '.join(damaged)}. Resuming from update {step}.",
                        DamagedCheckpointWarning,
                        stacklevel=2,
                    )
                return step, self.at(step)
            damaged.append(f"'{self.at(step)}' ({reason})")
            self._damaged.add(step)
        if damaged:
            raise CheckpointError(f"every checkpoint is damaged: {'; '.join(damaged)}. Start the run again.")
        raise CheckpointError(f"nothing to resume: there is no checkpoint in '{self.folder}'.")

    @staticmethod
    def read(folder: Path) -> tuple[dict[str, dict[str, Tensor]], dict[str, dict], Meta]:
        """Weights, optimiser states and meta of one checkpoint folder."""
        weights = {p.stem: load_file(p) for p in sorted(folder.glob("*.safetensors"))}
        optimizers = {p.stem: torch.load(p, map_location="cpu", weights_only=True) for p in sorted(folder.glob("*.pt"))}
        return weights, optimizers, Checkpoints.read_meta(folder)

    @staticmethod
    def read_meta(folder: Path) -> Meta:
        """The meta of one checkpoint folder."""
        meta: Meta = json.loads((folder / "meta.json").read_text())
        return meta
