"""Metrics of restored images: PSNR against the truth, consistency with the input, classifier accuracy."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from realuid.data import Batch, Dataset, degrade, to_uint8
from realuid.metrics.features import Classifier
from realuid.processes import WHOLE, Part

#: Where an image is restored exactly its PSNR is infinite; this stands for it in the mean, in dB.
_EXACT = 100.0


def psnr(x: Tensor, truth: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of uint8 images, 10 log10(255^2 / MSE), in dB, at most 100: shape (b,)."""
    mse = (x.double() - truth.double()).square().flatten(1).mean(1)
    return (10 * torch.log10(255**2 / mse)).clamp(max=_EXACT)


def inconsistency(x: Tensor, pairs: Batch, data: Dataset) -> Tensor:
    """Mean square of what `x`, degraded again, differs by from its source; in data units, shape (b,).

    Args:
        x: uint8, shape (b, c, h, w).
        pairs: of the b samples.
        data: that they belong to, with a known degradation.
    """
    assert pairs.sources is not None, "pairs"
    again = degrade(x, data.degradation, data.degradation_seed, truth=pairs.values)
    difference = again.double() - pairs.sources.double()
    return (difference / 127.5).square().flatten(1).mean(1)


class Restoration:
    """Compares batches of samples, made under `realuid.on_data.conditions`, with their pairs.

    Args:
        data: images in pairs.
        classifier: of the data's labels, for the share of samples that it takes for the class of the truth.
        part: of several processes, each of which adds its own samples; figures are those of all.
    """

    def __init__(self, data: Dataset, classifier: Classifier | None = None, part: Part = WHOLE):
        self.data, self.classifier, self.part = data, classifier, part
        self._sums: dict[str, float] = {}
        self._count = 0

    @torch.no_grad()
    def add(self, batch: Tensor, which: slice) -> None:
        """Count a batch, float in data units, shape (b, c, h, w); `which` says which samples of the run it holds."""
        index = torch.arange(which.start, which.stop) % len(self.data)
        x, pairs = to_uint8(batch).cpu(), self.data.take(index.to(self.data.values.device))
        values = {"psnr": psnr(x, pairs.values)}
        if self.data.degradation:
            values["inconsistency"] = inconsistency(x, pairs, self.data)
        if self.classifier is not None and pairs.labels is not None:
            device = next(self.classifier.parameters()).device
            values["accuracy"] = (self.classifier.logits(x.to(device)).argmax(1).cpu() == pairs.labels).double()
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0.0) + float(value.sum())
        self._count += len(batch)

    def figures(self) -> dict[str, float]:
        """Means over all samples added: `psnr` in dB; `consistency`, the RMS in data units of the degraded sample
        against its input, where the degradation is known; `accuracy`, where there is a classifier."""
        seen = self.part.in_order([(self._sums, self._count)])
        count, names = sum(n for _, n in seen), [name for sums, _ in seen for name in sums]
        means = {name: sum(sums.get(name, 0.0) for sums, _ in seen) / count for name in names}
        if "inconsistency" in means:
            means["consistency"] = math.sqrt(means.pop("inconsistency"))
        return means
