from __future__ import annotations

import io
import json
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from realuid.data import load_dataset
from realuid.data.writers import write_samples
from realuid.errors import ConfigError, DataError


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (6, 5, 7, 3), dtype=np.uint8)


def write_zip(path: Path, pixels: np.ndarray, labels: bool = True) -> Path:
    names = [f"00000/img{i:08d}.png" for i in range(len(pixels))]
    with zipfile.ZipFile(path, "w") as archive:
        for name, image in zip(reversed(names), reversed(pixels), strict=True):  # the order in the zip does not matter
            archive.writestr(name, png(image))
        if labels:
            archive.writestr("dataset.json", json.dumps({"labels": [[n, i % 3] for i, n in enumerate(names)]}))
    return path


def test_zip_gives_pixels_and_labels_in_the_order_of_names(tmp_path: Path, pixels: np.ndarray) -> None:
    data = load_dataset(str(write_zip(tmp_path / "a.zip", pixels)))
    assert np.array_equal(data.values.permute(0, 2, 3, 1).numpy(), pixels)
    assert data.labels.tolist() == [0, 1, 2, 0, 1, 2] and data.num_classes == 3


def test_zip_without_labels_is_unconditional(tmp_path: Path, pixels: np.ndarray) -> None:
    data = load_dataset(str(write_zip(tmp_path / "a.zip", pixels, labels=False)))
    assert data.labels is None and data.num_classes == 0


def test_folder_takes_labels_from_sub_folders(tmp_path: Path, pixels: np.ndarray) -> None:
    for i, image in enumerate(pixels):
        file = tmp_path / ("cat" if i % 2 else "ant") / f"{i}.png"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(png(image))
    data = load_dataset(str(tmp_path))
    assert data.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert np.array_equal(data.values.permute(0, 2, 3, 1).numpy(), pixels[[0, 2, 4, 1, 3, 5]])


def test_grey_and_colour_are_converted_on_request_only(tmp_path: Path, pixels: np.ndarray) -> None:
    (tmp_path / "a.png").write_bytes(png(pixels[0, ..., 0]))
    assert load_dataset(str(tmp_path)).shape == (1, 5, 7)
    assert load_dataset(str(tmp_path), channels=3).shape == (3, 5, 7)
    (tmp_path / "b.png").write_bytes(png(pixels[1]))
    with pytest.raises(DataError, match=r"1 is 7x5 with 1 channel \('a.png'\), 1 is 7x5 with 3 .*Pass channels, 1"):
        load_dataset(str(tmp_path))
    assert load_dataset(str(tmp_path), channels=1).shape == (1, 5, 7)


def test_resolution_crops_the_centre_square(tmp_path: Path) -> None:
    wide = np.zeros((4, 8, 3), dtype=np.uint8)
    wide[:, 2:6] = 255
    (tmp_path / "a.png").write_bytes(png(wide))
    data = load_dataset(str(tmp_path), resolution=4)
    assert data.shape == (3, 4, 4) and data.values.min() == 255


def test_mistakes_name_the_file_and_what_to_do(tmp_path: Path, pixels: np.ndarray) -> None:
    whole = write_zip(tmp_path / "a.zip", pixels).read_bytes()
    (tmp_path / "cut.zip").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"cut.zip' is not a whole zip file"):
        load_dataset(str(tmp_path / "cut.zip"))
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(DataError, match="holds no images"):
        load_dataset(str(folder))
    (folder / "notes.txt").write_text("not an image")
    with pytest.raises(DataError, match=r"holds no images \(but 'notes.txt'\)"):
        load_dataset(str(folder))
    with pytest.raises(DataError, match=r"no data at 'nowhere'. Allowed: 'digits'"):
        load_dataset("nowhere")
    with pytest.raises(DataError, match="channels = 2: allowed are 1"):
        load_dataset("digits", channels=2)
    for resolution in (0, -8):
        with pytest.raises(DataError, match=f"resolution = {resolution}: allowed are positive"):
            load_dataset("digits", resolution=resolution)
    with pytest.raises(DataError, match="has 1 channel"):
        load_dataset("digits", channels=3)


