from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from realuid.data import Dataset, Order, load_dataset, random_flip, to_float, to_uint8
from realuid.errors import DataError, NonFiniteError


def test_uint8_and_float_are_inverse_to_each_other() -> None:
    levels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    x = to_float(levels)
    assert x.min() == -1 and x.max() == 1
    assert torch.equal(to_uint8(x), levels)


@pytest.mark.parametrize(("free", "moved"), [(1000, True), (999, False)])
def test_data_that_would_fill_the_device_stays_where_it_is(free: int, moved: bool, monkeypatch) -> None:
    """500 bytes of images; a stand-in for CUDA, whose memory is what it says."""
    data = Dataset(torch.zeros(5, 1, 10, 10, dtype=torch.uint8))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, 10**6))
    monkeypatch.setattr(Dataset, "to", lambda self, device: (self, device))
    device = torch.device("cuda")
    assert data.near(device) == ((data, device) if moved else data)
    assert data.near(torch.device("cpu")) == (data, torch.device("cpu"))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_to_uint8_refuses_what_is_no_image(value: float) -> None:
    x = torch.zeros(5, 1, 2, 2)
    x[1, 0, 0, 0] = x[4, 0, 1, 1] = value
    with pytest.raises(NonFiniteError, match="2 of 5 samples hold NaN or infinite"):
        to_uint8(x)


def test_to_uint8_rounds_to_nearest_and_clamps() -> None:
    x = torch.tensor([[[[-2.0, 2.0, 100.4 / 127.5 - 1, 100.6 / 127.5 - 1]]]])
    assert to_uint8(x).flatten().tolist() == [0, 255, 100, 101]


def test_flip_mirrors_exactly_the_chosen_images() -> None:
    x = torch.arange(2 * 1 * 2 * 3.0).view(2, 1, 2, 3)
    flipped = random_flip(x, torch.tensor([0.4, 0.6]))
    assert np.array_equal(flipped[0, 0].numpy(), x[0, 0].numpy()[:, ::-1])
    assert torch.equal(flipped[1], x[1])


def test_every_epoch_is_a_permutation_and_positions_do_not_depend_on_batches() -> None:
    order = Order(10, seed=3)
    first = order.indices(0, 10)
    assert sorted(first.tolist()) == list(range(10))
    assert sorted(order.indices(10, 10).tolist()) == list(range(10))
    assert first.tolist() != order.indices(10, 10).tolist()
    by_threes = torch.cat([Order(10, seed=3).indices(3 * i, 3) for i in range(7)])
    assert torch.equal(by_threes, torch.cat([first, order.indices(10, 10), order.indices(20, 10)])[:21])
    assert Order(10, seed=4).indices(0, 10).tolist() != first.tolist()


def test_a_batch_larger_than_the_data_is_refused() -> None:
    with pytest.raises(DataError, match=r"batch of 11 is larger than the data \(10 samples\)"):
        Order(10, seed=0).indices(0, 11)


def test_digits_are_those_of_scikit_learn() -> None:
    from sklearn.datasets import load_digits

    data = load_dataset("digits")
    bunch = load_digits()
    assert data.values.shape == (1797, 1, 8, 8) and data.num_classes == 10
    sixteenths = (data.values.float() * 16 / 255).round()[:, 0]
    ours = sorted((tuple(x.flatten().int().tolist()), int(y)) for x, y in zip(sixteenths, data.labels, strict=True))
    theirs = sorted(
        (tuple(x.astype(int).ravel().tolist()), int(y)) for x, y in zip(bunch.images, bunch.target, strict=True)
    )
    assert ours == theirs


@pytest.mark.parametrize("name", ["gaussians", "moons", "checkerboard", "spiral"])
def test_toys_are_centred_with_about_unit_scale(name: str) -> None:
    data = load_dataset(f"toy:{name}")
    assert data.values.shape == (20_000, 2) and not data.is_image
    assert data.values.mean(0).abs().max() < 0.1
    assert 0.5 < data.values.std() < 1.5
    assert set(data.labels.tolist()) == set(range(data.num_classes))


def test_fingerprint_sees_values_and_labels(digits) -> None:
    assert digits.fingerprint() == load_dataset("digits").fingerprint()
    assert digits.without_labels().fingerprint() != digits.fingerprint()
    assert digits.subset(slice(0, 1796)).fingerprint() != digits.fingerprint()


def test_captions_without_embeddings_say_what_makes_them() -> None:
    data = Dataset(torch.zeros(2, 1, 4, 4, dtype=torch.uint8), name="photos", captions=["a", "b"])
    with pytest.raises(DataError, match=r"'photos' has no column 'text'.* by `realuid prepare SOURCE OUT --teacher"):
        data.column("text")
    for other, name in ((data, "vector"), (dataclasses.replace(data, captions=()), "text")):
        with pytest.raises(DataError, match=rf"no column '{name}', which the model reads\. Pass other data"):
            other.column(name)
