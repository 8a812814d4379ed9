"""Fixtures of the tests of faults: a run that takes a second, and the command line with what it said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from realuid.cli.main import main
from realuid.models import MLP, MatchingModel, save_pretrained
from realuid.paths import make_path

MOONS = """
name: moons
data: {source: "toy:moons", conditional: false}
network: {architecture: mlp, channels: [16], blocks: 1}
teacher: {updates: 4, batch: 8, save_every: 2, log_every: 2, device: cpu}
distill: {updates: 2, batch: 8, save_every: 1, log_every: 1, device: cpu}
evaluate: {samples: 60, seeds: 1, steps: 2}
students: {uid: {alpha: 1.0, beta: 1.0}}
"""

#: Runs a command line; gives its exit code and all it said, line ends as spaces.
CommandLine = Callable[..., tuple[int, str]]


@pytest.fixture
def moons(tmp_path: Path) -> Path:
    """A recipe for points, which trains in no time."""
    path = tmp_path / "moons.yaml"
    path.write_text(MOONS)
    return path


@pytest.fixture
def realuid(capsys: pytest.CaptureFixture[str]) -> CommandLine:
    """The command line in this process."""

    def run(*words: object) -> tuple[int, str]:
        capsys.readouterr()
        code = main([str(word) for word in words])
        said = capsys.readouterr()
        return code, " ".join((said.out + said.err).split())

    return run


@pytest.fixture
def points_teacher(tmp_path: Path) -> Path:
    """A teacher for points, with random weights."""
    return save_pretrained(MatchingModel(MLP(2, width=16, depth=1), make_path("linear")), tmp_path / "points-teacher")


@pytest.fixture
def untimed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Demos do not measure how fast models are, which takes ten seconds."""
    monkeypatch.setattr("realuid.recipes.demo.images_per_second", lambda models, *_: dict.fromkeys(models, 1.0))
