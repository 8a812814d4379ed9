"""Find the model a path stands for."""

from __future__ import annotations

from pathlib import Path

from realuid.errors import CheckpointError
from realuid.models import Generator, MatchingModel, from_pretrained, load_single_file
from realuid.models.saving import CONFIG


def model_folder(path: str | Path) -> Path:
    """The folder with the weights: the path itself, or the best (else the last) model of a run folder.

    Raises:
        CheckpointError: where there is none.
    """
    path = Path(path)
    if not path.exists():
        raise CheckpointError(f"no model at '{path}': there is no such file or folder.")
    for candidate in (path, path / "best", path / "model"):
        if (candidate / CONFIG).is_file():
            return candidate
    raise CheckpointError(f"no model in '{path}': expected {CONFIG} there, or a run folder with best/ or model/.")


def load_model(path: str | Path) -> MatchingModel | Generator:
    """A teacher or a generator from a model folder, a run folder or a single safetensors file."""
    if Path(path).suffix == ".safetensors":
        return load_single_file(path)
    return from_pretrained(model_folder(path))


def load_teacher(path: str | Path) -> MatchingModel:
    """A teacher from a model folder or a run folder.

    Raises:
        CheckpointError: where there is none, or it is a one-step generator.
    """
    model = load_model(path)
    if isinstance(model, Generator):
        raise CheckpointError(f"'{path}' is a one-step generator, not a teacher.")
    return model


def load_generator(path: str | Path) -> Generator:
    """A one-step generator from a model folder or a run folder.

    Raises:
        CheckpointError: where there is none, or it is a teacher.
    """
    model = load_model(path)
    if isinstance(model, MatchingModel):
        raise CheckpointError(f"'{path}' is a teacher, not a one-step generator.")
    return model
