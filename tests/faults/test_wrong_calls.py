"""Every wrong call of a command or a function is one clear line, exit code 2, and nothing half-written."""

from __future__ import annotations

import os
import shlex
import zipfile
from pathlib import Path

import pytest
from conftest import small_teacher
from PIL import Image
from wrong_commands import cases
from wrong_python_calls import CALLS

from realuid.cli.main import main
from realuid.errors import RealUIDError
from realuid.models import MLP, Generator, MatchingModel, UNet, save_pretrained
from realuid.paths import make_path


def bridge() -> Generator:
    """A one-step generator that starts from images."""
    size = {"sample_size": 8, "in_channels": 2, "out_channels": 1, "block_out_channels": [8, 8], "layers_per_block": 1}
    blocks = {"down_block_types": ["DownBlock2D"] * 2, "up_block_types": ["UpBlock2D"] * 2}
    network = UNet(sees_source=True, **size, **blocks, norm_num_groups=4, add_attention=False)
    return Generator(MatchingModel(network, make_path("brownian_bridge")))


def build(folder: Path) -> None:
    """The files that the calls name."""
    save_pretrained(MatchingModel(MLP(2, width=8, depth=1), make_path("linear")), folder / "points")
    save_pretrained(small_teacher(), folder / "images")
    save_pretrained(Generator(small_teacher()), folder / "gen")
    save_pretrained(Generator(small_teacher(num_classes=3)), folder / "classes")
    save_pretrained(bridge(), folder / "bridge")
    for name, side in (("pictures", 8), ("large", 11)):
        (folder / name).mkdir()
        for i in range(4):
            Image.new("L", (side, side), i).save(folder / name / f"{i}.png")
    (folder / "empty.folder").mkdir()
    for name in ("empty.file", "empty.onnx", "empty.pt2", "empty.safetensors", "empty.yaml"):
        (folder / name).touch()
    for name in ("text.onnx", "text.pt2", "text.safetensors", "text.zip"):
        (folder / name).write_text("hello, this is no model and no archive")
    zipfile.ZipFile(folder / "empty.zip", "w").close()
    for name in ("pipe", "pipe.onnx", "pipe.pt2"):
        os.mkfifo(folder / name)
    (folder / "broken.link").symlink_to("gone")
    (folder / "broken.json").mkdir()
    (folder / "broken.json" / "config.json").write_text('{"format": ')
    (folder / "bad.yaml").write_text("teacher: [1, 2")
    (folder / "latin.yaml").write_bytes("name: caf\xe9\n".encode("latin-1"))


def snapshot(folder: Path) -> dict[str, tuple[int, ...]]:
    """Everything in a folder: size and time of change of files, and which folders there are."""
    found = {}
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(parent) / name
            about = path.lstat()
            found[str(path.relative_to(folder))] = (about.st_size, about.st_mtime_ns) if name in files else ()
    return found


def words(line: str) -> list[str]:
    """A command line in words; \\x00 stands for a NUL."""
    return [word.replace("\\x00", "\0") for word in shlex.split(line)]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("work")
    build(folder)
    return folder


@pytest.fixture(autouse=True)
def there(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workplace)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def test_the_matrix_is_as_large_as_it_should_be() -> None:
    assert len(set(cases())) >= 200


@pytest.mark.parametrize(("line", "says"), cases())
def test_a_wrong_command_line_is_one_line(line, says, workplace, capsys) -> None:
    before = snapshot(workplace)
    assert main(words(line)) == 2
    said = capsys.readouterr()
    (error,) = said.err.strip().splitlines()
    assert error.startswith("realuid: error: ") and says in error
    assert "Traceback" not in said.out
    assert snapshot(workplace) == before


@pytest.mark.parametrize("name", CALLS)
def test_a_wrong_call_is_an_error_of_the_library(name, workplace) -> None:
    call, says = CALLS[name]
    before = snapshot(workplace)
    with pytest.raises(RealUIDError) as error:
        call()
    told = str(error.value)
    assert says in told and "\n" not in told
    assert snapshot(workplace) == before
