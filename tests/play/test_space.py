"""A Space is a folder whose program shows the exported student."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
import torch
import yaml
from conftest import small_teacher
from play.test_player import prompted

import realuid
from realuid.exports import ExportOptions
from realuid.models import Generator, save_pretrained

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


def test_a_space_names_what_reads_its_prompts(tmp_path: Path) -> None:
    student = Generator(prompted())
    folder = realuid.export(student, tmp_path / "words", "space").path
    assert (folder / "requirements.txt").read_text() == f"realuid[play,text]=={realuid.__version__}\n"
    assert 'PROMPT_ENCODER = "words"' in (folder / "app.py").read_text()
    assert "PROMPT_ENCODER" not in (folder / "README.md").read_text()
    shown = {getattr(b, "elem_id", None): b for b in runpy.run_path(str(folder / "app.py"))["demo"].blocks.values()}
    assert shown["prompts"].visible
    student.model.prompts = str(save_pretrained(Generator(small_teacher()), tmp_path / "pipeline"))  # any folder here
    folder = realuid.export(student, tmp_path / "folder", "space").path
    assert 'PROMPT_ENCODER = ""' in (folder / "app.py").read_text()
    assert "Set `PROMPT_ENCODER` in app.py to the Hub id" in (folder / "README.md").read_text()
