"""Distilled checkpoints in the RealUID authors' layout: torchcfm's own network makes our images from them."""

from __future__ import annotations

import pytest
import students
import torch
from loaders.conftest import torchcfm_unet  # noqa: F401

from realuid.errors import CheckpointError, ConfigError, ExportError
from realuid.exports import ExportOptions, export_student, load_any
from realuid.exports.contract import ABOUT
from realuid.models import Generator

WIDTHS = (32, 64)


def student(**settings) -> Generator:
    """A flow student of our own training: it reads 1000 t where torchcfm's networks read 1 - t."""
    return students.unet(shape=(3, 16, 16), channels=WIDTHS, t_init=1.0, **settings)


@pytest.mark.parametrize("classes", [0, 10])
def test_torchcfms_network_makes_our_images(classes, tmp_path, torchcfm_unet):  # noqa: F811
    """As their scripts do: z + net(0, z) with the weights under ema_gens."""
    generator = student(classes=classes)
    export = export_student(generator, tmp_path / "s.pt", "authors", ExportOptions(ema_key="0.9996"))
    assert export.difference <= 1e-5
    net = torchcfm_unet(
        (3, 16, 16),
        32,
        1,
        channel_mult=(1, 2),
        attention_resolutions="8",
        num_head_channels=8,
        class_cond=bool(classes),
        num_classes=classes or None,
    )
    checkpoint = torch.load(tmp_path / "s.pt", weights_only=True)
    net.load_state_dict(checkpoint["ema_gens"]["0.9996"])
    z = torch.randn(4, 3, 16, 16)
    given = students.condition(generator, 4)
    with torch.no_grad():
        theirs = z + net(torch.zeros(4), z, *([given["label"]] if classes else []))
    torch.testing.assert_close(theirs, students.images(generator, z, given), atol=1e-5, rtol=0)


def test_the_published_checkpoint_goes_round_bit_by_bit(shared, tmp_path):
    original = shared / "reference" / "realuid_uncond_distilled.pt"
    export = export_student(original, tmp_path / "s.pt", "authors")
    assert export.difference == 0
    before = torch.load(original, weights_only=True)["ema_gens"]["0.999"]
    after = torch.load(tmp_path / "s.pt", weights_only=True)["ema_gens"]["0.999"]
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_generator_that_keeps_less_of_its_noise_is_refused(tmp_path):
    with pytest.raises(ExportError, match=r"0.7143 z passes the network \(t_init = 0.7143 on path 'linear'"):
        export_student(students.unet(channels=WIDTHS), tmp_path / "s.pt", "authors")
    assert list(tmp_path.iterdir()) == []


def test_networks_that_are_not_torchcfms_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match="norm_num_groups = 8: an ADM U-Net has 32"):
        export_student(students.unet(t_init=1.0), tmp_path / "s.pt", "authors")
    with pytest.raises(ExportError, match="passes the network"):
        export_student(students.edm(), tmp_path / "s.pt", "authors")
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_note_is_named(tmp_path):
    export_student(student(), tmp_path / "s.pt", "authors")
    checkpoint = torch.load(tmp_path / "s.pt", weights_only=True)
    torch.save({**checkpoint, ABOUT: '{"shape": [3, 16, 16], "image_shape": [3, 16, 16]}'}, tmp_path / "s.pt")
    with pytest.raises(CheckpointError, match="is damaged"):
        load_any(tmp_path / "s.pt")


def test_a_training_checkpoint_is_never_replaced(tmp_path):
    """It holds what an export does not: the optimiser and the fake network."""
    (tmp_path / "other").mkdir()
    export_student(student(), tmp_path / "other" / "s.pt", "authors")
    content = torch.load(tmp_path / "other" / "s.pt", weights_only=True)
    del content[ABOUT]
    torch.save(content | {"optimizer": {"step": 400_000}}, tmp_path / "ckpt.pt")
    before = (tmp_path / "ckpt.pt").read_bytes()
    for generator, says in (
        (tmp_path / "ckpt.pt", "is what is read"),
        (student(), "is there already, and is no export"),
    ):
        with pytest.raises(ConfigError, match=says):
            export_student(generator, tmp_path / "ckpt.pt", "authors")
        assert (tmp_path / "ckpt.pt").read_bytes() == before
    with pytest.raises(ConfigError, match="is what is read"):  # an export, too
        export_student(tmp_path / "other" / "s.pt", tmp_path / "other" / "s.pt", "authors")
    export_student(student(), tmp_path / "other" / "s.pt", "authors")


@pytest.mark.parametrize(
    ("to", "ending"),
    [
        pytest.param("onnx", ".onnx", marks=pytest.mark.slow),
        ("torch", ".pt2"),
        ("safetensors", ".safetensors"),
    ],
)
def test_files_of_others_are_never_replaced_and_exports_are(to, ending, tmp_path):
    if to == "onnx":
        pytest.importorskip("onnxruntime")
    out = tmp_path / f"s{ending}"
    out.write_bytes(b"weights of somebody else")
    with pytest.raises(ConfigError, match="is there already, and is no export of realuid"):
        export_student(students.unet(channels=(8,)), out, to)
    assert out.read_bytes() == b"weights of somebody else"
    out.unlink()
    for _ in range(2):
        export_student(students.unet(channels=(8,)), out, to)
