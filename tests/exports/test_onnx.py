"""ONNX files: any batch, every kind of generator, within 1e-4 of PyTorch, and in reduced precision."""

from __future__ import annotations

import dataclasses
import sys

import numpy as np
import pytest
import students
import torch

from realuid.errors import CheckpointError, ConfigError, ExportError
from realuid.exports import FORMATS, ExportOptions, export_student, load_any
from realuid.exports.onnx import OnnxStudent, write_onnx
from realuid.recipes import EvaluateConfig

ort = pytest.importorskip("onnxruntime", reason="needs realuid[onnx]")
pytest.importorskip("onnxscript", reason="needs realuid[onnx]")

#: One of each way of reading inputs; every kind of network is traced in test_program.py, from which these are made.
KINDS = {"edm, classes": lambda: students.edm(classes=4), "points": students.points, "bridge": students.bridge}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_onnx_makes_the_same_images(kind, tmp_path):
    generator = KINDS[kind]()
    export = export_student(generator, tmp_path / "s.onnx", "onnx")
    assert export.difference <= 1e-4
    assert b"site-packages" not in (tmp_path / "s.onnx").read_bytes(), "it tells where it was made"
    student = load_any(tmp_path / "s.onnx")
    assert isinstance(student, OnnxStudent)
    for batch in (1, 70):
        z, given = torch.randn(batch, *generator.shape), students.condition(generator, batch)
        torch.testing.assert_close(student(z, given), students.images(generator, z, given), atol=1e-4, rtol=0)
    with pytest.raises(ConfigError, match="ONNX files are run on the CPU here"):
        student.to("cuda")


@pytest.mark.slow
def test_onnx_runtime_alone_runs_it(tmp_path):
    """The names and types that the contract promises."""
    generator = students.unet(classes=3)
    export_student(generator, tmp_path / "s.onnx", "onnx", ExportOptions(uint8=True))
    session = ort.InferenceSession(tmp_path / "s.onnx")
    assert [(i.name, i.type) for i in session.get_inputs()] == [("noise", "tensor(float)"), ("labels", "tensor(int64)")]
    noise, labels = torch.randn(4, 3, 8, 8), torch.tensor([0, 1, 2, 0])
    (images,) = session.run(["images"], {"noise": noise.numpy(), "labels": labels.numpy()})
    assert images.dtype == np.uint8 and images.shape == (4, 3, 8, 8)
    exact = students.images(generator, noise, students.Condition(label=labels)).clamp(-1, 1).numpy()
    assert np.abs(images / 127.5 - 1 - exact).max() <= 1 / 255 + 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_reduced_precision_is_close_and_measured(precision, tmp_path, digits):
    generator = students.unet(shape=(1, 8, 8), channels=(16, 16))
    export = export_student(
        generator,
        tmp_path / "s.onnx",
        "onnx",
        ExportOptions(precision=precision),
        data=digits,
        evaluate=EvaluateConfig(samples=200, seeds=1),
    )
    z = torch.randn(16, 1, 8, 8)
    images, exact = load_any(tmp_path / "s.onnx")(z), students.images(generator, z, students.Condition())
    error = float((images - exact).pow(2).mean().sqrt() / exact.std())
    assert 1e-6 < error < (0.01 if precision == "fp16" else 0.1)
    assert export.figures is not None and export.figures_exported is not None
    assert export.figures_exported["fd_mean"] == pytest.approx(export.figures["fd_mean"], rel=0.2)
    assert export.figures_exported["fd_mean"] != export.figures["fd_mean"]


def test_a_file_that_computes_something_else_is_not_written(tmp_path, monkeypatch):
    """The check runs the finished file: a wrong weight in it stops the export, with the figure."""

    def spoilt(generator, out, contract, options):
        wrong = students.points()
        wrong.model.network.outlet.bias.data += 0.014
        write_onnx(wrong, out, contract)

    monkeypatch.setitem(FORMATS, "onnx", dataclasses.replace(FORMATS["onnx"], write=spoilt))
    with pytest.raises(ExportError, match=r"off by 0\.01, allowed is 0\.0001: nothing was written"):
        export_student(students.points(), tmp_path / "s.onnx", "onnx")
    assert list(tmp_path.iterdir()) == []


def test_damaged_and_foreign_files_are_refused(tmp_path):
    import onnx
    from onnx import TensorProto, helper

    (tmp_path / "a.onnx").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="cannot be read as an ONNX model"):
        load_any(tmp_path / "a.onnx")
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Abs", ["x"], ["y"])], "g", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, tmp_path / "b.onnx")
    with pytest.raises(CheckpointError, match="was not written by `realuid export`"):
        load_any(tmp_path / "b.onnx")


def test_the_missing_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ConfigError, match=r"ONNX needs onnxscript. Install it with: pip install 'realuid\[onnx\]'"):
        export_student(students.points(), tmp_path / "s.onnx", "onnx")
    assert list(tmp_path.iterdir()) == []
