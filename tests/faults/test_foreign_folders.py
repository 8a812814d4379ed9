"""Commands that write leave alone what is not theirs: folders of other kinds, and files of others in their own."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from conftest import small_teacher

import realuid as library
from realuid.errors import ConfigError
from realuid.files import LOCK
from realuid.models import Generator, save_pretrained
from realuid.recipes import demo, load_recipe
from realuid.training import TeacherConfig, train_teacher
from realuid.training.folder import RUN, mark

WORK = "years of work"


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def project(folder: Path, *names: str) -> Path:
    """A folder of somebody's, with files of these names."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(WORK)
    return folder


@pytest.mark.parametrize("name", ["model/a", "samples/a", "best/a", "tensorboard/a", "checkpoints/7/a", "recipe.yaml"])
@pytest.mark.parametrize("command", ["train", "distill", "demo", "sweep"])
def test_a_folder_that_is_no_run_is_refused(command: str, name: str, moons, points_teacher, tmp_path, realuid) -> None:
    out = project(tmp_path / "project", name)
    words = ["--teacher", points_teacher, "--trust-teacher"]
    code, said = realuid(command, moons, "--out", out, *(words if command in ("distill", "sweep") else []))
    assert (code, files(out)) == (2, {name: WORK.encode()})
    assert "is not empty, and is no run of realuid. Nothing was touched." in said


@pytest.mark.parametrize(
    "name", ["results.json", "report.html", "seconds.json", "teacher.txt", "trials/a", "sweep.yaml"]
)
@pytest.mark.parametrize("command", ["demo", "sweep"])
def test_files_called_like_those_of_demos_and_sweeps(
    command: str, name: str, moons, points_teacher, tmp_path, realuid
) -> None:
    out = project(tmp_path / "project", name)
    words = ["--teacher", points_teacher, "--trust-teacher"]
    code, said = realuid(command, moons, "--out", out, *(words if command == "sweep" else []))
    assert (code, files(out)) == (2, {name: WORK.encode()})
    assert "is not empty, and is no run" in said or "already holds a sweep" in said


def test_python_functions_refuse_it_too(digits, teacher, tmp_path: Path) -> None:
    out = project(tmp_path / "project", "model/config.json", "metrics.jsonl")
    before = files(out)
    with pytest.raises(ConfigError, match="is no run of realuid"):
        train_teacher(teacher, digits, TeacherConfig(updates=1, batch=8, device="cpu"), out)
    with pytest.raises(ConfigError, match="is no run of realuid"):
        library.train("toy:moons", out)
    with pytest.raises(ConfigError, match="realuid did not write it"):
        save_pretrained(teacher, out)
    assert files(out) == before


def test_a_finished_run_is_not_made_anew_where_its_checkpoints_were_deleted(moons: Path, tmp_path, realuid) -> None:
    out = tmp_path / "run"
    assert realuid("train", moons, "--out", out)[0] == 0
    shutil.rmtree(out / "checkpoints")
    before = files(out)
    code, said = realuid("train", moons, "--out", out)
    assert code == 2 and "already holds a run" in said and files(out) == before


def test_a_run_killed_before_its_first_checkpoint_starts_anew_and_keeps_others_files(
    moons: Path, tmp_path: Path, realuid
) -> None:
    out = tmp_path / "run"
    assert realuid("train", moons, "--out", out, "--sample-every", 2)[0] == 0
    shutil.rmtree(out / "checkpoints")
    shutil.rmtree(out / "model")
    project(out, "samples/mine.png", "notes.txt")
    (out / "samples" / "0009999.png").write_text("of the run before")
    assert realuid("train", moons, "--out", out, "--sample-every", 2)[0] == 0
    names = set(files(out))
    assert {"samples/mine.png", "notes.txt", "samples/0000002.png", RUN} <= names
    assert "samples/0009999.png" not in names


def test_runs_of_earlier_versions_go_on(moons: Path, tmp_path: Path, realuid) -> None:
    """They have no mark."""
    out = tmp_path / "run"
    assert realuid("train", moons, "--out", out)[0] == 0
    (out / RUN).unlink()
    assert realuid("train", moons, "--out", out)[0] == 2
    assert realuid("train", "--resume", "--updates", 6, "--out", out)[0] == 0
    assert (out / "checkpoints" / "0000006").is_dir()


def test_what_is_put_into_a_model_stays_when_it_is_replaced(teacher, tmp_path: Path) -> None:
    model = save_pretrained(teacher, tmp_path / "m", first=1)
    project(model, "notes.txt", "plots/a.txt")
    (model / "empty").mkdir()
    (model / "link").symlink_to(tmp_path)
    save_pretrained(teacher, model, second=2)
    assert (model / "notes.txt").read_text() == (model / "plots" / "a.txt").read_text() == WORK
    assert (model / "link").is_symlink() and (model / "link").resolve() == tmp_path
    assert "second" in (model / "config.json").read_text()


