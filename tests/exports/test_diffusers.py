"""diffusers folders: diffusers alone makes the same images, the card's snippet runs, nothing is half-written."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import diffusers_folders as folders
import pytest
import students
import torch
from diffusers import DDPMScheduler
from huggingface_hub import HfApi

import realuid
from realuid.errors import CheckpointError, ConfigError, ExportError
from realuid.exports import ExportOptions, export_student, load_any
from realuid.exports.diffusers import is_one_step
from realuid.models import Condition, save_pretrained
from realuid.recipes import EvaluateConfig
from realuid.training import DistillConfig

#: Without code of our own: every Gaussian path and prediction of an ordinary U-Net.
PLAIN = {
    "flow": students.unet,
    "flow from noise, classes": lambda: students.unet(classes=3, t_init=1.0),
    "flow, data": lambda: students.unet(prediction="data_prediction"),
    "vp, noise": lambda: students.unet("vp"),
    "vp, v": lambda: students.unet("vp", "v_prediction"),
    "ddpm grid, noise, classes": lambda: students.unet("ddpm", classes=3),
    "ddpm grid, data": lambda: students.unet("ddpm", "data_prediction"),
    "ve, data": lambda: students.unet("ve"),
    "distilled from a ddpm folder": lambda: students.distilled("ddpm"),
    "distilled from an edm folder": lambda: students.distilled("edm"),
    "distilled from a flow folder": lambda: students.distilled("flow"),
    "one channel": lambda: students.unet(shape=(1, 8, 8)),
}
#: With a short pipeline of our own in the folder.
OWN = {"edm, classes": lambda: students.edm(classes=3), "bridge": students.bridge}
OWN |= {"distilled from a dit folder": lambda: students.distilled("dit")}

_CODE = """
import sys, torch
from diffusers import DiffusionPipeline
for name, inputs in torch.load("in.pt").items():
    own = inputs.pop("own")
    pipe = DiffusionPipeline.from_pretrained(name, **({"trust_remote_code": True} if own else {}))
    images = pipe(batch_size=4, output_type="pt", generator=torch.manual_seed(7), **inputs).images
    torch.save(images, f"{name}.pt")
