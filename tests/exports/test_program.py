"""torch.export programs: any batch, every kind of generator, and torch alone reads them."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys

import pytest
import students
import torch

from realuid.errors import CheckpointError, ConfigError, ExportError
from realuid.exports.contract import Contract
from realuid.exports.procedure import Procedure
from realuid.exports.program import ProgramStudent, write_program
from realuid.models import Condition, Generator, MatchingModel, UNet
from realuid.models.networks.specs import label_spec, source_spec
from realuid.paths import LinearPath

KINDS = {
    "flow": students.unet,
    "classes": lambda: students.unet(classes=3),
    "grey": lambda: students.unet("vp", shape=(1, 8, 8)),
    "oblong": lambda: students.unet(shape=(3, 8, 12)),
    "edm": students.edm,
    "edm, classes": lambda: students.edm(classes=4),
    "ncsn++": students.ncsnpp,
    "adm": students.adm,
    "points": students.points,
    "bridge": students.bridge,
    "interpolant": students.interpolant,
    "latents": lambda: students.distilled("dit"),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_program_makes_the_same_images(kind, tmp_path):
    """For one image, a few, and more than the 63 that diffusers' U-Nets would be traced for."""
    generator = KINDS[kind]()
    write_program(generator, tmp_path / "s.pt2", Contract.of(generator))
    student = ProgramStudent(tmp_path / "s.pt2")
    assert (student.shape, student.num_classes) == (generator.shape, generator.num_classes)
    for batch in (1, 5, 70):
        z, given = torch.randn(batch, *generator.shape), students.condition(generator, batch)
        torch.testing.assert_close(student(z, given), students.images(generator, z, given), atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", ["ncsn++", "points", "adm", "bridge"])
def test_half_precision_keeps_times_and_frequencies_whole(kind):
    generator = KINDS[kind]()
    contract = Contract.of(generator)
    inputs = contract.example(8)
    given = dict(zip(contract.inputs, inputs, strict=True))
    exact = students.images(generator, given["noise"], Condition(label=given.get("labels"), source=given.get("x_T")))
    with torch.no_grad():
        images = Procedure(generator, contract, half=True)(*inputs)
    assert images.dtype == torch.float32
    assert 1e-6 < float((images - exact).pow(2).mean().sqrt() / exact.std()) < 5e-3


@pytest.mark.slow
def test_torch_alone_runs_it(tmp_path):
    generator = students.unet(classes=3)
    write_program(generator, tmp_path / "s.pt2", Contract.of(generator, True))
    z, labels = torch.randn(2, 3, 8, 8), torch.tensor([2, 0])
    torch.save((z, labels), tmp_path / "in.pt")
    code = """
import sys, torch
images = torch.export.load("s.pt2").module()(*torch.load("in.pt"))
assert not {"realuid", "diffusers"} & set(sys.modules)
torch.save(images, "out.pt")
"""
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    images = torch.load(tmp_path / "out.pt")
    assert images.dtype == torch.uint8
    exact = students.images(generator, z, Condition(label=labels)).clamp(-1, 1)
    assert float(((images.float() / 127.5 - 1) - exact).abs().max()) <= 1 / 255 + 1e-5


@pytest.mark.slow
def test_what_is_missing_is_named(tmp_path):
    generator = students.unet(classes=3)
    write_program(generator, tmp_path / "s.pt2", Contract.of(generator))
    with pytest.raises(ConfigError, match="takes noise, labels: pass labels"):
        ProgramStudent(tmp_path / "s.pt2")(torch.randn(1, 3, 8, 8))


def test_a_network_that_can_only_be_traced_for_small_batches_is_refused(tmp_path):
    settings = students.unet().model.network.settings
    network = UNet(**{**settings, "upsample_type": "resnet"})
    generator = Generator(MatchingModel(network, LinearPath())).eval()
    with pytest.raises(ExportError, match="batches below 64"):
        write_program(generator, tmp_path / "s.pt2", Contract.of(generator))


def test_damaged_and_foreign_programs_are_refused(tmp_path):
    (tmp_path / "a.pt2").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="cannot be read as a torch"):
        ProgramStudent(tmp_path / "a.pt2")
    program = torch.export.export(torch.nn.Linear(2, 2), (torch.randn(1, 2),))
    torch.export.save(program, tmp_path / "b.pt2")
    with pytest.raises(CheckpointError, match=r"refused .*b\.pt2.*which no program of `realuid export` does"):
        ProgramStudent(tmp_path / "b.pt2")


def test_a_contract_survives_its_text():
    contract = Contract(
        (3, 8, 8), (3, 16, 16), (label_spec(10), source_spec((3, 8, 8))), uint8=True, about={"alpha": 0.9}
    )
    assert Contract.from_json(contract.to_json(), "here") == contract
    assert contract.inputs == ("noise", "labels", "x_T")
    assert dataclasses.replace(contract, conditions=contract.conditions[1:]).inputs == ("noise", "x_T")
    old = {"shape": [3, 8, 8], "image_shape": [3, 16, 16], "num_classes": 10, "coupled": True, "uint8": True}
    assert Contract.from_json(json.dumps({**old, "about": {"alpha": 0.9}}), "here") == contract
    for text in ("{", "[]", "{}", '{"shape": 3}', '{"shape": [3], "other": 1}'):
        with pytest.raises(CheckpointError, match="'here' is damaged"):
            Contract.from_json(text, "here")
