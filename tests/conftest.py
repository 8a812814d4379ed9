"""Shared fixtures. Every test process runs on one thread: tests are small, and run side by side."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from realuid.data import Dataset, load_dataset
from realuid.models import Generator, MatchingModel, NetworkConfig, build_network
from realuid.paths import make_path
from realuid.training.draws import Draw
from realuid.training.updates import generated_images

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real images and reference tensors: $REALUID_SHARED, or `shared` beside the checkout."""
    folder = Path(os.environ.get("REALUID_SHARED", Path(__file__).parents[2] / "shared"))
    if not (folder / "reference").is_dir():
        pytest.skip(f"needs the shared data and reference tensors, not found at '{folder}' (set REALUID_SHARED)")
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep trained classifiers and statistics of tests out of the user's cache; share them within one test run."""
    monkeypatch.setenv("REALUID_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(scope="session")
def digits() -> Dataset:
    """The bundled digits."""
    return load_dataset("digits")


def small_teacher(
    shape: tuple[int, ...] = (1, 8, 8), num_classes: int = 0, seed: int = 0, dropout: float = 0.0
) -> MatchingModel:
    """A tiny flow teacher with random weights."""
    torch.manual_seed(seed)
    config = NetworkConfig(channels=(8, 16), blocks=1, attention_at=(), dropout=dropout)
    return MatchingModel(build_network(config, shape, num_classes), make_path("linear"))


@pytest.fixture
def teacher() -> MatchingModel:
    """A tiny unconditional teacher for digits."""
    return small_teacher()


def shown(generator: Generator, draw: Draw) -> Draw:
    """The draw with the images that a generator makes of it."""
    return draw.showing(generated_images(generator, draw))
