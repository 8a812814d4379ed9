"""Students of a demo that are trained side by side, in two processes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml

from realuid.recipes import Recipe, load_recipe, parse_recipe
from realuid.recipes.spec import teacher_spec
from realuid.recipes.stages import Stopwatch, make_models

TINY = {
    "name": "tiny",
    "data": {"source": "toy:moons"},
    "network": {"architecture": "mlp", "channels": [8], "blocks": 1},
    "teacher": {"updates": 4, "batch": 16, "lr": 1e-3, "device": "cpu"},
    "distill": {"updates": 3, "batch": 16, "device": "cpu"},
    "students": {"a": {}, "b": {"seed": 1}, "c": {"start": "b"}, "d": {"seed": 2}},
}


def tiny(**changes) -> Recipe:
    return parse_recipe(yaml.safe_dump({**TINY, **changes}), "tiny")


def weights(recipe: Recipe, folder: Path, said: list[str]) -> dict[str, torch.Tensor]:
    """All numbers of the models that a demo makes, by name."""
    spec = teacher_spec(recipe, folder / "teacher")
    models = make_models(recipe, spec, Stopwatch(folder, resume=False), torch.device("cpu"), said.append)
    return {name: torch.cat([p.detach().flatten() for p in model.parameters()]) for name, model in models.items()}


@pytest.mark.slow  # starts processes
def test_models_are_those_of_one_process(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    said: list[str] = []
    try:
        two, one = (weights(tiny(side_by_side=beside), tmp_path / str(beside), said) for beside in (True, False))
    finally:
        torch.set_num_threads(threads)
    assert list(two) == list(one) == ["teacher", "a", "b", "c", "d"]
    assert not said, "no process has failed"
    for name in one:
        torch.testing.assert_close(two[name], one[name], rtol=1e-4, atol=1e-5)
    log = (tmp_path / "True" / "beside.log").read_text()
    assert "3 of 3" in log and not (tmp_path / "False" / "beside.log").exists()
    seconds = json.loads((tmp_path / "True" / "seconds.json").read_text())
    assert seconds.keys() == two.keys() and all(value > 0 for value in seconds.values())


def test_one_thread_is_not_divided(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    monkeypatch.setattr("realuid.recipes.stages.beside", lambda *_: pytest.fail("a process was started"))
    assert list(weights(tiny(side_by_side=True), tmp_path, [])) == ["teacher", "a", "b", "c", "d"]


def test_the_text_demo_trains_side_by_side_and_no_other() -> None:
    assert load_recipe("text").side_by_side and not load_recipe("demo").side_by_side
