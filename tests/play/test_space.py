"""A Space is a folder whose program shows the exported student."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
import torch
import yaml
from conftest import small_teacher

import realuid
from realuid.exports import ExportOptions
from realuid.models import Generator

gradio = pytest.importorskip("gradio", reason="the extra `play` is not installed")


def test_the_program_of_a_space_samples_the_student(tmp_path: Path) -> None:
    student = Generator(small_teacher(num_classes=3), calls=2)
    folder = realuid.export(student, tmp_path / "my <space>", "space", options=ExportOptions(licence="mit")).path
    header = yaml.safe_load((folder / "README.md").read_text().split("---\n")[1])
    assert header == {"title": "my <space>", "sdk": "gradio", "app_file": "app.py", "license": "mit"}
    assert (folder / "requirements.txt").read_text() == f"realuid[play]=={realuid.__version__}\n"
    assert "# my \\<space\\>" in (folder / "README.md").read_text()
    demo = runpy.run_path(str(folder / "app.py"))["demo"]
    assert isinstance(demo, gradio.Blocks)
    shown = {getattr(block, "elem_id", None): block for block in demo.blocks.values()}
    assert [choice[1] for choice in shown["class"].choices] == ["every class", "0", "1", "2"]
    assert shown["calls"].visible and not shown["upload"].visible
    kept = realuid.load_generator(folder / "student")
    assert torch.equal(realuid.sample(kept, 2, labels=1), realuid.sample(student, 2, labels=1))