def test_a_label_for_every_image_or_an_error(tmp_path: Path, pixels: np.ndarray) -> None:
    path = write_zip(tmp_path / "a.zip", pixels)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("00000/zzz.png", png(pixels[0]))
    with pytest.raises(DataError, match=r"no label for '00000/zzz.png'"):
        load_dataset(str(path))


@pytest.mark.parametrize("label", [-1, 1.5, 10**9, "cat", None, [0]])
def test_labels_are_classes_counted_from_zero(tmp_path: Path, pixels: np.ndarray, label: object) -> None:
    (tmp_path / "a.png").write_bytes(png(pixels[0]))
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": [["a.png", label]]}))
    with pytest.raises(DataError, match=r"^dataset.json of '.*' (has labels from|is not)"):
        load_dataset(str(tmp_path))


def test_photographs_are_turned_as_their_camera_says(tmp_path: Path, pixels: np.ndarray) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: to be turned clockwise by a quarter
    Image.fromarray(pixels[0]).save(tmp_path / "a.png", exif=exif)
    values = load_dataset(str(tmp_path)).values
    assert np.array_equal(values[0].permute(1, 2, 0).numpy(), np.rot90(pixels[0], -1))


def test_sixteen_bit_grey_keeps_its_range(tmp_path: Path) -> None:
    levels = np.array([[0, 255, 256, 32768, 65535]], dtype=np.uint16)
    (tmp_path / "a.png").write_bytes(png(levels))
    assert load_dataset(str(tmp_path)).values.flatten().tolist() == [0, 0, 1, 128, 255]


@pytest.mark.parametrize("cut", [20, 40, 60])
def test_a_damaged_image_is_named(tmp_path: Path, pixels: np.ndarray, cut: int) -> None:
    content = bytearray(png(pixels[0]))
    content[cut : cut + 8] = b"\xff" * 8
    (tmp_path / "a.png").write_bytes(bytes(content))
    with pytest.raises(DataError, match=r"1 of 1 images of .*'a.png' \(damaged"):
        load_dataset(str(tmp_path))


def test_an_image_too_large_to_be_one_is_named(tmp_path: Path, pixels: np.ndarray, monkeypatch) -> None:
    (tmp_path / "a.png").write_bytes(png(pixels[0]))
    monkeypatch.setattr("realuid.data.decode.MAX_PIXELS", 34)
    with pytest.raises(DataError, match=r"'a.png' \(35 pixels \(7x5\), at most 34 pixels"):
        load_dataset(str(tmp_path))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)  # Pillow's guard against decompression bombs
    with pytest.raises(DataError, match=r"'a.png' \(too many pixels, at most 34"):
        load_dataset(str(tmp_path))


def test_what_operating_systems_leave_behind_is_no_image(tmp_path: Path, pixels: np.ndarray) -> None:
    path = write_zip(tmp_path / "a.zip", pixels)
    left = ("__MACOSX/00000/._img00000000.png", "00000/.DS_Store", "Thumbs.db", "00000/desktop.ini", ".git/HEAD")
    with zipfile.ZipFile(path, "a") as archive:
        for name in left:
            archive.writestr(name, b"no image")
        archive.extractall(tmp_path / "folder")
    assert len(load_dataset(str(path))) == len(load_dataset(str(tmp_path / "folder"))) == 6


def test_damage_within_a_zip_and_encryption_are_named(tmp_path: Path, pixels: np.ndarray) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", bytes(1000))
    whole = path.read_bytes()
    start = whole.index(b"a.png") + 5
    path.write_bytes(whole[:start] + b"\xff" + whole[start + 1 :])  # the first byte of the compressed stream
    with pytest.raises(DataError, match=r"'a.png' \(damaged: Error -3 while decompressing"):
        load_dataset(str(path))
    entry = whole.index(b"PK\1\2") + 8  # general purpose flags of the only file, in the directory and before it
    path.write_bytes(whole[:6] + b"\1" + whole[7:entry] + b"\1" + whole[entry + 1 :])
    with pytest.raises(DataError, match=r"'a.png' \(damaged: .*encrypted"):
        load_dataset(str(path))


