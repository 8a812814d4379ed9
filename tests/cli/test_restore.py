"""`realuid restore`: names and sizes of a folder survive, and what is written is what the model says."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from realuid.cli.main import main
from realuid.data import to_float, to_uint8
from realuid.models import (
    Condition,
    Generator,
    MatchingModel,
    Network,
    NetworkConfig,
    build_network,
    save_pretrained,
)
from realuid.paths import BrownianBridge, LinearPath

SIZES = {"a.png": 8, "b.bmp": 4, "deep/c.png": 2}


def network(classes: int = 0) -> Network:
    torch.manual_seed(0)
    return build_network(NetworkConfig(channels=(8, 16), blocks=1, attention_at=()), (1, 8, 8), classes, True)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    (folder / "deep").mkdir(parents=True)
    for i, (name, size) in enumerate(SIZES.items()):
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (size, size), dtype=np.uint8)).save(folder / name)
    return folder


def sources(folder: Path) -> torch.Tensor:
    return torch.stack(
        [
            torch.from_numpy(np.asarray(Image.open(folder / name)).repeat(8 // size, 0).repeat(8 // size, 1))[None]
            for name, size in SIZES.items()
        ]
    )


def said(capsys: pytest.CaptureFixture) -> str:
    return " ".join(capsys.readouterr().err.split())


def test_a_folder_is_restored_under_its_names(images: Path, tmp_path: Path) -> None:
    model = Generator(MatchingModel(network(), BrownianBridge(noise=0.3)), noise=False).eval()
    save_pretrained(model, tmp_path / "model")
    assert main(["restore", str(tmp_path / "model"), str(images), str(tmp_path / "out"), "--batch", "2"]) == 0
    x_T = to_float(sources(images))
    expected = to_uint8(model(torch.zeros_like(x_T), Condition(source=x_T)))
    for name, x in zip(("a.png", "b.png", "deep/c.png"), expected, strict=True):
        got = np.asarray(Image.open(tmp_path / "out" / name)).astype(int)
        assert np.abs(got - x[0].numpy()).max() <= 1
    assert len([p for p in (tmp_path / "out").rglob("*") if p.is_file()]) == 3


def test_a_conditional_teacher_restores_a_zip_in_steps(images: Path, tmp_path: Path, capsys) -> None:
    save_pretrained(MatchingModel(network(classes=3), BrownianBridge(noise=0.3)), tmp_path / "model")
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
        for name in SIZES:
            archive.write(images / name, name)
    arguments = [
        "restore",
        str(tmp_path / "model"),
        str(tmp_path / "in.zip"),
        str(tmp_path / "out.zip"),
        "--steps",
        "2",
    ]
    assert main([*arguments, "--label", "1"]) == 0
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        assert sorted(archive.namelist()) == ["a.png", "b.png", "deep/c.png"]
    assert main(arguments) == 2 and "--label None: the model is conditional, allowed are 0 to 2" in said(capsys)


def test_mistakes(images: Path, tmp_path: Path, capsys) -> None:
    save_pretrained(MatchingModel(network(), BrownianBridge()), tmp_path / "model")
    plain = build_network(NetworkConfig(channels=(8, 16), blocks=1, attention_at=()), (1, 8, 8))
    save_pretrained(MatchingModel(plain, LinearPath()), tmp_path / "flow")

    def files() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    def restore(model: str, source: Path, out: str, *more: str) -> str:
        before, there = files(), (tmp_path / out).exists()
        assert main(["restore", str(tmp_path / model), str(source), str(tmp_path / out), "--steps", "1", *more]) == 2
        assert files() == before and (tmp_path / out).exists() == there  # nothing is half written
        return said(capsys)

    assert "starts from noise, not from images. Use `realuid sample`" in restore("flow", images, "x")
    assert "there is no folder, zip or tar at" in restore("model", tmp_path / "no", "x")
    assert "cannot write" in restore("model", images, "x.png")
    assert "is not empty" in restore("model", images, "in")
    assert "--label 1: the model is not conditional" in restore("model", images, "x", "--label", "1")
    Image.new("L", (5, 5)).save(images / "odd.png")
    assert "source images of 'odd.png' are 5x5" in restore("model", images, "x")
    (images / "odd.png").unlink()
    Image.new("L", (8, 8)).save(images / "a.bmp")
    assert "two images would be written to 'a.png'" in restore("model", images, "x")


def test_originals_are_never_replaced(images: Path, tmp_path: Path, capsys) -> None:
    save_pretrained(MatchingModel(network(), BrownianBridge()), tmp_path / "model")
    model, photos, out = (str(tmp_path / name) for name in ("model", "photos.zip", "out.zip"))
    with zipfile.ZipFile(photos, "w") as archive:
        for name in SIZES:
            archive.write(images / name, name)
    (tmp_path / "link.zip").symlink_to(photos)
    before = Path(photos).read_bytes()
    for other in (photos, str(tmp_path / "link.zip")):
        assert main(["restore", model, photos, other, "--steps", "1"]) == 2
        assert "is what is read, and would be replaced" in said(capsys)
    for _ in range(2):  # the same command again replaces what it wrote
        assert main(["restore", model, photos, out, "--steps", "1"]) == 0
    assert main(["restore", model, out, out, "--steps", "1"]) == 2  # ours, and what is read
    assert "is what is read" in said(capsys)
    assert main(["restore", model, str(images), photos, "--steps", "1"]) == 2
    assert "is there already, without a mark of realuid" in said(capsys)
    assert Path(photos).read_bytes() == before
