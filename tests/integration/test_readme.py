"""Every Python text of README.md runs as it stands, in order, in one folder."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import diffusers_folders
import pytest
from conftest import small_teacher
from diffusers import DDPMScheduler

from realuid import api
from realuid.cli.main import main
from realuid.models import save_pretrained
from realuid.recipes import Recipe, load_recipe

README = Path(__file__).parents[2] / "README.md"


def short_recipe(name: str) -> Recipe:
    recipe = load_recipe(name)
    return replace(recipe, distill=replace(recipe.distill, updates=2, batch=16, fake_updates=1, evaluate_every=0))


class ShortEvaluation(api.EvaluateConfig):
    """By default of few samples."""

    def __init__(self, **settings) -> None:
        super().__init__(**{"samples": 100, "seeds": 1, **settings})


@pytest.fixture
def stand_ins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small teachers with random weights where the text has trained ones, and few updates and samples by default."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(api, "require_sound", lambda teacher, data: None)
    diffusers_folders.save_ddpm(tmp_path / "my-ddpm", diffusers_folders.unet(1), DDPMScheduler())
    save_pretrained(small_teacher(), tmp_path / "runs" / "demo" / "teacher")
    monkeypatch.setattr(api, "load_recipe", short_recipe)
    monkeypatch.setattr(api, "EvaluateConfig", ShortEvaluation)


@pytest.mark.slow
def test_the_texts_run(stand_ins: None) -> None:
    pytest.importorskip("onnxruntime", reason="needs realuid[onnx]")
    ran, exported = [], 0
    for language, text in re.findall(r"^```(\w*)\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL):
        if language == "python":
            assert len(text.strip().splitlines()) < 10
            names: dict = {}
            exec(compile(text, f"README.md, text {len(ran)}", "exec"), names)
            ran.append(names)
        elif not language:
            for line in re.findall(r"^realuid (export +runs/mine .*)$", text, re.MULTILINE):
                assert main(line.split()) == 0
                exported += 1
    realuid, diffusers, onnx, torch = (names["images"] for names in ran if "images" in names)
    assert (Path("my-one-step-model") / "model_index.json").is_file()
    assert exported == 3
    assert tuple(realuid.shape) == (64, 1, 8, 8)
    assert (len(diffusers), diffusers[0].size) == (16, (8, 8))
    assert onnx.shape == tuple(torch.shape) == (16, 1, 8, 8)
