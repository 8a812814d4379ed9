"""Students of several calls in other formats: one call or all of them as a graph, and a pipeline that has the times."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import students
import torch

import realuid
from realuid.errors import CheckpointError, ConfigError, ExportError
from realuid.exports import Contract, ExportedStudent, ExportOptions, export_student, load_any
from realuid.exports.schedule import Schedule
from realuid.models import MLP, Condition, MatchingModel, Student
from realuid.paths import PATHS, heads, make_path
from realuid.sampling import generate


def several(one: Student, calls: int, renoise="fresh", noise: bool = True) -> Student:
    """A student of several calls with the weights of one of one call."""
    return Student(one.model, calls=calls, renoise=renoise, noise=noise).eval()


KINDS = {
    "points": lambda: several(students.points(), 3),
    "points, deterministic": lambda: several(students.points(), 3, "deterministic"),
    "flow, classes": lambda: several(students.unet(classes=3), 4),
    "vp": lambda: several(students.unet("vp"), 2),
    "ddpm grid": lambda: several(students.unet("ddpm"), 2, "deterministic"),
    "edm": lambda: several(students.edm(), 4),
    "bridge": lambda: several(students.bridge(), 2),
    "bridge, deterministic": lambda: several(students.bridge(), 2, "deterministic"),
    "bridge without noise": lambda: several(students.bridge(), 2, noise=False),
    "interpolant": lambda: several(students.interpolant(), 2),
}
#: Traced in the fast suite; U-Nets take seconds each, in ONNX, which is made of the same program, tens of them.
FAST, IN_ONNX = ("points", "points, deterministic"), ("points", "flow, classes", "ddpm grid", "bridge")
CASES = [
    pytest.param(kind, to, graph, marks=() if kind in FAST else pytest.mark.slow)
    for kind in KINDS
    for to in ("torch", *(["onnx"] if kind in IN_ONNX else []))
    for graph in ("whole", "call")
]
ENDINGS = {"torch": "pt2", "onnx": "onnx"}


def inputs(student: Student, batch: int) -> tuple[torch.Tensor, Condition, torch.Tensor]:
    """Noise, condition and noise of later calls."""
    torch.manual_seed(5)
    given = students.condition(student, batch)
    return torch.randn(batch, *student.shape), given, torch.randn(batch, student.calls - 1, *student.shape)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "to", "graph"), CASES)
def test_files_make_the_same_images(kind, to, graph, tmp_path) -> None:
    if to == "onnx":
        pytest.importorskip("onnxruntime", reason="needs realuid[onnx]")
    student = KINDS[kind]()
    path = tmp_path / f"s.{ENDINGS[to]}"
    assert export_student(student, path, to, ExportOptions(graph=graph)).difference <= 1e-5
    exported = load_any(path)
    assert isinstance(exported, ExportedStudent) and exported.calls == student.calls
    with torch.no_grad():
        for batch in (1, 70):
            drawn = inputs(student, batch)
            torch.testing.assert_close(exported(*drawn), student(*drawn), atol=1e-5, rtol=0)
        if graph == "call":
            for ours, theirs in zip(student.predictions(*drawn), exported.predictions(*drawn), strict=True):
                torch.testing.assert_close(theirs, ours, atol=1e-5, rtol=0)
            torch.testing.assert_close(exported.first_calls(1)(*drawn), student(*drawn, 0), atol=1e-5, rtol=0)
        else:
            with pytest.raises(ConfigError, match=r"calls = 1: the file makes all .* calls at once.*--graph call"):
                exported.first_calls(1)
    assert torch.equal(
        realuid.sample(path, 3, **as_asked(student, 3)), realuid.sample(exported, 3, **as_asked(student, 3))
    )
    ours = realuid.sample(student, 3, **as_asked(student, 3))
    torch.testing.assert_close(realuid.sample(exported, 3, **as_asked(student, 3)), ours, atol=1e-5, rtol=0)


def as_asked(student: Student, count: int) -> dict[str, Condition]:
    torch.manual_seed(6)
    return {"condition": students.condition(student, count)}


_CODE = """
import sys, numpy, torch
z, eps, labels, schedule = torch.load("in.pt")
whole = torch.export.load("whole.pt2").module()(z, eps, labels)
call = torch.export.load("call.pt2").module()
x, made = schedule["noise"][0] * z, []
for k, time in enumerate(schedule["times"]):
    if k:
        x = schedule["data"][k] * made[-1] + schedule["noise"][k] * eps[:, k - 1]
    made.append(call(x, torch.full((len(z),), time), labels))
