"""Data sets by name, of the Hugging Face hub, and made by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from image_files import flat, levels, nothing_said, said, write

from realuid.data import Dataset, absolute_source, load_dataset
from realuid.errors import DataError


def test_a_folder_called_digits_is_read_and_this_is_said(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert len(load_dataset("digits")) == 1797
    write(tmp_path / "digits", {f"{i}.png": flat(i) for i in range(7)})
    with said("'digits' is read from the folder ./digits", "'sklearn:digits'"):
        assert len(load_dataset("digits")) == 7
    assert len(load_dataset("sklearn:digits")) == 1797
    assert absolute_source("digits") == str(tmp_path / "digits")
    (tmp_path / "digits" / "recipe.yaml").write_text("name: digits")  # a run that was written to ./digits
    with nothing_said():
        assert len(load_dataset("digits")) == 1797
    assert absolute_source("digits") == "digits"


def hugging_face(folder: Path, columns: dict[str, list], features: dict | None = None) -> str:
    datasets = pytest.importorskip("datasets", reason="needs the extra realuid[data]")
    kinds = {"img": datasets.Image(), **(features or {})}
    rows = {"img": [{"bytes": flat(i), "path": None} for i in range(4)], **columns}
    datasets.Dataset.from_dict(rows, features=datasets.Features(kinds)).save_to_disk(str(folder))
    return f"hf:{folder}"


def test_columns_that_are_passed_over_are_named_and_can_be_chosen(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="needs the extra realuid[data]")
    fine = datasets.ClassLabel(names=["a", "b", "c", "d"])
    coarse = datasets.ClassLabel(names=["x", "y"])
    columns = {"fine": [0, 1, 2, 3], "coarse": [0, 0, 1, 1], "caption": ["p", "q", "p", "p"], "n": [7, 5, 5, 7]}
    kinds = {"fine": fine, "coarse": coarse, "caption": datasets.Value("string"), "n": datasets.Value("int64")}
    source = hugging_face(tmp_path / "hf", columns, kinds)
    with said("labels are read from column 'fine'", "'coarse'", "label=coarse"):
        assert load_dataset(source).classes == ("a", "b", "c", "d")
    with nothing_said():
        assert load_dataset(f"{source}?label=coarse").labels.tolist() == [0, 0, 1, 1]
        assert load_dataset(f"{source}?label=caption").classes == ("p", "q")
        assert load_dataset(f"{source}?label=n").labels.tolist() == [1, 0, 0, 1]
        assert load_dataset(f"{source}?label=n").classes == ("5", "7")
    with pytest.raises(DataError, match=r"no column label = cat. Columns are 'img', 'fine'"):
        load_dataset(f"{source}?label=cat")
    with pytest.raises(DataError, match="image=COLUMN, label=COLUMN"):
        load_dataset(f"{source}?labels=fine")


def test_labels_that_are_no_class_column_are_named(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="needs the extra realuid[data]")
    source = hugging_face(tmp_path / "hf", {"label": [3, 4, 3, 4]}, {"label": datasets.Value("int64")})
    with said("labels are read from no column", "'label'"):
        assert load_dataset(source).labels is None


def test_a_folder_with_metadata_is_read_by_the_hubs_loader(tmp_path: Path) -> None:
    pytest.importorskip("datasets", reason="needs the extra realuid[data]")
    rows = [{"file_name": f"{i}.png", "kind": "ab"[i % 2]} for i in range(3)]
    lines = "\n".join(map(json.dumps, rows)).encode()
    write(tmp_path / "d", {f"{i}.png": flat(i) for i in range(3)} | {"metadata.jsonl": lines})
    data = load_dataset(f"hf:{tmp_path / 'd'}?label=kind")
    assert levels(data) == [0, 1, 2] and data.classes == ("a", "b") and data.labels.tolist() == [0, 1, 0]


@pytest.mark.parametrize("line", ["null", "3", "[]", '"a"', '{"file_name": "0.png"', "[" * 2000])
def test_lines_of_metadata_that_are_no_objects_are_refused(tmp_path: Path, line: str) -> None:
    """pyarrow's JSON reader ends the process with a segmentation fault at `null`."""
    pytest.importorskip("datasets", reason="needs the extra realuid[data]")
    good = '{"file_name": "1.png", "label": 1}'
    write(tmp_path, {"0.png": flat(0), "1.png": flat(255), "metadata.jsonl": f"{line}\n{good}\n".encode()})
    with pytest.raises(DataError, match=r"line 1 of '.*metadata\.jsonl'"):
        load_dataset(f"hf:{tmp_path}")


IMAGES = torch.randint(0, 256, (6, 1, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Dataset(IMAGES, torch.arange(6)), "labels, but no classes"),
        (lambda: Dataset(IMAGES, classes=("a", "b")), "2 classes, but no labels"),
        (lambda: Dataset(IMAGES.long()), "values are torch.int64"),
        (lambda: Dataset(IMAGES.double()), "values are torch.float64"),
        (lambda: Dataset(IMAGES.half()), "values are torch.float16"),
        (lambda: Dataset(IMAGES.float()), r"float images from 1 to 254, which look like levels"),
        (lambda: Dataset(IMAGES[0]), r"uint8 images of shape \(1, 4, 4\)"),
        (lambda: Dataset(torch.zeros(6, 1, 4)), r"values of shape \(6, 1, 4\)"),
        (lambda: Dataset(IMAGES.numpy()), "values are a ndarray"),
        (lambda: Dataset(torch.full((6, 2), float("nan"))), "6 of 6 samples hold NaN"),
        (lambda: Dataset(IMAGES, torch.arange(5), classes="abcdef"), r"labels of 'data' have shape \(5,\)"),
        (lambda: Dataset(IMAGES, torch.zeros(6, 1).long(), classes="a"), r"labels of 'data' have shape \(6, 1\)"),
        (lambda: Dataset(IMAGES, torch.arange(6), classes="ab"), "labels of 'data' are 0 to 5, but there are 2"),
        (lambda: Dataset(IMAGES, torch.arange(6) - 1, classes="abcdef"), "labels of 'data' are -1 to 4"),
        (lambda: Dataset(IMAGES, torch.rand(6), classes="ab"), "labels of 'data' are torch.float32"),
        (lambda: Dataset(IMAGES, torch.ones(6).bool(), classes="ab"), "labels of 'data' are torch.bool"),
    ],
)
def test_data_made_by_hand_is_checked(make, says: str) -> None:
    with pytest.raises(DataError, match=says):
        make()


def test_whole_numbers_of_any_kind_are_labels() -> None:
    for kind in (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64):
        labels = Dataset(IMAGES, torch.arange(6).to(kind), classes="abcdef").labels
        assert labels.dtype == torch.int64 and labels.tolist() == [0, 1, 2, 3, 4, 5]


def test_float_images_between_0_and_1_are_doubted() -> None:
    with said("all float values are between 0 and 1"):
        Dataset(torch.rand(6, 1, 4, 4))
    with nothing_said():
        Dataset(torch.rand(6, 1, 4, 4) * 2 - 1)
        Dataset(torch.rand(6, 2))  # points
