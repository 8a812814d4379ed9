"""Figures of restored pairs against loops over pixels."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from realuid.data import Dataset, degrade, to_float
from realuid.metrics import Classifier, Restoration
from realuid.metrics.restoration import psnr


@pytest.fixture(params=[0, 7])
def data(request: pytest.FixtureRequest) -> Dataset:
    """Five pairs, and where the masks have a seed of their own, the last five of six."""
    more = bool(request.param)
    values = torch.randint(0, 256, (5 + more, 1, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    sources, labels = degrade(values, "inpaint-freeform", request.param), torch.arange(5 + more) % 3
    whole = Dataset(values, labels, "x", tuple("012"), sources, "inpaint-freeform", request.param)
    return whole.subset(slice(int(more), None))


def test_psnr_is_the_textbooks() -> None:
    truth = torch.zeros(2, 1, 2, 2, dtype=torch.uint8)
    x = truth.clone()
    x[0, 0, 0, 0] = 10
    assert psnr(x, truth).tolist() == pytest.approx([10 * math.log10(255**2 / (100 / 4)), 100.0])


def test_samples_are_compared_with_the_pairs_they_were_made_for(data) -> None:
    """Twelve samples in uneven batches go round the five pairs; masks are those of each pair's truth."""
    torch.manual_seed(0)
    noise = torch.randint(-20, 21, (12, 1, 8, 8))
    x = (data.values[torch.arange(12) % 5].int() + noise).clamp(0, 255).to(torch.uint8)
    classifier = Classifier((1, 8, 8), 3).eval()
    restoration = Restoration(data, classifier)
    for which in (slice(0, 5), slice(5, 9), slice(9, 12)):
        restoration.add(to_float(x)[which], which)

    snr, square, hits = [], [], []
    for i in range(12):
        truth, source = data.values[i % 5].numpy().astype(float), data.sources[i % 5].numpy().astype(float)
        got = x[i].numpy().astype(float)
        snr.append(10 * math.log10(255**2 / ((got - truth) ** 2).mean()))
        mask = data.sources[i % 5] != data.values[i % 5]  # brush strokes (but for pixels that were 128 already)
        again = np.where(mask.numpy(), 128.0, got)
        square.append((((again - source) / 127.5) ** 2).mean())
        hits.append(float(classifier.logits(x[i : i + 1]).argmax() == data.labels[i % 5]))
    figures = restoration.figures()
    assert figures["psnr"] == pytest.approx(np.mean(snr), rel=1e-9)
    assert figures["accuracy"] == pytest.approx(np.mean(hits))
    assert figures["consistency"] == pytest.approx(math.sqrt(np.mean(square)), rel=0.1)
    perfect = Restoration(data)
    perfect.add(to_float(data.values), slice(0, len(data)))
    assert perfect.figures() == {"psnr": 100.0, "consistency": 0.0}