def test_a_link_is_written_through(teacher, tmp_path: Path) -> None:
    save_pretrained(teacher, tmp_path / "big disk" / "m")
    (tmp_path / "m").symlink_to(tmp_path / "big disk" / "m")
    save_pretrained(teacher, tmp_path / "m", second=2)
    assert (tmp_path / "m").is_symlink()
    assert "second" in (tmp_path / "big disk" / "m" / "config.json").read_text()


def test_exports_spare_pipelines_and_models_of_others(tmp_path: Path, realuid) -> None:
    model = save_pretrained(Generator(small_teacher()), tmp_path / "g")
    theirs = project(tmp_path / "pipeline", "model_index.json", "unet/weights")
    code, said = realuid("export", model, theirs, "--to", "diffusers")
    assert (
        code == 2
        and "is not empty" in said
        and files(theirs) == {"model_index.json": b"years of work", "unet/weights": b"years of work"}
    )
    before = files(model)
    code, said = realuid("export", model, model / "model.safetensors", "--to", "safetensors")
    assert code == 2 and "is part of what realuid wrote" in said and files(model) == before


def test_an_export_is_replaced_and_keeps_what_was_added(tmp_path: Path, realuid) -> None:
    model = save_pretrained(Generator(small_teacher()), tmp_path / "g")
    out = tmp_path / "pipeline"
    assert realuid("export", model, out, "--to", "diffusers")[0] == 0
    project(out, ".git/HEAD")
    assert realuid("export", model, out, "--to", "diffusers", "--licence", "mit")[0] == 0
    assert (out / ".git" / "HEAD").read_text() == WORK and "license: mit" in (out / "README.md").read_text()
    (out / "README.md").write_text(WORK)
    code, said = realuid("export", model, out, "--to", "diffusers")
    assert code == 2 and "README.md" in said and (out / "README.md").read_text() == WORK


@pytest.mark.slow
@pytest.mark.usefixtures("untimed")
def test_a_demo_is_not_replaced_unless_told_to(moons: Path, tmp_path: Path, realuid) -> None:
    out = tmp_path / "demo"
    assert realuid("demo", moons, "--out", out)[0] == 0
    project(out, "teacher/notes.txt", "notes.txt")
    before = files(out)
    code, said = realuid("demo", moons, "--out", out)
    assert code == 2 and files(out) == before
    assert "already holds a demo. Pass --resume to continue it, --overwrite to replace it" in said
    assert realuid("demo", moons, "--out", out, "--resume", "--overwrite")[0] == 2 and files(out) == before
    assert realuid("demo", moons, "--out", out, "--overwrite", "--evaluate.samples", 61)[0] == 0
    after = files(out)
    assert after["teacher/notes.txt"] == after["notes.txt"] == WORK.encode()
    assert after["results.json"] != before["results.json"]


@pytest.mark.parametrize("needed", ["make_evaluator", "prompts_of"])
def test_a_demo_is_not_removed_for_one_that_cannot_be(needed: str, tmp_path: Path, monkeypatch) -> None:
    """As where evaluate.inception_weights or evaluate.joint name a file that is not there."""
    mark(tmp_path / "demo", "demo")
    mark(tmp_path / "demo" / "teacher")
    project(tmp_path / "demo", "teacher/metrics.jsonl", "results.json")
    before = files(tmp_path / "demo")

    def missing(*_):
        raise ConfigError("there is no such file")

    monkeypatch.setattr(demo, "make_evaluator", lambda *_: None)
    monkeypatch.setattr(demo, "make_models", lambda *_: pytest.fail("models are made before all is known to be there"))
    monkeypatch.setattr(demo, needed, missing)
    with pytest.raises(ConfigError, match="there is no such file"):
        demo.run_demo(load_recipe("digits"), tmp_path / "demo", overwrite=True)
    assert {name: text for name, text in files(tmp_path / "demo").items() if name != LOCK} == before


@pytest.mark.slow
@pytest.mark.usefixtures("untimed")
def test_a_demo_goes_to_a_folder_of_its_recipe(moons: Path, tmp_path: Path, realuid, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert realuid("demo", moons)[0] == 0
    assert (tmp_path / "runs" / "moons" / "report.html").is_file()
    (tmp_path / "runs" / "moons").rename(tmp_path / "runs" / "demo")  # where earlier versions put it
    (tmp_path / "runs" / "demo" / RUN).unlink()
    code, said = realuid("demo", moons, "--resume")
    assert code == 0 and "runs/demo/report.html" in said