import onnxruntime
session = onnxruntime.InferenceSession("whole.onnx")
fed = {"noise": z.numpy(), "renoising": eps.numpy(), "labels": labels.numpy()}
assert sorted(i.name for i in session.get_inputs()) == sorted(fed)
onnx = torch.from_numpy(session.run(["images"], fed)[0])
assert not {"realuid", "diffusers"} & set(sys.modules)
torch.save((whole, made, onnx), "out.pt")
"""


@pytest.mark.slow
def test_torch_and_onnx_runtime_alone_run_them(tmp_path) -> None:
    pytest.importorskip("onnxruntime", reason="needs realuid[onnx]")
    student = KINDS["points"]()
    for name, to, graph in (
        ("whole.pt2", "torch", "whole"),
        ("call.pt2", "torch", "call"),
        ("whole.onnx", "onnx", "whole"),
    ):
        export_student(student, tmp_path / name, to, ExportOptions(graph=graph))
    z, given, eps = inputs(student, 4)
    schedule = Schedule.of(student).to_dict()
    torch.save((z, eps, given["label"], schedule), tmp_path / "in.pt")
    subprocess.run([sys.executable, "-c", _CODE], cwd=tmp_path, check=True)
    whole, made, onnx = torch.load(tmp_path / "out.pt")
    expected = student.predictions(z, given, eps)
    for ours, theirs in ((expected[-1], whole), (expected[-1], onnx), *zip(expected, made, strict=True)):
        torch.testing.assert_close(theirs, ours, atol=1e-5, rtol=0)


_PIPELINE = """
import json, sys, torch
from diffusers import DiffusionPipeline
for name, given in torch.load("in.pt").items():
    pipe = DiffusionPipeline.from_pretrained(name, trust_remote_code=True)
    pipe.set_progress_bar_config(disable=True)
    for steps in (None, *range(1, len(pipe.scheduler.config.times) + 1)):
        asked = {"num_inference_steps": steps, "output_type": "pt", "generator": torch.manual_seed(7)}
        images = pipe(batch_size=3, **asked, **given).images
        torch.save(images, f"{name}-{steps}.pt")
    try:
        pipe(num_inference_steps=9, **given)
    except ValueError as error:
        print(error)
