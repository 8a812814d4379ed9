"""The examples run as they stand."""

from __future__ import annotations

import ast
import json
import re
import runpy
import sys
from pathlib import Path

import pages
import pytest
import torch
from conftest import small_teacher
from PIL import Image

from realuid.cli.main import main
from realuid.data import load_dataset, to_float
from realuid.metrics import features, train_classifier
from realuid.models import Generator, NetworkConfig, save_pretrained
from realuid.recipes import Recipe
from realuid.recipes.run import new_teacher

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(monkeypatch, name: str, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")


def test_own_network(monkeypatch, capsys, tmp_path: Path) -> None:
    run(monkeypatch, "own_network.py", tmp_path)
    said = capsys.readouterr().out
    assert "teacher: mean" in said and "student: mean" in said
    assert (tmp_path / "student" / "model" / "model.safetensors").is_file()


def test_sample_and_evaluate(monkeypatch, capsys, tmp_path: Path) -> None:
    monkeypatch.setenv("REALUID_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(features, "train_classifier", lambda data, seed: train_classifier(data, seed, updates=5))
    model = save_pretrained(Generator(small_teacher()), tmp_path / "m")
    run(monkeypatch, "sample_and_evaluate.py", model, tmp_path / "g.png", 40)
    assert "1 network calls a sample" in capsys.readouterr().out
    with Image.open(tmp_path / "g.png") as grid:
        assert grid.size == (8 * 66 + 2, 8 * 66 + 2)


@pytest.mark.slow
def test_train_autoencoder_and_a_teacher_on_its_latents(monkeypatch, capsys, tmp_path: Path) -> None:
    """It reconstructs digits better than their mean, and data prepared with it gives a teacher on latents."""
    run(monkeypatch, "train_autoencoder.py", "digits", tmp_path / "vae", 300)
    data = load_dataset("digits")
    x = to_float(data.values[torch.arange(256)])
    error = 127.5 * float((x - x.mean(0)).abs().mean())
    assert float(re.findall(r"images: (.*) of", capsys.readouterr().out)[0]) < 0.8 * error
    main(["prepare", "digits", str(tmp_path / "data"), "--autoencoder", str(tmp_path / "vae")])
    prepared = load_dataset(tmp_path / "data")
    teacher = new_teacher(Recipe(network=NetworkConfig(channels=(8,), blocks=1, attention_at=())), prepared)
    assert teacher.shape == (16, 1, 1) and teacher.image_shape == (1, 8, 8)
    latents = prepared.columns["latent"][torch.arange(1000)]
    assert (latents.std(0) - 1).abs().max() < 0.15 and latents.mean(0).abs().max() < 0.15


@pytest.mark.slow
def test_the_notebook_runs_and_its_last_lines_can_be_shown(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    pages.shorten(monkeypatch, tmp_path / "cache")
    names: dict = {}
    shown = []
    for cell in json.loads((EXAMPLES / "digits.ipynb").read_text())["cells"]:
        if cell["cell_type"] == "code":
            *body, last = ast.parse("".join(cell["source"]).replace("updates=1900", "updates=60")).body
            exec(compile(ast.Module(body, []), "digits.ipynb", "exec"), names)
            shown.append(eval(compile(ast.Expression(last.value), "digits.ipynb", "eval"), names))
    pictures = [each for each in shown if isinstance(each, Image.Image)]
    tables = [each._repr_html_() for each in shown if not isinstance(each, Image.Image)]
    assert [picture.size for picture in pictures] == [(662, 266), (662, 266), (662, 68)]
    texts = ("img", "linear", "calls", "KID", "KID")
    assert all(text in table for text, table in zip(texts, tables, strict=True))
    assert names["gaps"][-1][0] == 4
