"""Every mistake: one line, exit code 2, no traceback, nothing half-written."""

from __future__ import annotations

import tempfile
import zipfile
from pathlib import Path

import pytest
import torch
from conftest import small_teacher
from PIL import Image

from realuid.cli.main import main
from realuid.models import Generator, save_pretrained
from realuid.recipes import Recipe, dump_recipe, load_recipe, parse_recipe


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return save_pretrained(small_teacher(), tmp_path / "teacher-model")


def images(folder: Path, channels: int = 3, count: int = 4) -> Path:
    folder.mkdir()
    for i in range(count):
        Image.new("RGB" if channels == 3 else "L", (8, 8), i).save(folder / f"{i}.png")
    return folder


def check(capsys: pytest.CaptureFixture, out: Path | None, *arguments: object, says: tuple[str, ...]) -> None:
    code = main([str(a) for a in arguments])
    captured = capsys.readouterr()
    lines = captured.err.strip().splitlines()
    assert code == 2
    assert len(lines) == 1 and lines[0].startswith("realuid: error: ")
    for part in says:
        assert part in lines[0]
    assert "Traceback" not in captured.out + captured.err
    assert out is None or not out.exists()


def test_unknown_command(capsys) -> None:
    check(capsys, None, "distil", says=("unknown command 'distil'", "Did you mean 'distill'?", "sample"))


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("nowhere.zip", ("no data at 'nowhere.zip'", "Allowed: 'digits'")),
        ("toy:rings", ("unknown toy distribution 'rings'", "moons")),
    ],
)
def test_missing_data(capsys, tmp_path, source, says) -> None:
    check(capsys, tmp_path / "run", "train", "demo", "--data.source", source, "--out", tmp_path / "run", says=says)


def test_wrong_channel_count(capsys, tmp_path, model) -> None:
    folder = images(tmp_path / "rgb")
    out = tmp_path / "run"
    arguments = ("distill", "demo", "--teacher", model, "--data.source", folder, "--out", out)
    check(capsys, out, *arguments, says=("shape (1, 8, 8)", "shape (3, 8, 8)"))


@pytest.mark.parametrize("alpha", ["0", "1.2", "-1"])
def test_alpha_outside_its_range(capsys, tmp_path, model, alpha) -> None:
    out = tmp_path / "run"
    arguments = ("distill", "demo", "--teacher", model, "--alpha", alpha, "--out", out)
    check(capsys, out, *arguments, says=(f"alpha = {float(alpha)}", "(0, 1]"))


def test_a_batch_larger_than_the_data(capsys, tmp_path) -> None:
    folder, out = images(tmp_path / "few", channels=1), tmp_path / "run"
    arguments = ("train", "demo", "--data.source", folder, "--out", out)
    check(capsys, out, *arguments, says=("batch of 128", "4 samples"))


def test_an_unknown_key_in_a_recipe(capsys, tmp_path) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("teacher: {learning_rate: 0.1}\n")
    check(
        capsys,
        tmp_path / "run",
        "train",
        recipe,
        "--out",
        tmp_path / "run",
        says=("teacher.learning_rate", "mine.yaml"),
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("teacher: {lr: fast}", ("mine.yaml", "lr")),
        ("teacher: [1, 2", ("not valid YAML",)),
        ("", ("mine.yaml' is empty", "base: demo")),
        ("# nothing yet\n", ("mine.yaml' is empty",)),
        ("students: {a: {alpa: 0.9}}", ("students.a", "unknown setting 'alpa'", "Did you mean 'alpha'?")),
        ("distill: {alpha: 2}", ("alpha = 2", "(0, 1]")),
        ("path: {name: lineal}", ("unknown path 'lineal'", "Did you mean 'linear'?")),
    ],
)
def test_a_bad_recipe(capsys, tmp_path, text, says) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(text)
    check(capsys, tmp_path / "run", "train", recipe, "--out", tmp_path / "run", says=says)