assert "realuid" not in sys.modules
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All kinds exported, with the inputs of four images of each."""
    folder = tmp_path_factory.mktemp("diffusers")
    inputs = {}
    for name, make in (PLAIN | OWN).items():
        generator = make()
        export = export_student(generator, folder / name, "diffusers")
        assert export.difference <= 1e-5
        assert (export.own_code is None) == (name in PLAIN)
        torch.manual_seed(1)
        given = students.condition(generator, 4)
        inputs[name] = {"own": name in OWN}
        inputs[name] |= {} if "label" not in given else {"class_labels": given["label"].tolist()}
        inputs[name] |= {} if "source" not in given else {"source": given["source"]}
    torch.save(inputs, folder / "in.pt")
    return folder


@pytest.fixture(scope="module")
def drawn(folder: Path) -> Path:
    """The same folder, with four images of each by a process that knows diffusers only."""
    modules = {"HF_MODULES_CACHE": str(folder / "modules")}  # where diffusers copies the pipelines' own code
    subprocess.run([sys.executable, "-c", _CODE], cwd=folder, check=True, env=os.environ | modules)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", PLAIN | OWN)
def test_diffusers_alone_makes_the_same_images(drawn, name):
    generator = (PLAIN | OWN)[name]()
    torch.manual_seed(1)
    given = students.condition(generator, 4)
    z = torch.randn(4, *generator.shape, generator=torch.manual_seed(7))
    expected = (students.images(generator, z, given) / 2 + 0.5).clamp(0, 1)
    assert ((expected > 0) & (expected < 1)).float().mean() > 0.25, "clamped away, images would all be equal"
    torch.testing.assert_close(torch.load(drawn / f"{name}.pt"), expected, atol=1e-5, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("name", PLAIN | OWN)
def test_we_read_our_folders_too(folder, name):
    generator = (PLAIN | OWN)[name]()
    z, given = torch.randn(3, *generator.shape), students.condition(generator, 3)
    student = load_any(folder / name)
    assert (student.shape, student.num_classes) == (generator.shape, generator.num_classes)
    torch.testing.assert_close(student(z, given), students.images(generator, z, given), atol=1e-5, rtol=1e-5)


def test_plain_folders_hold_no_code_and_own_ones_say_that_they_do(folder):
    for name in PLAIN:
        assert not list((folder / name).rglob("*.py"))
        assert "trust_remote_code" not in (folder / name / "README.md").read_text()
    card = (folder / "edm, classes" / "README.md").read_text()
    assert "its network is a SongUNet, not a UNet2DModel" in card
    assert "trust_remote_code=True" in card


@pytest.mark.slow
def test_the_card_tells_how_it_was_made_and_its_snippet_runs(tmp_path, monkeypatch, digits):
    run = save_pretrained(
        students.unet(classes=10, shape=(1, 8, 8)),
        tmp_path / "run",
        distillation={"alpha": 0.94, "beta": 0.96},
        teacher="runs/teacher",
        data={"source": "digits"},
    )
    monkeypatch.chdir(tmp_path)
    options = ExportOptions(licence="cc-by-4.0")
    export = export_student(
        run, "card", "diffusers", options, data=digits, evaluate=EvaluateConfig(samples=200, seeds=2)
    )
    card = (tmp_path / "card" / "README.md").read_text()
    assert export.figures is not None
    for part in (
        "license: cc-by-4.0",
        "library_name: diffusers",
        "| teacher | runs/teacher |",
        "| alpha, beta | 0.94, 0.96 |",
        f"| FD | {export.figures['fd_mean']:.4g} +-",
        "over 2 seeds of 200 samples",
        "| measured in | features classifier",
        "## Licence\n\nThe licence of this model is cc-by-4.0.",
    ):
        assert part in card
    (snippet,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    exec(compile(snippet, "card", "exec"), {})
    assert (tmp_path / "sample.png").is_file()


@pytest.mark.parametrize(
    ("settings", "rows"),
    [
        ({"objective": "mixture", "data_weight": None}, ["| objective | mixture |", "| data_weight | 1.0 |"]),
        ({"objective": "data_forcing", "data_weight": 0.25, "alpha": 1.0}, ["| data_weight | 0.25 |"]),
        (
            {"objective": "general", "alpha": 1.0, "beta": 0.94},
            ["| objective | general |", "| alpha, beta | 1.0, 0.94 |"],
        ),
        ({"objective": ["?"]}, ["| alpha, beta | not recorded, not recorded |"]),
    ],
)
def test_a_card_names_the_objective_and_its_coefficients(tmp_path, settings, rows):
    run = save_pretrained(students.unet(), tmp_path / "run", distillation=settings)
    export_student(run, tmp_path / "out", "diffusers")
    card = (tmp_path / "out" / "README.md").read_text()
    assert all(row in card for row in rows)
    assert ("| alpha, beta" in card) == ("data_weight" not in settings)


def test_a_student_in_memory_has_its_card_too(tmp_path, digits):
    """As README has it: loaded, distilled, exported, without a word about where things lie."""
    folder = folders.save_ddpm(tmp_path / "my-ddpm", folders.unet(1), DDPMScheduler())
    config = DistillConfig(updates=1, batch=4, fake_updates=1, device="cpu")
    student = realuid.distill(
        realuid.load_teacher(folder),
        digits,
        beta=0.98,
        alpha=0.96,
        out=tmp_path / "run",
        config=config,
        trust_teacher=True,
    )
    realuid.export(student, tmp_path / "out", to="diffusers")
    card = (tmp_path / "out" / "README.md").read_text()
    for row in (f"| teacher | {folder.name} |", f"| data | {digits.name} |", "| alpha, beta | 0.96, 0.98 |"):
        assert row in card
    assert '"fake_updates": 1' in card and "not recorded" not in card


def test_the_folder_goes_to_the_hub_and_no_token_into_it(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setattr(HfApi, "create_repo", lambda self, *args, **named: calls.append((args, named)))

    def upload(self, *, repo_id, folder_path, commit_message):
        calls.append((repo_id, sorted(p.name for p in Path(folder_path).iterdir())))
        return "https://example.org/commit"

    monkeypatch.setattr(HfApi, "upload_folder", upload)
    export = export_student(students.unet(), tmp_path / "s", "diffusers", push_to_hub="me/mine", private=True)
    assert export.address == "https://example.org/commit"
    files = ["README.md", "checksums.json", "model_index.json", "realuid.json", "scheduler", "unet"]
    assert calls == [(("me/mine",), {"private": True, "exist_ok": True}), ("me/mine", files)]
    assert 'from_pretrained("me/mine")' in (tmp_path / "s" / "README.md").read_text()
    assert not [p for p in tmp_path.rglob("*") if p.is_file() and b"hf_secret" in p.read_bytes()]


def test_a_refused_upload_is_one_line_and_keeps_the_folder(tmp_path, monkeypatch):
    def refuse(self, *args, **named):
        raise RuntimeError("401 Unauthorized:\nlog in first")

    monkeypatch.setattr(HfApi, "create_repo", refuse)
    with pytest.raises(ExportError, match=r"written, but not uploaded to 'me/mine' \(401 Unauthorized: log in first\)"):
        export_student(students.unet(), tmp_path / "s", "diffusers", push_to_hub="me/mine")
    assert (tmp_path / "s" / "model_index.json").is_file()


def test_what_cannot_be_written_leaves_nothing(tmp_path):
    with pytest.raises(ExportError, match=r"pipelines are for images, but the samples have shape \(2,\)"):
        export_student(students.points(), tmp_path / "s", "diffusers")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    with pytest.raises(ConfigError, match="is not empty"):
        export_student(students.unet(), tmp_path / "full", "diffusers")
    with pytest.raises(ConfigError, match="only for diffusers and lora, not for torch"):
        export_student(students.unet(), tmp_path / "s.pt2", "torch", push_to_hub="me/mine")
    assert [p.name for p in tmp_path.rglob("*")] == ["full", "mine.txt"]


def test_damaged_pipelines_and_those_of_many_steps(tmp_path):
    index = tmp_path / "model_index.json"
    for text in ('{"_class_name": "DDPMPipeline"}', "[1", "[1]"):
        index.write_text(text)
        assert not is_one_step(tmp_path)
    index.write_text('{"_class_name": "ConsistencyModelPipeline"}')
    assert is_one_step(tmp_path)
    with pytest.raises(CheckpointError, match=r"no file .*unet/config\.json. can be read"):
        load_any(tmp_path)


def test_labels_reach_the_network(folder):
    student = load_any(folder / "flow from noise, classes")
    z = torch.randn(1, 3, 8, 8).expand(3, -1, -1, -1)
    a, b, c = student(z, Condition(label=torch.tensor([0, 1, 2])))
    assert min(float((a - b).abs().max()), float((b - c).abs().max())) > 1e-3


def test_our_folders_know_the_names_of_classes_and_which_one_stands_for_none(tmp_path):
    generator = students.unet(classes=4)
    generator.model.null_class, generator.model.class_names = True, ("cat", "dog", "owl")
    export_student(generator, tmp_path / "out", "diffusers")
    student = load_any(tmp_path / "out")
    assert (student.num_classes, student.class_names) == (3, ("cat", "dog", "owl"))
    about = tmp_path / "out" / "realuid.json"
    about.write_text(about.read_text().replace('"classes": 3', '"classes": 2'))
    with pytest.raises(CheckpointError, match=r"realuid.json is of another network than unet/"):
        load_any(tmp_path / "out")
