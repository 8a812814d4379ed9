"""Every command does its job, in small."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from conftest import small_teacher
from PIL import Image

from realuid.cli.main import COMMANDS, main
from realuid.data import load_dataset
from realuid.data.writers import write_samples
from realuid.metrics import features, train_classifier
from realuid.models import Generator, from_pretrained, save_pretrained
from realuid.models.saving.folder import read_config
from realuid.recipes import load_recipe, parse_recipe
from realuid.sampling import generate

RECIPE = """
name: tiny
data: {source: digits}
network: {channels: [8, 16], blocks: 1, attention_at: []}
teacher: {updates: 6, batch: 16, log_every: 2, save_every: 3, device: cpu}
distill: {updates: 4, batch: 16, fake_updates: 1, log_every: 2, device: cpu}
students:
  data-free: {alpha: 1.0, beta: 1.0}
  real-data: {alpha: 0.9, beta: 0.92, evaluate_every: 2, quick_samples: 40}
evaluate: {samples: 40, seeds: 2, steps: 3}
"""


@pytest.fixture(autouse=True)
def quick_classifier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A classifier that has hardly learned, in a cache of its own: here figures are moved about, not judged."""
    monkeypatch.setenv("REALUID_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(features, "train_classifier", lambda data, seed: train_classifier(data, seed, updates=5))


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(RECIPE)
    return path


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return save_pretrained(small_teacher(), tmp_path / "model", data="digits")


def realuid(*arguments: object) -> None:
    assert main([str(a) for a in arguments]) == 0


@pytest.mark.slow
def test_demo_makes_models_figures_and_a_report(capsys, tmp_path: Path, recipe: Path) -> None:
    out = tmp_path / "demo"
    realuid("demo", recipe, "--out", out)
    said = capsys.readouterr().out
    results = json.loads((out / "results.json").read_text())
    assert "report.html" in said and "results.json" in said
    assert [s["name"] for s in results["students"]] == ["data-free", "real-data"]
    assert [s["alpha"] for s in results["students"]] == [1.0, 0.9]
    assert (results["teacher"]["calls"], [s["calls"] for s in results["students"]]) == (3, [1, 1])
    for entry in (results["teacher"], *results["students"]):
        assert len(entry["fd"]) == 2 and entry["fd_mean"] == pytest.approx(sum(entry["fd"]) / 2)
        assert entry["images_per_second"] > 0 and entry["train_seconds"] > 0 and entry["samples"] == 40
        assert f"{entry['fd_mean']:.3f}" in said
    assert isinstance(from_pretrained(out / "data-free" / "model"), Generator)
    assert (out / "real-data" / "best" / "config.json").is_file() and (out / "report.html").is_file()


@pytest.mark.slow
def test_a_demo_goes_on_where_it_stopped(tmp_path: Path, recipe: Path) -> None:
    out = tmp_path / "demo"
    realuid("demo", recipe, "--out", out)
    first = json.loads((out / "results.json").read_text())
    made = {name: (out / name / "model" / "config.json").stat().st_mtime_ns for name in ("teacher", "data-free")}
    shutil.rmtree(out / "real-data" / "model")
    realuid("demo", "--resume", "--out", out)
    again = json.loads((out / "results.json").read_text())
    assert {name: (out / name / "model" / "config.json").stat().st_mtime_ns for name in made} == made
    assert [s["fd"] for s in again["students"]] == [s["fd"] for s in first["students"]]
    assert again["students"][0]["train_seconds"] == first["students"][0]["train_seconds"]
    assert main(["demo", str(recipe), "--out", str(out)]) == 2  # and only --overwrite makes everything anew
    realuid("demo", recipe, "--evaluate.samples", 41, "--overwrite", "--out", out)
    assert all((out / name / "model" / "config.json").stat().st_mtime_ns > made[name] for name in made)


def test_what_was_evaluated_is_kept_where_a_later_model_fails(tmp_path: Path, model: Path, capsys) -> None:
    broken = small_teacher()
    for parameter in broken.parameters():
        parameter.data.fill_(float("nan"))
    other, out = save_pretrained(broken, tmp_path / "broken", data="digits"), tmp_path / "figures.json"
    words = ["evaluate", model, other, "--samples", 40, "--seeds", 1, "--steps", 2, "--out", out]
    assert main([str(word) for word in words]) != 0
    said = capsys.readouterr()
    assert [figures["model"] for figures in json.loads(out.read_text())] == [str(model)]
    assert "40 samples, 1 seed, against digits" in said.out and "NaN" in said.err


def test_a_run_is_evaluated_as_its_recipe_says(tmp_path: Path, recipe: Path, model: Path) -> None:
    run, out = tmp_path / "run", tmp_path / "figures.json"
    shutil.copytree(model, run / "model")
    shutil.copy(recipe, run / "recipe.yaml")
    for words in ((run, "--seeds", 1), ("--seeds", 1, run), (run / "model", "--seeds", 1)):
        realuid("evaluate", *words, "--out", out)
        found = json.loads(out.read_text())["settings"]
        assert (found["samples"], found["seeds"], found["steps"]) == (40, 1, 3)


def test_train_writes_a_run_with_its_resolved_recipe(tmp_path: Path, recipe: Path) -> None:
    out = tmp_path / "run"
    changes = ("--lr", "1e-3", "--network.channels", "8", "8", "--path.name", "trigonometric")
    realuid("train", recipe, *changes, "--out", out)
    used = load_recipe(str(out / "recipe.yaml"))
    assert (used.teacher.lr, used.network.channels, used.path.name) == (1e-3, (8, 8), "trigonometric")
    assert used.teacher.updates == 6
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [line["update"] for line in lines] == [2, 4, 6] and [line["images"] for line in lines] == [32, 64, 96]
    assert from_pretrained(out / "model").path.name == "trigonometric"
    assert sorted(p.name for p in (out / "checkpoints").iterdir()) == ["0000003", "0000006"]


def test_train_resumes_with_the_settings_it_was_started_with(tmp_path: Path, recipe: Path) -> None:
    out = tmp_path / "run"
    realuid("train", recipe, "--lr", "1e-3", "--out", out)
    whole = from_pretrained(out / "model").state_dict()
    for gone in (out / "checkpoints" / "0000006", out / "model"):
        for file in gone.iterdir():
            file.unlink()
        gone.rmdir()
    realuid("train", "--resume", "--out", out)
    again = from_pretrained(out / "model").state_dict()
    assert all(torch.equal(again[k], whole[k]) for k in whole)


def test_distill_makes_a_generator_and_resumes_with_its_teacher(tmp_path: Path, recipe: Path, model: Path) -> None:
    out = tmp_path / "student"
    realuid("distill", recipe, "--teacher", model, "--alpha", "0.9", "--beta", "0.92", "--trust-teacher", "--out", out)
    config = json.loads((out / "model" / "config.json").read_text())
    assert (config["kind"], config["distillation"]["alpha"], config["teacher"]) == ("generator", 0.9, str(model))
    before, start = from_pretrained(out / "model").state_dict(), from_pretrained(model).state_dict()
    assert not all(torch.equal(before[f"model.{k}"], start[k]) for k in start)
    realuid("distill", "--resume", "--shard", "True", "--micro-batch", "2", "--out", out)  # nothing is left to do
    after = from_pretrained(out / "model").state_dict()
    assert all(torch.equal(before[k], after[k]) for k in before)
    for more in (["--updates", str(config["distillation"]["updates"] + 2)], []):  # longer, and it stays so
        realuid("distill", "--resume", "--out", out, *more)
        about = read_config(out / "model")
        assert about["trained"]["update"] == about["distillation"]["updates"] == config["distillation"]["updates"] + 2


def test_a_run_resumes_from_another_folder_as_what_it_was(tmp_path, recipe, model, monkeypatch) -> None:
    """Fine-tuned, on data in a folder of a relative name, with a teacher that is one of several in a file."""
    asked: list[tuple[str, str | None]] = []

    def load(source, key=None):
        asked.append((str(source), key))
        return from_pretrained(model)

    monkeypatch.setattr("realuid.recipes.spec.load_teacher", load)
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "here")
    write_samples([torch.rand(40, 1, 8, 8) * 2 - 1], Path("images"))
    start = save_pretrained(Generator(small_teacher()), tmp_path / "start")
    words = ("--teacher", "file", "--key", "raw", "--data.source", "images", "--start", start, "--trust-teacher")
    realuid("distill", recipe, *words, "--out", tmp_path / "run")
    about, weights = read_config(tmp_path / "run" / "model"), from_pretrained(tmp_path / "run" / "model").state_dict()
    assert about["start"]["student"] == str(start) and about["teacher_key"] == "raw"
    for gone in ("model", "checkpoints/0000004"):
        shutil.rmtree(tmp_path / "run" / gone)
    monkeypatch.chdir(tmp_path / "there")
    realuid("distill", "--resume", "--updates", 4, "--out", tmp_path / "run")  # said again, not changed
    assert asked == [("file", "raw")] * 2  # no file of the working folder: an id of the hub
    assert read_config(tmp_path / "run" / "model") == about
    assert all(torch.equal(v, weights[k]) for k, v in from_pretrained(tmp_path / "run" / "model").state_dict().items())