def test_a_truncated_zip(capsys, tmp_path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for file in images(tmp_path / "i").iterdir():
            archive.write(file, file.name)
    whole = (tmp_path / "a.zip").read_bytes()
    (tmp_path / "a.zip").write_bytes(whole[: len(whole) // 2])
    arguments = ("train", "demo", "--data.source", tmp_path / "a.zip", "--out", tmp_path / "run")
    check(capsys, tmp_path / "run", *arguments, says=("a.zip' is not a whole zip file",))


def test_a_file_in_the_folder_that_is_no_image(capsys, tmp_path) -> None:
    folder = images(tmp_path / "i")
    (folder / "readme.png").write_text("hello")
    arguments = ("train", "demo", "--data.source", folder, "--out", tmp_path / "run")
    check(capsys, tmp_path / "run", *arguments, says=("'readme.png' (damaged, or none of PNG", "--data.skip-damaged"))


def test_a_checkpoint_of_another_model(capsys, tmp_path, model) -> None:
    other = save_pretrained(small_teacher((3, 8, 8)), tmp_path / "other")
    (model / "model.safetensors").write_bytes((other / "model.safetensors").read_bytes())
    arguments = ("distill", "demo", "--teacher", model, "--out", tmp_path / "run")
    check(capsys, tmp_path / "run", *arguments, says=("weights in", "of another model", "needed (8, 1, 3, 3)"))


def test_a_generator_is_no_teacher(capsys, tmp_path) -> None:
    model = save_pretrained(Generator(small_teacher()), tmp_path / "g")
    arguments = ("distill", "demo", "--teacher", model, "--out", tmp_path / "run")
    check(capsys, tmp_path / "run", *arguments, says=("is a student, not a teacher",))


def test_no_model_there(capsys, tmp_path) -> None:
    check(capsys, None, "sample", tmp_path / "no", "--out", tmp_path / "x.png", says=("no model at", "no such file"))
    check(capsys, None, "sample", tmp_path, "--out", tmp_path / "x.png", says=("no model in", "config.json"))


def test_resuming_nothing(capsys, tmp_path) -> None:
    check(
        capsys,
        tmp_path / "run",
        *("train", "--resume", "--out", tmp_path / "run"),
        says=("nothing to resume", "recipe.yaml"),
    )
    check(capsys, tmp_path / "run", "distill", "--resume", "--out", tmp_path / "run", says=("nothing to resume",))
    check(capsys, tmp_path / "run", "sweep", "--resume", "--out", tmp_path / "run", says=("nothing to resume", "sweep"))


@pytest.mark.parametrize("command", ["train", "distill", "demo"])
def test_settings_of_a_resumed_run_cannot_be_changed(capsys, tmp_path, command) -> None:
    (tmp_path / "run" / "teacher").mkdir(parents=True)
    (tmp_path / "run" / "teacher.txt").write_text("somewhere\n")
    for folder in (tmp_path / "run", tmp_path / "run" / "teacher"):
        (folder / "recipe.yaml").write_text(dump_recipe(Recipe()))
    words = (command, "--resume", "--data.pairs-seed=7", "--out", tmp_path / "run")
    check(capsys, None, *words, says=("data.pairs_seed = 7 with --resume", "was started with 0"))
    if command != "demo":
        words = (command, "--resume", "--updates", 1, "--out", tmp_path / "run")
        check(capsys, None, *words, says=("updates = 1 with --resume", "Pass more"))
    words = (command, "digits-bridge", "--resume", "--out", tmp_path / "run")
    check(capsys, None, *words, says=("RECIPE = digits-bridge with --resume", "was started with custom"))


def test_settings_of_a_resumed_run_are_those_of_its_own_path(capsys, tmp_path) -> None:
    """No recipe is named again: options are those of the run's path, not of the default recipe's."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "recipe.yaml").write_text(dump_recipe(load_recipe("digits-bridge")))
    words = ("train", "--resume", "--out", tmp_path / "run")
    other = (*words, "--path.settings.noise=0.25")
    check(capsys, None, *other, says=("'noise': 0.25} with --resume", "was started with {'noise': 0.5}"))
    unknown = (*words, "--path.settings.gamma=1")
    check(capsys, None, *unknown, says=("path 'brownian_bridge' has no such setting", "Allowed: --path.settings.noise"))
    again = ("train", f"--out={tmp_path / 'run'}", "--resume", "--path.settings.noise", "0.5", "--dry-run")
    assert main([str(word) for word in again]) == 0
    assert "name: brownian_bridge" in capsys.readouterr().out
    with pytest.raises(SystemExit) as end:
        main(["train", "--resume", "--help", "--out", str(tmp_path / "none")])
    assert end.value.code in (None, 0) and "--path.name" in capsys.readouterr().out


def test_options_of_a_resumed_student_are_checked_with_its_own_settings(capsys, tmp_path) -> None:
    """Here a constant that the default recipe's objective does not have."""
    (tmp_path / "run").mkdir()
    recipe = parse_recipe("base: demo\ndistill: {objective: general, gamma: 0.9}", "here")
    (tmp_path / "run" / "recipe.yaml").write_text(dump_recipe(recipe))
    check(capsys, None, "distill", "demo", "--gamma", 0.8, says=("gamma = 0.8", "objective"))
    words = ("distill", "--resume", "--out", tmp_path / "run", "--gamma", 0.8)
    check(capsys, None, *words, says=("distill.gamma = 0.8 with --resume", "was started with 0.9"))


def test_a_run_is_not_overwritten(capsys, tmp_path) -> None:
    (tmp_path / "run" / "checkpoints" / "0000000").mkdir(parents=True)
    (tmp_path / "run" / "checkpoints" / "0000000" / "meta.json").touch()
    check(capsys, None, "train", "--out", tmp_path / "run", says=("already holds a run", "--resume"))


@pytest.mark.parametrize("command", ["train", "demo"])
def test_a_run_does_not_go_where_a_file_is(capsys, tmp_path, command) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    check(capsys, None, command, "--out", tmp_path / "notes.txt", says=("notes.txt' is a file", "needs a folder"))
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_bad_numbers(capsys, tmp_path, model) -> None:
    check(
        capsys,
        None,
        "sample",
        model,
        "--count",
        "0",
        says=("count = 0: allowed are whole numbers from 1",),
    )
    check(capsys, None, "sample", model, "--steps", "0", says=("steps = 0",))
    check(capsys, None, "sample", model, "--seed", "-1", says=("seed = -1: allowed are whole numbers from 0",))
    check(capsys, None, "sample", model, "--seed", str(2**64), says=(f"seed = {2**64}",))
    for command, *rest in (("sample",), ("evaluate",), ("check-teacher",), ("restore", "images", "out")):
        words = (command, model, *rest, "--device", "banana")
        check(capsys, None, *words, says=("unknown device 'banana'", "auto, cpu, cuda"))
    check(capsys, None, "sample", model, "--sampler", "eulr", says=("Did you mean 'euler'?",))
    check(capsys, None, "sample", model, "--classes", "3", says=("not conditional",))


@pytest.mark.parametrize("data", [None, {"sauce": "digits"}, ["digits"]])
def test_a_model_that_does_not_say_its_data_is_not_measured_on_digits(capsys, tmp_path, data) -> None:
    model = save_pretrained(small_teacher(), tmp_path / "silent", **({} if data is None else {"data": data}))
    check(capsys, None, "evaluate", model, says=("does not record its training data", "--data.source"))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--learning-rate", "1"), ("--learning-rate", "--help lists the options")),
        (("--lr", "high"), ("--lr", "'high'")),
        (("--lr",), ("--lr",)),
        (("--network.head-channels", "0"), ("network.head_channels = 0: must be at least 1",)),
        (("--path.name", "lineal"), ("unknown path 'lineal'", "Did you mean 'linear'?")),
        (("--device", "gpu"), ("GPUs are called 'cuda'",)),
    ],
)
def test_options_that_do_not_exist_or_fit(capsys, tmp_path, options, says) -> None:
    out = tmp_path / "run"
    check(capsys, out, "train", "demo", "--out", out, *options, says=says)


@pytest.mark.parametrize(("command", "resumable"), [("train", True), ("info", False)])
def test_an_interruption_promises_no_more_than_there_is(capsys, monkeypatch, command, resumable) -> None:
    def interrupt(arguments) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(f"realuid.cli.{command}.run", interrupt)
    assert main([command]) == 130
    assert ("--resume" in capsys.readouterr().err) == resumable


def test_what_nobody_foresaw_is_one_line_and_a_file(capsys, tmp_path, monkeypatch) -> None:
    def fail(arguments) -> None:
        raise KeyError("nobody\nforesaw this")

    monkeypatch.setattr("realuid.cli.info.run", fail)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert main(["info"]) == 1
    said = capsys.readouterr().err
    (log,) = tmp_path.iterdir()
    assert said == f"realuid: unexpected error: KeyError: 'nobody\\nforesaw this' (traceback: {log})\n"
    assert "in fail" in log.read_text()
    monkeypatch.setenv("REALUID_DEBUG", "1")
    main(["info"])
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_damaged_weights(capsys, tmp_path, model) -> None:
    content = (model / "model.safetensors").read_bytes()
    (model / "model.safetensors").write_bytes(content[:50])
    check(capsys, tmp_path / "x.png", "sample", model, "--out", tmp_path / "x.png", says=("cannot be read",))


def test_settings_of_dataclasses_are_checked_on_the_command_line(capsys, tmp_path) -> None:
    check(capsys, tmp_path / "r", "train", "--lr", "-1", "--out", tmp_path / "r", says=("lr = -1.0", "above 0"))
    check(capsys, tmp_path / "r", "train", "--updates", "0", "--out", tmp_path / "r", says=("updates = 0",))
    if not torch.cuda.is_available():
        check(capsys, tmp_path / "r", "train", "--device", "cuda", "--out", tmp_path / "r", says=("no CUDA device",))


def test_families_of_the_demo(capsys) -> None:
    check(capsys, None, "demo", "--family", "briDge", says=("unknown family 'briDge'", "Did you mean 'bridge'?"))
    check(capsys, None, "demo", "demo", "--family=vp", says=("--family vp and recipe 'demo'", "pass one of them"))
