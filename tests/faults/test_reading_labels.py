"""Labels and names of classes are what is there; what is left out is said, with numbers."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest
import torch
from image_files import flat, levels, nothing_said, said, write, write_zip

from realuid.cli.main import main
from realuid.data import Dataset, load_dataset
from realuid.errors import DataError


@pytest.mark.parametrize("top", ["", "mydata/", "a/b/"])
@pytest.mark.parametrize("kind", ["zip", "folder"])
def test_labels_are_found_in_a_top_folder(tmp_path: Path, top: str, kind: str) -> None:
    names = [f"00000/img{i:08d}.png" for i in range(6)]
    listing = json.dumps({"labels": [[name, i % 3] for i, name in enumerate(names)]}).encode()
    files = {top + name: flat(i) for i, name in enumerate(names)} | {f"{top}dataset.json": listing}
    path = write_zip(tmp_path / "d.zip", files) if kind == "zip" else write(tmp_path / "d", files)
    with nothing_said():
        data = load_dataset(str(path))
    assert levels(data) == [0, 1, 2, 3, 4, 5] and data.labels.tolist() == [0, 1, 2, 0, 1, 2]


def test_a_listing_that_does_not_cover_all_images_is_named(tmp_path: Path) -> None:
    listing = json.dumps({"labels": [["0.png", 1], ["1.png", 0]]}).encode()
    write(tmp_path, {"x/0.png": flat(0), "x/1.png": flat(1), "2.png": flat(2), "x/dataset.json": listing})
    with said("'x/dataset.json'"):
        assert load_dataset(str(tmp_path)).labels is None


def test_labels_without_an_image_are_counted(tmp_path: Path) -> None:
    listing = json.dumps({"labels": [["0.png", 1], ["1.png", 0], ["gone.png", 0]]}).encode()
    write(tmp_path, {"0.png": flat(0), "1.png": flat(1), "dataset.json": listing})
    with said("1 of 3 labels"):
        assert load_dataset(str(tmp_path)).labels.tolist() == [1, 0]


@pytest.mark.parametrize("kind", ["zip", "folder"])
def test_folders_give_classes_their_names_in_the_order_of_numbers(tmp_path: Path, kind: str) -> None:
    files = {f"{number}/a.png": flat(20 * number) for number in range(12)}
    path = write_zip(tmp_path / "d.zip", files) if kind == "zip" else write(tmp_path / "d", files)
    data = load_dataset(str(path))
    assert data.classes == tuple(map(str, range(12)))
    assert sorted(zip(levels(data), data.labels.tolist(), strict=True)) == [(20 * i, i) for i in range(12)]


def test_names_of_classes_with_numbers_in_them_sort_by_value(tmp_path: Path) -> None:
    write(tmp_path, {f"{name}/a.png": flat(i) for i, name in enumerate(["c10", "c2", "b", "c²"])})
    data = load_dataset(str(tmp_path))
    assert data.classes == ("b", "c2", "c10", "c²")
    assert [levels(data)[data.labels.tolist().index(k)] for k in range(4)] == [2, 1, 0, 3]


@pytest.mark.parametrize("names", [["images/0.png", "images/1.png"], ["a/b/0.png", "a/b/1.png"]])
def test_one_class_is_no_label(tmp_path: Path, names: list[str]) -> None:
    write(tmp_path, {name: flat(i) for i, name in enumerate(names)})
    assert load_dataset(str(tmp_path)).labels is None


def test_classes_below_one_top_folder_are_found(tmp_path: Path) -> None:
    write(tmp_path, {"top/cat/0.png": flat(0), "top/dog/0.png": flat(1)})
    assert load_dataset(str(tmp_path)).classes == ("cat", "dog")


def test_one_stray_image_does_not_drop_all_labels(tmp_path: Path) -> None:
    write(tmp_path, {f"{'cat' if i % 2 else 'dog'}/{i}.png": flat(i) for i in range(20)} | {"stray.png": flat(99)})
    with said("1 of 21 images are left out", "'stray.png'", "2 classes"):
        data = load_dataset(str(tmp_path))
    assert len(data) == 20 and data.classes == ("cat", "dog") and 99 not in levels(data)


def test_many_images_beside_folders_have_no_label_and_this_is_said(tmp_path: Path) -> None:
    write(tmp_path, {"a/0.png": flat(0), "b/1.png": flat(1), "2.png": flat(2)})
    with said("1 of 3 images lie beside the 2 folders"):
        data = load_dataset(str(tmp_path))
    assert len(data) == 3 and data.labels is None


def test_splits_of_a_data_set_are_no_classes(tmp_path: Path) -> None:
    write(tmp_path, {"train/cat/0.png": flat(0), "val/cat/1.png": flat(1)})
    with pytest.raises(DataError, match="holds train, val, which look like parts of a data set"):
        load_dataset(str(tmp_path))


def test_folders_of_the_edm_layout_are_no_classes(tmp_path: Path) -> None:
    numbers = (0, 999, 1000, 1999, 2000)
    write(tmp_path, {f"{n // 1000:05d}/img{n:08d}.png": flat(i) for i, n in enumerate(numbers)})
    with nothing_said():
        assert load_dataset(str(tmp_path)).labels is None


def test_classes_without_images_are_named(tmp_path: Path) -> None:
    listing = json.dumps({"labels": [["0.png", 1], ["1.png", 3]]}).encode()
    write(tmp_path, {"0.png": flat(0), "1.png": flat(1), "dataset.json": listing})
    with said("2 of 4 classes have no image", "'0', '2'"):
        assert load_dataset(str(tmp_path)).num_classes == 4


def test_names_of_classes_reach_the_commands(tmp_path: Path, monkeypatch, capsys) -> None:
    """Trained on folders; a student knows the names; info shows how many images each has."""
    write(tmp_path / "d", {f"{'cat' if i % 4 else 'dog'}/{i:02d}.png": flat(i, 8) for i in range(12)})
    monkeypatch.chdir(tmp_path)
    small = ("--network.channels", "8", "8", "--network.blocks", "1", "--network.attention-at")
    train = ("--data.source", "d", "--data.conditional", "--updates", "1", "--batch", "4", "--sample-every", "0")
    assert main(["train", "digits", *small, *train, "--evaluate-every", "0", "--out", "run"]) == 0
    config = json.loads(Path("run/model/config.json").read_text())
    assert config["classes"] == ["cat", "dog"]
    assert main(["sample", "run/model", "--classes", "dog", "--count", "3", "--steps", "1", "--out", "s.zip"]) == 0
    with zipfile.ZipFile("s.zip") as archive:
        assert [label for _, label in json.loads(archive.read("dataset.json"))["labels"]] == [1, 1, 1]
    assert main(["sample", "run/model", "--classes", "dgo", "--out", "t.zip"]) == 2
    assert "--classes dgo: unknown class 'dgo'. Did you mean 'dog'?" in capsys.readouterr().err
    assert main(["info", "d"]) == 0
    assert "2 classes (cat 9, dog 3)" in capsys.readouterr().out


def test_a_model_is_not_measured_on_classes_in_another_order(tmp_path: Path) -> None:
    from realuid import Teacher
    from realuid.errors import ConfigError
    from realuid.training.compatibility import check_fits

    model = Teacher(torch.nn.Linear(2, 2), (1, 4, 4), num_classes=2)
    model.class_names = ("cat", "dog")
    values, labels = torch.zeros(4, 1, 4, 4, dtype=torch.uint8), torch.tensor([0, 1, 0, 1])
    check_fits(model, Dataset(values, labels, classes=("cat", "dog")))
    check_fits(model, Dataset(values, labels, classes=("0", "1")))  # no names of their own
    with pytest.raises(ConfigError, match="class 0 of the model is 'cat', of the data 'dog'"):
        check_fits(model, Dataset(values, labels, classes=("dog", "cat")))
