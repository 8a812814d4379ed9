"""Runs of an older version, in the middle: a teacher and a student of points that commit 547dd6d trained.

The archive holds the teacher's folder (two of its four updates, and the model that all four made), the student's (two
of its four), and the student that all four made.
"""

from __future__ import annotations

import json
import shutil
import tarfile
from pathlib import Path

import pytest
from safetensors.torch import load_file

from realuid.cli.main import main
from realuid.errors import ConfigError
from realuid.files import write_checksums
from realuid.recipes import parse_recipe
from realuid.training import DistillConfig
from realuid.training.settings import ONCE_OPEN, RENAMED, renamed_options

#: For every setting with another name now: what an older version may have been told, in a recipe and in words.
OLD_VALUES = {"recompute": ("true", "True"), "betas": ("[0.5, 0.9]", "0.5 0.9"), "decay": ("cosine", "cosine")}


@pytest.fixture
def old(tmp_path: Path) -> Path:
    with tarfile.open(Path(__file__).with_name("runs_of_547dd6d.tar.xz")) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path


def test_a_teacher_s_run_resumes(old: Path) -> None:
    before = load_file(old / "teacher" / "model" / "model.safetensors")
    shutil.rmtree(old / "teacher" / "model")
    assert main(["train", "--resume", "--out", str(old / "teacher")]) == 0
    after = load_file(old / "teacher" / "model" / "model.safetensors")
    assert before.keys() == after.keys()
    assert all(value.allclose(before[name], atol=1e-6) for name, value in after.items())


def test_a_student_s_run_resumes(old: Path) -> None:
    (old / "student" / "teacher.txt").write_text(f"teacher\n{old / 'teacher'}\n\n")
    start = load_file(old / "student" / "checkpoints" / "0000002" / "generator.safetensors")
    assert main(["distill", "--resume", "--out", str(old / "student")]) == 0
    before, after = load_file(old / "student.safetensors"), load_file(old / "student" / "model" / "model.safetensors")
    assert before.keys() == after.keys() == start.keys()
    assert all(value.allclose(before[name], atol=1e-6) for name, value in after.items())
    assert not all(value.allclose(start[name], atol=1e-6) for name, value in after.items())


def test_a_run_with_other_settings_says_which_version_wrote_it(old: Path, capsys) -> None:
    meta = old / "teacher" / "checkpoints" / "0000002" / "meta.json"
    told = json.loads(meta.read_text())
    meta.write_text(json.dumps(told | {"settings": told["settings"] | {"betas": [0.1, 0.2]}}))
    meta.with_name("checksums.json").unlink()
    write_checksums(meta.parent)
    assert main(["train", "--resume", "--out", str(old / "teacher")]) == 2
    said = capsys.readouterr().err
    assert "was made with another adam_betas (by realuid 0.1.0 or earlier; this is " in said and said.count("\n") == 1


@pytest.mark.parametrize("name", RENAMED)
def test_a_renamed_setting_is_read_or_named(name: str) -> None:
    """In recipes and in words it does what it did; Python is told the new name."""
    new, (value, words) = RENAMED[name], OLD_VALUES[name]
    was, is_now = (parse_recipe(f"distill: {{{setting}: {value}}}", "here").distill for setting in (name, new))
    assert was == is_now != DistillConfig()
    with pytest.raises(ConfigError, match=f"^{name} and {new} are two names of one setting: pass {new} alone"):
        parse_recipe(f"distill: {{{name}: {value}, {new}: {value}}}", "here")
    with pytest.raises(ConfigError, match=f"^{name} = .*: this setting is called {new} now.$"):
        DistillConfig(**{name: getattr(is_now, new)})
    option = f"--{new.replace('_', '-')}"
    expected = [option] if new in ONCE_OPEN else [option, *words.split()]
    assert renamed_options([f"--{name}", *words.split()]) == expected


@pytest.mark.parametrize("name", sorted(ONCE_OPEN))
def test_a_switch_that_was_left_open_takes_its_default(name: str) -> None:
    assert parse_recipe(f"distill: {{{name}: null}}", "here").distill == DistillConfig()
    assert renamed_options([f"--{name}=None", "--batch", "3"]) == ["--batch", "3"]
