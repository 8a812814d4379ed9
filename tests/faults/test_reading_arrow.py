"""Data sets on disk that are damaged or hostile: one line, for both readers, and no byte from elsewhere."""

from __future__ import annotations

import io
import json
import os
import struct
from pathlib import Path

import pytest
import torch
from PIL import Image

from realuid.data import Dataset, load_dataset
from realuid.data.arrow_writer import write_arrow
from realuid.errors import DataError

datasets = pytest.importorskip("datasets", reason="needs the extra realuid[data]")
READERS = ("", "hf:")  # by row, and into memory


def png(value: int) -> bytes:
    file = io.BytesIO()
    Image.new("L", (8, 8), value).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """Four images, as `save_to_disk` writes them."""
    rows = {"image": [{"bytes": png(10 * i), "path": None} for i in range(4)]}
    features = datasets.Features({"image": datasets.Image()})
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(str(tmp_path / "saved"))
    return tmp_path / "saved"


def pairs(folder: Path) -> Path:
    images = torch.zeros((4, 1, 8, 8), dtype=torch.uint8)
    write_arrow(Dataset(images, sources=images, degradation="jpeg-10", degradation_seed=1), folder)
    return folder


@pytest.mark.parametrize("reader", READERS)
def test_offsets_that_lead_out_of_the_file_do_not_end_the_process(reader: str, saved: Path) -> None:
    (file,) = saved.glob("*.arrow")
    ends = [sum(len(png(10 * i)) for i in range(n)) for n in range(5)]
    whole, offsets = file.read_bytes(), struct.pack("<5i", *ends)
    assert whole.count(offsets) == 1
    file.write_bytes(whole.replace(offsets, struct.pack("<5i", *ends[:3], 2**31 - 8, ends[4])))
    with pytest.raises(DataError, match=r"saved' can.*read|cannot be loaded"):
        load_dataset(f"{reader}{saved}")


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("name", ["../other/data.arrow", "/etc/passwd", ".."])
def test_files_outside_of_the_folder_are_not_read(reader: str, name: str, saved: Path) -> None:
    state = json.loads((saved / "state.json").read_text())
    state["_data_files"] = [{"filename": name}]
    (saved / "state.json").write_text(json.dumps(state))
    with pytest.raises(DataError, match=r"not in this folder|is a folder"):
        load_dataset(f"{reader}{saved}")


def naming(folder: Path, name: str) -> Path:
    """A data set of one row, which names its image instead of holding it; `save_to_disk` would open that."""
    features = datasets.Features({"image": datasets.Image()})
    table = datasets.Dataset.from_dict({"image": [{"bytes": None, "path": name}]}, features=features)
    folder.mkdir(exist_ok=True)
    with datasets.arrow_writer.ArrowWriter(path=str(folder / "data-00000-of-00001.arrow"), features=features) as writer:
        writer.write_table(table.data.table)
        writer.finalize()
    table.info.write_to_directory(str(folder))
    state = dict.fromkeys(("_format_type", "_split")) | {"_fingerprint": "x", "_format_columns": None}
    state |= {"_data_files": [{"filename": "data-00000-of-00001.arrow"}], "_format_kwargs": {}}
    (folder / "state.json").write_text(json.dumps(state | {"_output_all_columns": False}))
    return folder


@pytest.mark.parametrize("reader", READERS)
def test_a_row_that_names_a_pipe_does_not_wait_for_it(reader: str, tmp_path: Path) -> None:
    (tmp_path / "named").mkdir()
    os.mkfifo(tmp_path / "named" / "pipe.png")
    with pytest.raises(DataError, match="a FIFO"):
        load_dataset(f"{reader}{naming(tmp_path / 'named', str(tmp_path / 'named' / 'pipe.png'))}")


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("name", ["{}/private.png", "../private.png", "{}/named/../private.png", "a/../../private.png"])
def test_a_row_names_no_image_outside_of_its_folder(reader: str, name: str, tmp_path: Path) -> None:
    """A stranger's data set would have shown images of this machine, in grids and in what a model learns."""
    (tmp_path / "private.png").write_bytes(png(7))
    with pytest.raises(DataError, match=r"names .*private.png', which is not in the folder of the data"):
        load_dataset(f"{reader}{naming(tmp_path / 'named', name.format(tmp_path))}")


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("name", ["{}/linked/a.png", "{}/named/a.png", "a.png"])
def test_a_row_may_name_one_inside(reader: str, name: str, tmp_path: Path) -> None:
    (tmp_path / "named").mkdir()
    (tmp_path / "named" / "a.png").write_bytes(png(7))
    (tmp_path / "linked").symlink_to(tmp_path / "named")
    folder = naming(tmp_path / "named", name.format(tmp_path))
    place = tmp_path / "linked" if "linked" in name else folder
    data = load_dataset(f"{reader}{place}")
    assert data.take(torch.arange(1)).values.unique().tolist() == [7]


@pytest.mark.parametrize("reader", ["hf:", ""])
def test_metadata_names_no_image_outside_of_its_folder(reader: str, tmp_path: Path) -> None:
    folder = tmp_path / "listed"
    folder.mkdir()
    for place in (tmp_path / "private.png", folder / "a.png"):
        place.write_bytes(png(7 if place.parent == folder else 200))
    for name in ("../private.png", str(tmp_path / "private.png")):
        lines = [{"file_name": "a.png", "text": "ours"}, {"file_name": name, "text": "theirs"}]
        (folder / "metadata.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        try:
            data = load_dataset(f"{reader}{folder}")
        except DataError:
            continue
        assert len(data) == 1 and "theirs" not in data.captions


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        *(("values", value, "values = ") for value in (None, 3, ["values"], {}, "/etc/passwd", "label")),
        *(("degradation_seed", value, "a whole number") for value in ("1", 1.5, True, [1])),
        *(("degradation", value, "allowed is text") for value in (1, ["jpeg-10"])),
        ("name", 7, "allowed is text"),
    ],
)
def test_what_is_noted_beside_data_is_checked(key: str, value: object, says: str, tmp_path: Path) -> None:
    about = pairs(tmp_path / "pairs") / "realuid.json"
    about.write_text(json.dumps({**json.loads(about.read_text()), key: value}))
    with pytest.raises(DataError, match=says):
        load_dataset(str(tmp_path / "pairs"))


def test_shapes_that_are_no_numbers_and_columns_of_another_kind(tmp_path: Path) -> None:
    info = pairs(tmp_path / "pairs") / "dataset_info.json"
    whole = json.loads(info.read_text())
    (values,) = set(whole["features"]) - {"source"}
    for shape in (["1", 8, 8], [1, 8, None], "x", [1, 8, -8], [True, 8, 8]):
        whole["features"][values]["shape"] = shape
        info.write_text(json.dumps(whole))
        with pytest.raises(DataError):
            load_dataset(str(tmp_path / "pairs"))