assert "realuid" not in sys.modules
"""
#: Students in the pipeline's test: of two calls, and of four.
PIPELINES = {
    "flow": lambda: several(students.unet(classes=3), 4),
    "bridge": KINDS["bridge, deterministic"],
    "latents": lambda: several(students.distilled("dit"), 2),
}


@pytest.mark.slow
def test_a_pipeline_of_diffusers_has_the_times(tmp_path) -> None:
    given = {}
    for name, make in PIPELINES.items():
        student = make()
        export = export_student(student, tmp_path / name, "diffusers")
        assert export.difference <= 1e-5 and export.own_code == f"it makes {student.calls} calls at times of its own"
        condition = inputs(student, 3)[1]
        given[name] = {"class_labels": condition["label"].tolist()} if "label" in condition else dict(condition)
        if student.codec:
            with pytest.raises(CheckpointError, match=r"student.pt2' makes latents, and its pipeline's folder has"):
                load_any(tmp_path / name / "student" / "student.pt2")
    torch.save(given, tmp_path / "in.pt")
    modules = {"HF_MODULES_CACHE": str(tmp_path / "modules")}
    done = subprocess.run(
        [sys.executable, "-c", _PIPELINE],
        cwd=tmp_path,
        check=True,
        env=os.environ | modules,
        capture_output=True,
        text=True,
    )
    assert "num_inference_steps = 9: this student makes 1 to 4" in done.stdout
    for name, make in PIPELINES.items():
        student, condition = make(), inputs(make(), 3)[1]
        random = torch.manual_seed(7)
        z, *e = (torch.randn(3, *student.shape, generator=random) for _ in range(student.calls))
        made = student.predictions(z, condition, torch.stack(e, dim=1))
        made = [student.codec.decode(x) for x in made] if student.codec else made
        for steps, expected in ((None, made[-1]), *enumerate(made, 1)):
            images = torch.load(tmp_path / f"{name}-{steps}.pt")
            torch.testing.assert_close(images, (expected / 2 + 0.5).clamp(0, 1), atol=1e-5, rtol=0)
        read = load_any(tmp_path / name)
        drawn = inputs(student, 3)
        with torch.no_grad():
            torch.testing.assert_close(read(*drawn), student(*drawn), atol=1e-5, rtol=0)
        ours, theirs = (torch.cat(list(generate(s, 3, batch=2, condition=dict(drawn[1])))) for s in (student, read))
        torch.testing.assert_close(theirs, ours, atol=1e-5, rtol=0)
        assert ours.shape[1:] == student.image_shape


@pytest.mark.slow
def test_the_card_says_how_to_call_it(tmp_path, monkeypatch) -> None:
    student = several(students.unet(), 2)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))
    export_student(student, "card", "diffusers")
    card = Path("card/README.md").read_text()
    times = ", ".join(f"{t:.6g}" for t in student.times)
    for part in (
        "An image generator of 2 network calls (8x8, 3 channel(s))",
        "num_inference_steps=2",
        "`num_inference_steps` is 1 to\n2, by default all",
        f"| path, times of calls | linear, {times} |",
        "| noise of later calls | fresh |",
        "few-step",
    ):
        assert part in card
    (snippet,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    exec(compile(snippet, "card", "exec"), {})
    assert Path("sample.png").is_file()


def test_a_contract_of_several_calls_survives_its_text() -> None:
    student = KINDS["points"]()
    for graph, first in (("whole", ("noise", "renoising")), ("call", ("x_t", "time"))):
        contract = Contract.of(student, False, graph)
        again = Contract.from_json(contract.to_json(), "here")
        assert again.schedule == contract.schedule and again.graph == graph and again.calls == 3
        assert contract.inputs == (*first, "labels")
    assert Contract.of(KINDS["points, deterministic"]()).inputs == ("noise", "labels")
    values = json.loads(contract.to_json())
    for spoilt in (
        {"graph": "half"},
        {"schedule": None},
        {"schedule": values["schedule"] | {"times": [0.5]}},
        {"schedule": values["schedule"] | {"noise": [float("nan")] * 3}},
        {"schedule": values["schedule"] | {"renoise": "stale"}},
    ):
        with pytest.raises(CheckpointError, match="'here' is damaged"):
            Contract.from_json(json.dumps(values | spoilt), "here")


def test_what_cannot_be_exported_is_said(tmp_path) -> None:
    student = KINDS["points"]()
    with pytest.raises(ConfigError, match="uint8 = True with graph = call: later calls need the exact prediction"):
        export_student(student, tmp_path / "s.pt2", "torch", ExportOptions(uint8=True, graph="call"))
    with pytest.raises(ConfigError, match="graph = call: only for onnx and torch, not for diffusers"):
        export_student(student, tmp_path / "s", "diffusers", ExportOptions(graph="call"))
    latents = several(students.distilled("dit"), 2)
    with pytest.raises(ExportError, match=r"one call of a student on latents makes latents, which the .pt2 file could"):
        export_student(latents, tmp_path / "s.pt2", "torch", ExportOptions(graph="call"))
    exported = load_any(export_student(student, tmp_path / "s.pt2", "torch").path)
    with pytest.raises(ConfigError, match="a student of 3 calls needs eps"):
        exported(*inputs(student, 2)[:2])
    assert [p.name for p in tmp_path.iterdir()] == ["s.pt2"]


@pytest.mark.slow
@pytest.mark.parametrize("name", PATHS)
def test_one_call_with_its_time_is_a_program_on_every_path(name: str, tmp_path) -> None:
    torch.manual_seed(0)
    path = make_path(name)
    network = MLP(2, width=16, depth=1, sees_source=path.coupled, heads=heads(path.default_prediction))
    student = several(Student(MatchingModel(network, path)), 3)
    export = export_student(student, tmp_path / "s.pt2", "torch", ExportOptions(graph="call"))
    assert export.difference <= 1e-5 and load_any(export.path).calls == 3