def test_samples_written_as_zip_or_folder_read_back(tmp_path: Path) -> None:
    x = torch.rand(5, 1, 4, 4) * 2 - 1
    labels = torch.tensor([1, 0, 1, 0, 1])
    expected = ((x + 1) * 127.5).round().to(torch.uint8)
    write_samples(iter(x.split(2)), tmp_path / "s.zip", labels)
    data = load_dataset(str(tmp_path / "s.zip"))
    assert torch.equal(data.values, expected) and torch.equal(data.labels, labels)
    write_samples(iter(x.split(2)), tmp_path / "folder")
    assert torch.equal(load_dataset(str(tmp_path / "folder")).values, expected)
    with pytest.raises(ConfigError, match="not empty"):
        write_samples(iter(x.split(2)), tmp_path / "folder")
    with pytest.raises(ConfigError, match=r"allowed are a \.png"):
        write_samples(iter(x.split(2)), tmp_path / "s.jpg")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["folder", "s.zip"]


def test_samples_written_as_tar_are_numbered_pairs_of_image_and_class(tmp_path: Path) -> None:
    x = torch.rand(5, 3, 4, 6) * 2 - 1
    for name, labels in (("labelled.tar", torch.tensor([1, 0, 12, 0, 1])), ("plain.tar", None)):
        write_samples(iter(x.split(2)), tmp_path / name, labels)
        with tarfile.open(tmp_path / name) as archive:
            files = {member.name: archive.extractfile(member).read() for member in archive}
        assert list(files)[:2] == ["00000000.png", "00000001.png" if labels is None else "00000000.cls"]
        assert len(files) == (5 if labels is None else 10)
        for i in range(5):
            read = torch.from_numpy(np.array(Image.open(io.BytesIO(files[f"{i:08d}.png"])))).permute(2, 0, 1)
            assert torch.equal(read, ((x[i] + 1) * 127.5).round().to(torch.uint8))
            assert labels is None or int(files[f"{i:08d}.cls"]) == labels[i]


def test_hugging_face_data_saved_to_disk(tmp_path: Path, pixels: np.ndarray) -> None:
    datasets = pytest.importorskip("datasets", reason="needs the extra realuid[data]")
    features = datasets.Features({"img": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b"])})
    rows = {"img": [{"bytes": png(image), "path": None} for image in pixels], "label": [0, 1, 0, 1, 0, 1]}
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(str(tmp_path / "hf"))
    data = load_dataset(f"hf:{tmp_path / 'hf'}")
    assert np.array_equal(data.values.permute(0, 2, 3, 1).numpy(), pixels)
    assert data.labels.tolist() == [0, 1, 0, 1, 0, 1] and data.classes == ("a", "b")
    rows["label"][3] = -1  # how test splits without labels come
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(str(tmp_path / "test"))
    with pytest.raises(DataError, match=r"/test' has 1 of 6 samples without a label"):
        load_dataset(f"hf:{tmp_path / 'test'}")


def test_other_columns_of_images_stay_closed(tmp_path: Path) -> None:
    """What is decoded is bounded; a column that nobody asked for is not."""
    datasets = pytest.importorskip("datasets", reason="needs the extra realuid[data]")
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4), "red").save(buffer, "PNG")
    rows = {"img": [{"bytes": buffer.getvalue(), "path": None}] * 2, "mask": [{"bytes": b"no image", "path": None}] * 2}
    kinds = datasets.Features({"img": datasets.Image(), "mask": datasets.Image()})
    datasets.Dataset.from_dict(rows, features=kinds).save_to_disk(str(tmp_path / "hf"))
    data = load_dataset(f"hf:{tmp_path / 'hf'}?image=img")
    assert data.values.shape == (2, 3, 4, 4) and data.values.amax((0, 2, 3)).tolist() == [255, 0, 0]
