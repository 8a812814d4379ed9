"""Data on disk is the same data: written and read by row, by us and by `datasets`."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import small_teacher
from PIL import Image

from realuid.cli.main import main
from realuid.data import Column, Dataset, absolute_source, load_dataset
from realuid.data.arrow_columns import ArrayColumn
from realuid.data.arrow_writer import write_arrow
from realuid.errors import ConfigError, DataError
from realuid.models import fingerprint
from realuid.paths import BrownianBridge
from realuid.processes import Part
from realuid.training import DistillConfig, TeacherConfig, distill_teacher, train_teacher
from realuid.training.batches import Batches

datasets = pytest.importorskip("datasets", reason="needs the extra realuid[data]")
INDEX = torch.tensor([1700, 3, 1000, 999, 3])


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def pictures(count: int, size: tuple[int, int] = (6, 6)) -> list[np.ndarray]:
    return [np.random.default_rng(i).integers(0, 256, (*size, 3), dtype=np.uint8) for i in range(count)]


def saved(folder: Path, images: list[bytes | None], **columns) -> str:
    """What `save_to_disk` writes of encoded images and other columns, given as (values, feature)."""
    kinds = {"img": datasets.Image(), **{name: kind for name, (_, kind) in columns.items()}}
    rows = {"img": [None if image is None else {"bytes": image, "path": None} for image in images]}
    rows |= {name: values for name, (values, _) in columns.items()}
    datasets.Dataset.from_dict(rows, features=datasets.Features(kinds)).save_to_disk(str(folder))
    return str(folder)


@pytest.fixture(scope="module")
def pairs() -> Dataset:
    return load_dataset("digits", pairs="inpaint-freeform", pairs_seed=3)


@pytest.fixture(scope="module")
def folder(pairs, tmp_path_factory) -> str:
    out = tmp_path_factory.mktemp("arrow") / "pairs"
    write_arrow(pairs, out)
    return str(out)


def test_everything_is_read_back(pairs, folder) -> None:
    data = load_dataset(folder)
    assert isinstance(data.values, Column) and isinstance(data.sources, Column)
    batch, right = data.take(INDEX), pairs.take(INDEX)
    assert torch.equal(batch.values, right.values) and torch.equal(batch.sources, right.sources)
    assert torch.equal(data.labels, pairs.labels) and data.classes == pairs.classes
    assert (data.name, data.degradation, data.degradation_seed) == ("digits", "inpaint-freeform", 3)
    assert repr(data) == repr(pairs) and torch.equal(data.values[900:1100], pairs.values[900:1100])


@pytest.mark.parametrize(
    "data",
    [
        Dataset(torch.randn(7, 2), torch.arange(7) % 2, "points", ("left", "right")),
        Dataset(torch.randn(7, 4, 2, 2), columns={"text": torch.randn(7, 3, 5), "size": torch.randn(7, 6)}),
        Dataset(torch.zeros(7, 3, 5, 5, dtype=torch.uint8), columns={"tokens": torch.arange(14).view(7, 2)}),
    ],
    ids=["points", "latents", "images"],
)
def test_points_latents_and_further_conditions(data, tmp_path) -> None:
    write_arrow(data, tmp_path / "d")
    found = load_dataset(str(tmp_path / "d")).take(slice(None))
    assert torch.equal(found.values, data.values) and found.columns.keys() == data.columns.keys()
    assert all(torch.equal(found.columns[name], column) for name, column in data.columns.items())
    assert (found.labels is None) == (data.labels is None)


def test_the_library_of_hugging_face_reads_what_is_written(pairs, folder) -> None:
    table = datasets.load_from_disk(folder)
    row = table.with_format("torch")[1234]
    assert torch.equal(row["image"], pairs.values[1234]) and row["label"] == pairs.labels[1234]
    assert table.features["label"].names == list("0123456789")


def test_the_fingerprint_is_that_of_the_content(pairs, folder, tmp_path) -> None:
    write_arrow(pairs, tmp_path / "again")
    other = pairs.values.clone()
    other[1796, 0, 0, 0] ^= 1
    write_arrow(Dataset(other, pairs.labels, "digits", pairs.classes, pairs.sources), tmp_path / "other")
    first, again, changed = (load_dataset(str(f)) for f in (folder, tmp_path / "again", tmp_path / "other"))
    assert first.fingerprint() == again.fingerprint() != changed.fingerprint()


def test_images_of_save_to_disk_are_those_read_into_memory(tmp_path) -> None:
    images = [png(image) for image in pictures(5, (8, 12))]
    kind = datasets.ClassLabel(names=["cat", "dog"])
    source = saved(
        tmp_path / "d", images, label=([0, 1, 1, 0, 1], kind), text=(list("ababa"), datasets.Value("string"))
    )
    for how in ({}, {"resolution": 4}, {"channels": 1}, {"pairs": "jpeg-5"}):
        disk, memory = load_dataset(source, **how), load_dataset(f"hf:{source}", **how)
        assert isinstance(disk.values, Column) and isinstance(memory.values, torch.Tensor)
        assert torch.equal(disk.values[torch.tensor([4, 0, 2])], memory.values[[4, 0, 2]])
        assert torch.equal(disk.labels, memory.labels) and disk.classes == ("cat", "dog") and disk.shape == memory.shape
        assert disk.sources is None or torch.equal(disk.sources[:], memory.sources)
    assert load_dataset(f"{source}?label=text").classes == ("a", "b")
    assert absolute_source(f"{source}?label=text") == f"{source}?label=text"
    assert load_dataset(source).fingerprint() != load_dataset(source, resolution=4).fingerprint()


def test_a_column_called_source_makes_pairs(tmp_path) -> None:
    images = pictures(4)
    negatives = [{"bytes": png(255 - image), "path": None} for image in images]
    source = saved(tmp_path / "d", [png(image) for image in images], source=(negatives, datasets.Image()))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # the choice of the image is clear
        data = load_dataset(source)
    assert torch.equal(data.sources[:], 255 - data.values[:])


@pytest.mark.parametrize(
    ("images", "says"),
    [
        ([png(p) for p in pictures(2)] + [png(pictures(1, (6, 9))[0])], r"row 2 is 9x6 with .*--data.resolution"),
        ([png(pictures(1)[0]), png(pictures(1)[0])[:60], None], "row 1 of .* cannot be read .damaged"),
        ([png(pictures(1)[0]), None], "row 1 of .* cannot be read .there is no image"),
    ],
)
def test_rows_that_do_not_fit_are_named_when_they_are_asked_for(tmp_path, images, says) -> None:
    data = load_dataset(saved(tmp_path / "d", images))
    with pytest.raises(DataError, match=says):
        data.values[:]


def test_folders_that_cannot_be_read_say_why(tmp_path, folder) -> None:
    split = datasets.Dataset.from_dict({"img": [1]})
    datasets.DatasetDict({"train": split, "test": split}).save_to_disk(str(tmp_path / "splits"))
    with pytest.raises(DataError, match=r"holds test, train. Pass one of them, as '.*/splits/test'"):
        load_dataset(str(tmp_path / "splits"))
    with pytest.raises(DataError, match=r"has no image column .columns: img"):
        load_dataset(str(tmp_path / "splits" / "train"))
    with pytest.raises(DataError, match=r"no column label = cat. Columns are"):
        load_dataset(f"{folder}?label=cat")
    with pytest.raises(DataError, match=r"skip_damaged = True: images of .*`realuid prepare"):
        load_dataset(folder, skip_damaged=True)
    with pytest.raises(DataError, match=r"is 8x8, but resolution = 4"):
        load_dataset(folder, resolution=4)
    with pytest.raises(ConfigError, match="is there already"):
        write_arrow(load_dataset("toy:moons"), folder)
    broken = tmp_path / "broken"
    write_arrow(load_dataset("toy:moons"), broken)
    (broken / "data-00000-of-00001.arrow").write_bytes(b"no arrow")
    with pytest.raises(DataError, match=r"broken' cannot be read"):
        load_dataset(str(broken))


def test_numbers_that_are_not_finite_are_an_error_when_they_are_read(tmp_path) -> None:
    rows = {"latents": np.zeros((4, 1, 2, 2), np.float32)}
    rows["latents"][2] = np.nan
    kinds = datasets.Features({"latents": datasets.Array3D((1, 2, 2), "float32")})
    datasets.Dataset.from_dict(rows, features=kinds).save_to_disk(str(tmp_path / "d"))
    data = load_dataset(str(tmp_path / "d"))
    assert data.values[torch.tensor([0, 3])].abs().sum() == 0
    with pytest.raises(DataError, match=r"column .latents. of .* holds NaN"):
        data.values[:]


def test_training_from_disk_is_training_from_memory_and_resumes_bit_for_bit(tmp_path, digits) -> None:
    write_arrow(digits, tmp_path / "d")
    disk = load_dataset(str(tmp_path / "d"))
    common = {"batch": 16, "sample_every": 0, "device": "cpu", "flip": True}

    def taught(data: Dataset, name: str, updates: int = 2, resume: bool = False) -> str:
        config = TeacherConfig(updates=updates, save_every=1, **common)
        return fingerprint(train_teacher(small_teacher(num_classes=10), data, config, tmp_path / name, resume=resume))

    straight = taught(digits, "memory")
    assert taught(disk, "disk") == straight
    taught(disk, "stopped", updates=1)
    assert taught(disk, "stopped", resume=True) == straight
    config = DistillConfig(alpha=0.96, beta=0.98, updates=1, fake_updates=2, **common)
    students = [
        distill_teacher(small_teacher(num_classes=10), d, config, tmp_path / f"{d is disk}") for d in (digits, disk)
    ]
    assert fingerprint(students[0]) == fingerprint(students[1])


def test_two_processes_read_the_batch_of_one(folder) -> None:
    def draws(part: Part, step: int) -> list:
        batches = Batches(load_dataset(folder), BrownianBridge(noise=0.5), 1, True, part)
        return [batches.real("real", step, 30), batches.generated("fake", step, 30)]

    for step in (0, 59, 60):  # an epoch ends in the midst of step 59
        whole, halves = draws(Part(), step), [draws(Part(rank, 2), step) for rank in range(2)]
        for one, first, second in zip(whole, *halves, strict=True):
            assert torch.equal(one.x_T, torch.cat([first.x_T, second.x_T]))
            assert one.x_0 is None or torch.equal(one.x_0, torch.cat([first.x_0, second.x_0]))


def said(capsys) -> str:
    return " ".join(capsys.readouterr().out.split())


def test_files_are_prepared_with_their_classes(tmp_path, capsys) -> None:
    for i, image in enumerate(pictures(7, (8, 12))):
        place = tmp_path / "files" / "ab"[i % 2] / f"{i}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(png(image))
    files, out = str(tmp_path / "files"), str(tmp_path / "out")
    assert main(["prepare", files, out, "--resolution", "4"]) == 0
    assert "files': 7 images of shape (3, 4, 4), 2 classes" in said(capsys)
    disk, memory = load_dataset(out), load_dataset(files, resolution=4)
    assert torch.equal(disk.values[:], memory.values) and torch.equal(disk.labels, memory.labels)
    assert disk.classes == memory.classes == ("a", "b")
    assert main(["info", out]) == 0 and "files: 7 samples of shape (3, 4, 4), 2 classes (a 4, b 3)" in said(capsys)
    assert main(["prepare", out, str(tmp_path / "pairs"), "--pairs", "sr-box-2"]) == 0
    assert torch.equal(
        load_dataset(str(tmp_path / "pairs")).sources[:], load_dataset(files, resolution=4, pairs="sr-box-2").sources
    )
    assert main(["prepare", files, out]) == 2 and "is there already" in capsys.readouterr().err


def test_files_that_do_not_fit_leave_nothing_behind(tmp_path, capsys) -> None:
    (tmp_path / "files").mkdir()
    for name, image in zip("abc", [*pictures(2), *pictures(1, (6, 9))], strict=True):
        (tmp_path / "files" / f"{name}.png").write_bytes(png(image))
    assert main(["prepare", str(tmp_path / "files"), str(tmp_path / "out")]) == 2
    assert "'c.png' is 9x6 with 3 channel(s), the first one 6x6 with 3. Pass --resolution" in capsys.readouterr().err
    (tmp_path / "files" / "c.png").write_bytes(b"no image")
    assert main(["prepare", str(tmp_path / "files"), str(tmp_path / "out")]) == 2
    assert "1 of 3 images" in capsys.readouterr().err and [p.name for p in tmp_path.iterdir()] == ["files"]
    assert main(["prepare", str(tmp_path / "files"), str(tmp_path / "out"), "--skip-damaged"]) == 0
    assert "1 of 3 images are left out" in capsys.readouterr().err
    assert len(load_dataset(str(tmp_path / "out"))) == 2


def test_rows_are_checked_when_a_folder_is_opened(tmp_path) -> None:
    kinds = datasets.Features({"image": datasets.Array3D((1, 2, 2), "uint8")})
    rows = {"image": [np.zeros((1, 2, 2), np.uint8), None]}
    datasets.Dataset.from_dict(rows, features=kinds).save_to_disk(str(tmp_path / "d"))
    with pytest.raises(DataError, match=r"column 'image' of .* has rows that are missing or of different shapes"):
        load_dataset(str(tmp_path / "d"))


MEASURE = """
import json, sys, torch
from realuid.data import load_dataset, Dataset
def resident():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmRSS")).split()[1]) * 1024
data = load_dataset(sys.argv[1])
data.values[:1000]
before = most = resident()
total = 0
for index in torch.randperm(len(data), generator=torch.Generator().manual_seed(0)).split(500):
    total += int(data.values[index].sum(dtype=torch.int64))
    most = max(most, resident())
print(json.dumps({"bytes": len(data) * 3 * 64 * 64, "grown": most - before, "sum": total}))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="resident memory is read from /proc")
def test_a_set_of_any_size_takes_little_memory(tmp_path) -> None:
    """192 MiB of pixels are read in random order; what stays resident is a sixth of it at most."""
    values = torch.arange(256, dtype=torch.uint8).repeat(3 * 16).view(1, 3, 64, 64).expand(2**14, 3, 64, 64)
    write_arrow(Dataset(values), tmp_path / "d")
    done = subprocess.run([sys.executable, "-c", MEASURE, str(tmp_path / "d")], capture_output=True, text=True)
    found = json.loads(done.stdout)
    assert found["sum"] == 2**14 * 48 * (255 * 256 // 2) and found["bytes"] == 192 * 2**20
    assert found["grown"] < 32 * 2**20


def test_only_arrays_are_mapped(folder) -> None:
    assert isinstance(load_dataset(folder).values, ArrayColumn)
