"""Data as people have it in Python."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import small_teacher
from PIL import Image
from stored import stored

import realuid
from realuid.data import Dataset, as_dataset
from realuid.errors import DataError
from realuid.training import DistillConfig

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)
VALUES = torch.from_numpy(PIXELS).permute(0, 3, 1, 2)


class Items(torch.utils.data.Dataset):
    def __init__(self, items: list, **attributes):
        self.items = items
        self.__dict__.update(attributes)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int):
        return self.items[index]


IMAGES = [Image.fromarray(pixels) for pixels in PIXELS]
WITH_CLASSES = list(zip(IMAGES, [0, 1, 1, 0, 2, 2], strict=True))
FORMS = {
    "tensor": VALUES,
    "array": VALUES.numpy(),
    "list": IMAGES,
    "torch": Items(IMAGES),
    "torch, tensors": Items(list(VALUES)),
    "pair": (VALUES, torch.tensor([0, 1, 1, 0, 2, 2])),
    "torch, classes": Items(WITH_CLASSES),
    "torch, named": Items(WITH_CLASSES, classes=["cat", "dog", "owl"]),
    "list, classes": WITH_CLASSES,
}


@pytest.mark.parametrize("form", FORMS)
def test_all_forms_are_the_same_data(form: str) -> None:
    data = as_dataset(FORMS[form])
    assert torch.equal(data.values, VALUES) and data.values.dtype == torch.uint8
    labelled = form == "pair" or ("," in form and "tensors" not in form)
    assert (data.labels is None) != labelled
    if labelled:
        assert data.labels.tolist() == [0, 1, 1, 0, 2, 2]
        assert data.classes == (("cat", "dog", "owl") if "named" in form else ("0", "1", "2"))


def test_grey_images_have_one_channel_and_originals_stay_as_they_are() -> None:
    image = Image.fromarray(PIXELS[0, ..., 0])
    image.getexif()[0x0112] = 6  # to be turned
    assert as_dataset([image, image]).shape == (1, 8, 8)
    assert image.getexif()[0x0112] == 6


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ([IMAGES[0], IMAGES[1].resize((9, 6))], r"item 1 is 9x6 with 3 .* item 0 8x8 with 3 .*resolution=\.\.\."),
        ([IMAGES[0], IMAGES[1].convert("L")], r"item 1 is 8x8 with 1 channel"),
        ([IMAGES[0], "b.png"], r"item 1 of 'data' is a str"),
        ([(IMAGES[0], 1), IMAGES[1]], "have to be samples, or"),
        ([], "holds no samples"),
        (7, "data is a int. Allowed are"),
        (iter(IMAGES), "data is a list_iterator"),
        (VALUES[0], r"uint8 images of shape \(3, 8, 8\)"),
        ((VALUES, torch.rand(6)), "labels of 'data' are torch.float32"),
    ],
    ids=["size", "mode", "text", "some classes", "empty", "number", "iterator", "one image", "labels"],
)
def test_what_is_no_data_is_said_in_one_line(data, says: str) -> None:
    with pytest.raises(DataError, match=says):
        as_dataset(data)


def test_the_python_interface_takes_them(tmp_path) -> None:
    config = DistillConfig(updates=1, batch=2, fake_updates=1, sample_every=0, device="cpu")
    images = [Image.fromarray(pixels[..., 0]) for pixels in PIXELS]
    options = {"config": config, "trust_teacher": True}
    one = realuid.distill(small_teacher(), images, out=tmp_path / "a", **options)
    two = realuid.distill(small_teacher(), VALUES[:, :1], out=tmp_path / "b", **options)
    same = zip(one.parameters(), two.parameters(), strict=True)
    assert all(torch.equal(first, second) for first, second in same)


@pytest.mark.parametrize("where", ["memory", "stored"])
def test_one_sample(where: str) -> None:
    data = Dataset(VALUES, torch.arange(6), "d", tuple("abcdef"), 255 - VALUES, columns={"vector": torch.eye(6)})
    data = stored(data) if where == "stored" else data
    for number in (2, -4):
        sample = data[number]
        assert list(sample) == ["values", "label", "source", "vector"] and sample["label"] == 2
        assert torch.equal(sample["values"], VALUES[2]) and torch.equal(sample["source"], 255 - VALUES[2])
        assert torch.equal(sample["vector"], torch.eye(6)[2])
    with pytest.raises(IndexError, match="has 6 samples, and none of number 6"):
        data[6]
    assert len(list(data)) == 6 and list(Dataset(VALUES)[0]) == ["values"]


def test_a_data_set_is_shown_in_one_line() -> None:
    data = Dataset(VALUES, torch.arange(6) % 2, "pets", ("cat", "dog"), 255 - VALUES)
    assert repr(data) == str(data) == "Dataset 'pets': 6 images of shape (3, 8, 8), 2 classes, in pairs"
    assert repr(SimpleNamespace(data=stored(data))) == f"namespace(data={data!r})"