def test_a_run_finds_its_teacher_from_another_folder(tmp_path: Path, recipe: Path, model: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    realuid("distill", recipe, "--teacher", model.name, "--trust-teacher", "--out", "student")
    before = (tmp_path / "student" / "model" / "config.json").read_text()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    realuid("distill", "--resume", "--out", "../student")
    assert (tmp_path / "student" / "model" / "config.json").read_text() == before
    assert json.loads(before)["teacher"] == model.name


@pytest.mark.parametrize("command", ["train", "distill", "demo"])
def test_dry_run_prints_the_settings_and_writes_nothing(capsys, tmp_path, recipe, model, command) -> None:
    extra = ["--teacher", model] if command == "distill" else []
    option = "--evaluate.seeds" if command == "demo" else "--updates"
    realuid(command, recipe, *extra, "--out", tmp_path / "run", "--dry-run", option, 6000)
    said = capsys.readouterr().out
    assert not (tmp_path / "run").exists()
    settings, _, estimates = said.partition("parameters: ")
    asked = load_recipe(str(recipe))
    section = {"train": "teacher", "distill": "distill", "demo": "evaluate"}[command]
    change = {"seeds" if command == "demo" else "updates": 6000}
    changed = {section: dataclasses.replace(getattr(asked, section), **change)}
    students = {} if command == "distill" else asked.students
    assert parse_recipe(settings, "said") == dataclasses.replace(asked, **changed, students=students)
    parameters = sum(p.numel() for p in small_teacher().parameters())
    assert estimates.startswith(f"{parameters:,} a network")
    stages = {"train": ["teacher"], "distill": ["student"], "demo": ["teacher", "data-free", "real-data"]}[command]
    assert re.findall(r"^([\w-]+): about .* GiB for", estimates, re.MULTILINE) == stages


def test_samples_as_png_zip_and_folder_are_the_same_images(tmp_path: Path, model: Path) -> None:
    expected = torch.cat(list(generate(from_pretrained(model), 5, steps=3, seed=4)))
    levels = ((expected + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    for out in ("s.zip", "folder"):
        realuid("sample", model, "--count", 5, "--steps", 3, "--seed", 4, "--batch", 2, "--out", tmp_path / out)
        written = load_dataset(str(tmp_path / out)).values
        assert (written.int() - levels.int()).abs().max() <= 1  # another batch size may round the last bit otherwise
    realuid("sample", model, "--count", 5, "--steps", 3, "--seed", 4, "--out", tmp_path / "s.png")
    with Image.open(tmp_path / "s.png") as grid:
        assert grid.size == (3 * (64 + 2) + 2, 2 * (64 + 2) + 2)


def test_sampled_classes_are_those_asked_for(tmp_path: Path) -> None:
    folder = save_pretrained(Generator(small_teacher(num_classes=5)), tmp_path / "g")
    realuid("sample", folder, "--count", 5, "--classes", 3, 1, "--out", tmp_path / "s.zip")
    assert load_dataset(str(tmp_path / "s.zip")).labels.tolist() == [3, 1, 3, 1, 3]


def test_evaluate_prints_and_writes_the_figures(capsys, tmp_path: Path, model: Path) -> None:
    out = tmp_path / "figures.json"
    realuid("evaluate", model, "--samples", 40, "--seeds", 2, "--steps", 3, "--out", out, "--json")
    figures = json.loads(out.read_text())
    assert json.loads(capsys.readouterr().out) == figures
    assert (figures["data"], figures["calls"], figures["samples"], len(figures["fd"])) == ("digits", 3, 40, 2)
    assert figures["fd"][0] != figures["fd"][1] and figures["settings"]["steps"] == 3


@pytest.mark.slow
def test_evaluate_compares_models_in_a_table_exports_among_them(capsys, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    model, student, exported = "model", "student", "student.pt2"
    save_pretrained(small_teacher(), model, data="digits")
    save_pretrained(Generator(small_teacher()), student, data={"source": "digits"})
    realuid("export", student, exported, "--to", "torch")
    capsys.readouterr()
    words = ("evaluate", model, student, exported, "--samples", 40, "--seeds", 1, "--steps", 3, "--sampler", "euler")
    realuid(*words)
    said = capsys.readouterr().out
    rows = [line.split() for line in said.splitlines() if re.match(r"\s*(model|student\S*) +\d", line)]
    assert [row[0] for row in rows] == [model, student, exported]
    assert [row[1] for row in rows] == ["3", "1", "1"] and rows[1][2:6] == rows[2][2:6] != rows[0][2:6]
    realuid(*words, "--json")
    figures = json.loads(capsys.readouterr().out)
    assert [f"{each['fd_mean']:.3f}" for each in figures] == [row[2] for row in rows]


def test_evaluate_needs_a_model(capsys) -> None:
    assert main(["evaluate"]) == 2
    assert "no model was passed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("what", "says"),
    [("", "demo"), ("demo", "name: demo"), ("digits", "digits: 1797 samples of shape (1, 8, 8), 10 classes")],
)
def test_info_says_what_things_are(capsys, what: str, says: str) -> None:
    realuid("info", *([what] if what else []))
    assert says in capsys.readouterr().out


def test_info_describes_a_model(capsys, model: Path) -> None:
    realuid("info", model)
    said = capsys.readouterr().out
    assert f"{sum(p.numel() for p in small_teacher().parameters()):,} parameters" in said.replace("\n", "")
    assert '"kind": "matching_model"' in said and '"name": "linear"' in said


def test_help_lists_every_command(capsys) -> None:
    realuid("--help")
    said = capsys.readouterr().out
    assert all(f"  {name} " in said for name in COMMANDS)
