"""`realuid export` and `realuid sample` of every format: the same images from the same seed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import students
from cli.test_mistakes import check
from conftest import small_teacher
from PIL import Image

from realuid.cli.main import main
from realuid.exports import Export
from realuid.models import save_pretrained

NAMES = {
    "diffusers": "s",
    "onnx": "s.onnx",
    "torch": "s.pt2",
    "safetensors": "s.safetensors",
    "authors": "s.pt",
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A conditional student that every format can hold."""
    generator = students.unet(classes=3, channels=(32, 32), t_init=1.0)
    return save_pretrained(generator, tmp_path_factory.mktemp("run") / "best").parent


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path)).astype(int)


@pytest.mark.slow
@pytest.mark.parametrize("to", NAMES)
def test_every_format_is_sampled_alike(to, model, tmp_path, capsys):
    if to == "onnx":
        pytest.importorskip("onnxruntime")
    out = tmp_path / NAMES[to]
    assert main(["export", str(model), str(out), "--to", to]) == 0
    assert "largest difference from the student" in capsys.readouterr().out
    assert main(["info", str(out)]) == 0
    assert ("inputs noise, labels" if to in ("onnx", "torch", "diffusers") else "parameters") in capsys.readouterr().out
    for source, name in ((model, "ours.png"), (out, "theirs.png")):
        assert main(["sample", str(source), "--out", str(tmp_path / name), "--count", "9", "--seed", "3"]) == 0
    ours, theirs = pixels(tmp_path / "ours.png"), pixels(tmp_path / "theirs.png")
    assert ours.std() > 10
    assert np.abs(ours - theirs).max() <= 1 and (ours != theirs).mean() < 0.01


def test_mistakes_are_one_line(model, tmp_path, capsys):
    out = tmp_path / "s.pt2"
    teacher = save_pretrained(small_teacher(), tmp_path / "teacher")
    mistakes = (
        ((teacher, out, "--to", "torch"), ("is a teacher, not a student",)),
        ((tmp_path / "no", out, "--to", "torch"), ("no model at",)),
        ((model, tmp_path / "s.onnx", "--to", "torch"), ("--to torch writes a .pt2 file", "s.onnx")),
        ((model, out, "--to", "torch", "--precision", "int8"), ("precision = int8: only for onnx, not for torch",)),
        ((model, tmp_path / "s", "--to", "diffusers", "--uint8"), ("uint8 = True: only for onnx and torch",)),
        ((model, out, "--to", "torch", "--private"), ("private = True: only with --push-to-hub",)),
        ((model, out, "--to", "torch", "--push-to-hub", "a/b"), ("only for diffusers and lora, not for torch",)),
        ((model, teacher, "--to", "diffusers"), ("is not empty",)),
    )
    before = sorted(tmp_path.rglob("*"))
    for arguments, says in mistakes:
        check(capsys, None, "export", *arguments, says=says)
        assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.slow
def test_an_exported_program_has_no_weights_to_export_again(model, tmp_path, capsys):
    assert main(["export", str(model), str(tmp_path / "s.pt2"), "--to", "torch"]) == 0
    capsys.readouterr()
    out = tmp_path / "t.pt2"
    check(capsys, out, "export", tmp_path / "s.pt2", out, "--to", "torch", says=("is exported already",))


@pytest.mark.parametrize(("to", "says"), [("lora", "README.md for the lines that run it"), ("onnx", "realuid sample")])
def test_what_diffusers_runs_is_not_said_to_be_sampled_here(to, says, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("realuid.exports.export_student", lambda model, out, *_, **__: Export(out, 0.0))
    assert main(["export", "model", str(tmp_path / f"s.{to}"), "--to", to]) == 0
    assert says in capsys.readouterr().out.splitlines()[-1]
