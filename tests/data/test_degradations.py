"""Degradations against brute force, pixel by pixel in numpy."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from realuid.data import DEGRADATIONS, DRAWING, degrade
from realuid.errors import DataError

SHAPE = (3, 3, 16, 24)


@pytest.fixture
def images() -> torch.Tensor:
    smooth = torch.nn.functional.interpolate(
        torch.rand(3, 3, 4, 6, generator=torch.Generator().manual_seed(0)), (16, 24)
    )
    noise = torch.rand(SHAPE, generator=torch.Generator().manual_seed(1))
    return (255 * (0.7 * smooth + 0.3 * noise)).to(torch.uint8)


def nearest_level(values: np.ndarray, got: torch.Tensor) -> None:
    """`got` is `values` rounded to whole levels of 0..255 (either way at an exact half)."""
    assert got.dtype == torch.uint8
    assert np.abs(np.clip(values, 0, 255) - got.numpy().astype(float)).max() <= 0.5 + 1e-6


@pytest.mark.parametrize("name", DEGRADATIONS)
def test_sources_are_like_the_images_and_the_same_every_time(name: str, images) -> None:
    before = images.clone()
    sources = degrade(images, name, seed=5)
    assert sources.shape == images.shape and sources.dtype == torch.uint8
    assert torch.equal(images, before) and not torch.equal(sources, images)
    assert torch.equal(degrade(images, name, seed=5), sources)
    assert torch.equal(degrade(images[[2, 0]], name, seed=5), sources[[2, 0]])
    seed_matters = not torch.equal(degrade(images, name, seed=6), sources)
    assert seed_matters == (name in DRAWING)


@pytest.mark.parametrize("factor", [2, 4])
def test_box_super_resolution_repeats_the_means_of_blocks(factor: int, images) -> None:
    expected = np.empty(SHAPE)
    pixels = images.numpy().astype(float)
    for i in range(0, 16, factor):
        for j in range(0, 24, factor):
            block = pixels[:, :, i : i + factor, j : j + factor]
            expected[:, :, i : i + factor, j : j + factor] = block.mean(axis=(2, 3), keepdims=True)
    nearest_level(expected, degrade(images, f"sr-box-{factor}"))


def keys(x: float) -> float:
    """Keys 1981, a = -1/2."""
    x = abs(x)
    if x < 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0.0


def bicubic_matrix(size: int, factor: int) -> np.ndarray:
    """Antialiased: the kernel is as much wider as the image gets smaller, cut at the border and normalised."""
    rows = np.array([[keys((j + 0.5) / factor - (i + 0.5)) for j in range(size)] for i in range(size // factor)])
    return rows / rows.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("factor", [2, 4])
def test_bicubic_super_resolution_is_keys_kernel_and_pillows(factor: int, images) -> None:
    small = np.einsum("ih,bchw,jw->bcij", bicubic_matrix(16, factor), images.numpy(), bicubic_matrix(24, factor))
    got = degrade(images, f"sr-bicubic-{factor}")
    nearest_level(small.repeat(factor, axis=2).repeat(factor, axis=3), got)
    pillow = Image.fromarray(images[0].permute(1, 2, 0).numpy()).resize((24 // factor, 16 // factor), Image.BICUBIC)
    assert np.abs(np.asarray(pillow).astype(int) - got[0, :, ::factor, ::factor].permute(1, 2, 0).numpy()).max() <= 1


def test_the_centre_is_missing(images) -> None:
    sources = degrade(images, "inpaint-centre")
    for i in range(16):
        for j in range(24):
            missing = 4 <= i < 12 and 6 <= j < 18
            expected = torch.full((3, 3), 128, dtype=torch.uint8) if missing else images[:, :, i, j]
            assert torch.equal(sources[:, :, i, j], expected)


def test_free_form_strokes_differ_from_image_to_image_and_leave_most_of_it() -> None:
    images = torch.arange(64, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 32, 32)
    sources = degrade(images, "inpaint-freeform")
    masks = sources == 128
    assert torch.equal(sources, torch.where(masks, torch.tensor(128, dtype=torch.uint8), images))
    assert len({tuple(m.flatten().tolist()) for m in masks}) == 64
    share = masks.float().mean(dim=(1, 2, 3))
    assert 0.1 < share.mean() < 0.4 and share.min() > 0 and share.max() < 0.7
    assert not torch.equal(degrade(images, "inpaint-freeform", seed=1) == 128, masks)
    colour = degrade(images[:2].expand(-1, 3, -1, -1), "inpaint-freeform") == 128
    assert torch.equal(colour[:, :1].expand(-1, 3, -1, -1), colour)


def test_strokes_follow_from_the_truth_alone() -> None:
    """The same for an image wherever it stands, and for what a model made of it; more than one chunk of images."""
    images = torch.randint(0, 100, (1100, 1, 8, 8), generator=torch.Generator().manual_seed(3), dtype=torch.uint8)
    order = torch.randperm(1100, generator=torch.Generator().manual_seed(4))
    sources = degrade(images, "inpaint-freeform", seed=2)
    assert torch.equal(degrade(images[order], "inpaint-freeform", seed=2), sources[order])
    restored = degrade(images + 129, "inpaint-freeform", seed=2, truth=images)
    assert torch.equal(restored == 128, sources == 128)
    assert not torch.equal(degrade(images + 129, "inpaint-freeform", seed=2) == 128, sources == 128)


@pytest.mark.parametrize("quality", [5, 10])
@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_is_pillows(quality: int, channels: int, images) -> None:
    images = images[:, :channels]
    sources = degrade(images, f"jpeg-{quality}")
    for image, source in zip(images, sources, strict=True):
        buffer = io.BytesIO()
        Image.fromarray(image.permute(1, 2, 0).squeeze(-1).numpy()).save(buffer, "JPEG", quality=quality)
        expected = np.array(Image.open(buffer)).reshape(16, 24, channels)
        assert np.array_equal(source.permute(1, 2, 0).numpy(), expected)


@pytest.mark.parametrize("sigma", [1, 2])
def test_blur_is_a_weighted_mean_with_mirrored_borders(sigma: int, images) -> None:
    reach = 3 * sigma
    taps = np.exp(-(np.arange(-reach, reach + 1.0) ** 2) / (2 * sigma**2))
    padded = np.pad(images.numpy().astype(float), ((0, 0), (0, 0), (reach, reach), (reach, reach)), mode="reflect")
    expected = np.zeros(SHAPE)
    for i, u in enumerate(taps / taps.sum()):
        for j, v in enumerate(taps / taps.sum()):
            expected += u * v * padded[:, :, i : i + 16, j : j + 24]
    nearest_level(expected, degrade(images, f"blur-{sigma}"))


def test_grey_is_luma_in_every_channel(images) -> None:
    red, green, blue = images.numpy().astype(float).transpose(1, 0, 2, 3)
    expected = np.repeat((0.299 * red + 0.587 * green + 0.114 * blue)[:, None], 3, axis=1)
    nearest_level(expected, degrade(images, "grey"))


def test_images_a_degradation_is_not_made_for() -> None:
    grey = torch.zeros(2, 1, 6, 6, dtype=torch.uint8)
    with pytest.raises(DataError, match=r"takes the colour from RGB images, but these have 1 channel"):
        degrade(grey, "grey")
    with pytest.raises(DataError, match="6x6 cannot be made 4 times smaller"):
        degrade(grey, "sr-box-4")
    with pytest.raises(DataError, match="too small for a blur of 2 pixels"):
        degrade(grey, "blur-2")
    with pytest.raises(DataError, match="Did you mean 'jpeg-10'"):
        degrade(grey, "jpeg-1O")
