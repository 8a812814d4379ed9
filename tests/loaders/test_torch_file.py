"""torch's files: whole and harmless, or an error."""

from __future__ import annotations

import os
import random
import zipfile

import pytest
import torch

from realuid.errors import CheckpointError
from realuid.models.saving.torch_file import read_torch_file

CONTENT = {"net": {"weight": torch.arange(6.0).view(2, 3), "bias": torch.ones(2)}, "step": 3}


@pytest.fixture
def path(tmp_path):
    torch.save(CONTENT, tmp_path / "file.pt")
    return tmp_path / "file.pt"


def test_reads_what_torch_wrote(path):
    content = read_torch_file(path)
    assert content["step"] == 3 and content["net"]["weight"].tolist() == [[0, 1, 2], [3, 4, 5]]


def test_reads_files_without_checksums_and_of_the_format_before_archives(path):
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(CONTENT, path)
    finally:
        torch.serialization.set_crc32_options(True)
    assert read_torch_file(path)["step"] == 3
    torch.save(CONTENT, path, _use_new_zipfile_serialization=False)
    assert read_torch_file(path)["step"] == 3


class Malicious:
    def __reduce__(self):
        return os.system, ("touch hacked",)


def test_code_is_named_and_does_not_run(path, monkeypatch):
    monkeypatch.chdir(path.parent)
    torch.save({"step": Malicious()}, path)
    with pytest.raises(CheckpointError, match=r"it asks for .*system, which may run code"):
        read_torch_file(path)
    assert not (path.parent / "hacked").exists()


def test_missing_cut_and_other_files(path):
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        read_torch_file(path.with_name("other.pt"))
    whole = path.read_bytes()
    for content in (b"", b"hello", whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match="cannot be read as a torch file"):
            read_torch_file(path)
    torch.save([1, 2], path)
    with pytest.raises(CheckpointError, match="holds a list, not a dictionary"):
        read_torch_file(path)


def test_a_flipped_bit_of_a_weight_is_noticed(path):
    content = bytearray(path.read_bytes())
    content[content.index(torch.tensor(5.0).numpy().tobytes())] ^= 1
    path.write_bytes(content)
    assert torch.load(path)["net"]["weight"][1, 2] != 5, "torch checks it itself now: our own check can go"
    with pytest.raises(CheckpointError, match=r"is damaged: 'file/data/\d' in it does not match its checksum"):
        read_torch_file(path)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_mutated_pickles_with_right_checksums_are_read_or_refused(path):
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    draw, refused = random.Random(0), 0
    for _ in range(1000):
        mutated = bytearray(entries["file/data.pkl"])
        for _ in range(draw.choice([1, 1, 2, 4])):
            at = draw.randrange(len(mutated))
            mutated[at : at + draw.choice([0, 1, 1, 1, 4])] = draw.randbytes(draw.choice([0, 1, 1, 1, 4]))
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in entries.items():
                archive.writestr(name, bytes(mutated) if name == "file/data.pkl" else content)
        try:
            assert isinstance(read_torch_file(path), dict)
        except CheckpointError:
            refused += 1
    assert refused > 500
