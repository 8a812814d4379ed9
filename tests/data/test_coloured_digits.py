"""Coloured digits with captions: combinations held out, captions, colours, and colours read back from pixels."""

from __future__ import annotations

import itertools

import pytest
import torch

from realuid.data import load_dataset
from realuid.data.coloured_digits import (
    COLOURS,
    DIGITS,
    GROUNDS,
    INKS,
    caption,
    colour,
    combination,
    held_out_captions,
    read_colours,
)
from realuid.errors import DataError


def test_a_sixth_of_the_combinations_is_held_out_and_all_of_their_parts_are_seen() -> None:
    train, other = load_dataset("coloured-digits"), load_dataset("coloured-digits:held-out")
    seen, unseen = set(train.captions), set(other.captions)
    assert (len(seen), len(unseen), seen & unseen) == (300, 60, set()) and unseen == set(held_out_captions())
    triples = [combination(str(text)) for text in seen]
    for i, j in ((0, 1), (0, 2), (1, 2)):  # every pair of parts occurs in training
        sizes = (len(DIGITS), len(COLOURS), len(COLOURS))
        assert {(t[i], t[j]) for t in triples} == set(itertools.product(range(sizes[i]), range(sizes[j])))
    assert len(train) + len(other) == 1797 * 36 and len(other) == 1797 * 6


def test_images_show_what_their_captions_say() -> None:
    data = load_dataset("coloured-digits")
    assert data.shape == (3, 8, 8)
    batch = data.take(slice(0, 2000))
    triples = torch.tensor([combination(str(text)) for text in data.captions[:2000]])
    assert torch.equal(batch.labels, triples[:, 0])
    ink, ground = read_colours(batch.values)
    assert torch.equal(ink, triples[:, 1]) and torch.equal(ground, triples[:, 2])


def test_every_pair_of_colours_is_read_from_noisy_pixels() -> None:
    """Nine pixels of ground and four of ink, by hand, with noise of 8 of 255."""
    ink, ground = torch.cartesian_prod(torch.arange(6), torch.arange(6)).unbind(1)
    images = GROUNDS[ground][:, :, None, None].repeat(1, 1, 4, 4)
    images[:, :, 1:3, 1:3] = INKS[ink][:, :, None, None]
    noisy = images + 8 * torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    found = read_colours(noisy.clamp(0, 255).to(torch.uint8))
    assert torch.equal(found[0], ink) and torch.equal(found[1], ground)


def test_colours_are_mixed_by_the_grey_value() -> None:
    grey = torch.tensor([0, 51, 255], dtype=torch.uint8).view(1, 1, 1, 3)
    found = colour(grey, torch.tensor([1]), torch.tensor([4]))[0, :, 0].T.tolist()
    assert found == [[0, 0, 128], [51, 48, 122], [255, 240, 96]]


def test_captions_and_combinations_are_inverse() -> None:
    assert caption(7, 0, 4) == "a red seven on blue" and combination("a red seven on blue") == (7, 0, 4)
    with pytest.raises(DataError, match="'a seven' is no caption of coloured-digits"):
        combination("a seven")
