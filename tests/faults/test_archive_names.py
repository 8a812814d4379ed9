"""Names of entries in archives never lead out of the folder that is written."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest
import torch
from PIL import Image

from realuid.data.writers import write_named
from realuid.errors import ConfigError
from realuid.files import damage, outside, write_checksums
from realuid.models import MatchingModel, NetworkConfig, build_network, save_pretrained
from realuid.paths import BrownianBridge


def png() -> bytes:
    file = io.BytesIO()
    Image.new("L", (8, 8), 7).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def bridge(tmp_path: Path) -> Path:
    network = build_network(NetworkConfig(channels=(8, 16), blocks=1, attention_at=()), (1, 8, 8), 0, True)
    return save_pretrained(MatchingModel(network, BrownianBridge()), tmp_path / "bridge")


@pytest.mark.parametrize("name", ["{}/victim/precious.jpg", "../victim/precious.jpg", "deep/../../victim/precious.jpg"])
@pytest.mark.parametrize("out", ["out", "out.zip"])
def test_restore_stays_in_its_folder(name: str, out: str, bridge: Path, tmp_path: Path, realuid) -> None:
    prey = tmp_path / "victim" / "precious.png"
    prey.parent.mkdir()
    prey.write_bytes(b"precious")
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr(name.format(tmp_path), png())
        archive.writestr("ok.png", png())
    code, said = realuid("restore", bridge, tmp_path / "evil.zip", tmp_path / out, "--steps", 1)
    assert prey.read_bytes() == b"precious" and list(prey.parent.iterdir()) == [prey]
    if name.startswith("{}"):
        assert code == 2 and "leads outside" in said and not (tmp_path / out).exists()


@pytest.mark.parametrize(
    "name",
    [
        "/a.png", "../a.png", "a/../../b.png", "..", "", ".", "C:/a.png", "C:a.png", "a\\b.png", "..\\a.png", "a\0.png",
        "a\n.png", "\x1b[2J.png", "nul.png", "deep/CON/a.png", "com1", "a./b.png", "a ", "a:stream",
    ],
)  # fmt: skip
def test_names_that_are_refused(name: str, tmp_path: Path) -> None:
    assert outside(name)
    with pytest.raises(ConfigError, match="no image can be written under the name"):
        write_named([torch.zeros(1, 1, 8, 8)], [name], tmp_path / "out")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["a.png", "deep/er/a.png", "./a.png", "ä ö.png", "a..b.png", "[/x].png", "null.png"])
def test_names_that_are_written(name: str, tmp_path: Path) -> None:
    write_named([torch.zeros(1, 1, 8, 8)], [name], tmp_path / "out")
    assert [p for p in (tmp_path / "out").rglob("*") if p.is_file()] == [tmp_path / "out" / name]


def test_names_that_become_one_are_refused(tmp_path: Path) -> None:
    for names in (["a.png", "./a.jpg"], ["a/b.png", "a//b.bmp"]):
        with pytest.raises(ConfigError, match="two images would be written to"):
            write_named([torch.zeros(2, 1, 8, 8)], names, tmp_path / "out")


def test_one_image_where_another_needs_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"would be an image, and a folder of others"):
        write_named([torch.zeros(2, 1, 8, 8)], ["a.png", "a.png/b.png"], tmp_path / "out")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["/etc/hostname", "../secret", "a/../../secret", "a\0b"])
def test_checksums_of_files_elsewhere_are_not_looked_at(name: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("abc")
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "a").write_text("a")
    write_checksums(folder)
    assert damage(folder) is None
    text = (
        (folder / "checksums.json").read_text().replace('"a"', repr(name).replace("'", '"').replace("\\x00", "\\u0000"))
    )
    (folder / "checksums.json").write_text(text)
    assert "is not in the folder" in str(damage(folder))
