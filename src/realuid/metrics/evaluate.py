"""Frechet and kernel distance, precision and recall of a stream of samples, from one generation pass."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance

from realuid.compat import feature_sums, set_feature_sums
from realuid.data import Dataset, to_uint8
from realuid.data.pixels import require_finite
from realuid.errors import DataError
from realuid.metrics.cache import read_cached, write_cached
from realuid.metrics.features import FeatureExtractor
from realuid.metrics.manifold import precision_recall
from realuid.metrics.points import sliced_wasserstein
from realuid.processes import WHOLE, Part
from realuid.seeds import mix, seeded, stream

#: Kernel distance, precision and recall compare at most this many samples of either side.
_KEPT = 10_000
#: As many samples the nearest neighbours of precision and recall need.
_FEWEST = 5
#: Part of the cache's keys; to be raised when what is cached changes.
_STATISTICS_VERSION = 3


@dataclass(frozen=True)
class Scores:
    """Distances of samples to data; lower is better for fd and kid, higher for precision and recall."""

    fd: float
    kid: float
    precision: float
    recall: float
    samples: int
    #: Root mean square distance of two samples in feature space, as a share of that of two real ones.
    diversity: float = dataclasses.field(default=float("nan"), compare=False)
    #: Of points: `sliced_wasserstein`; NaN for images.
    sliced: float = dataclasses.field(default=float("nan"), compare=False)

    def to_dict(self) -> dict:
        """Plain numbers for JSON."""
        return dataclasses.asdict(self)


def spread(fid: FrechetInceptionDistance, of: str) -> float:
    """Half the mean squared distance of two samples in feature space: the trace of the features' covariance.

    Args:
        fid: after its updates.
        of: 'real' or 'fake'.
    """
    total, products, count = (value.double() for value in feature_sums(fid, of).values())
    return max(0.0, float((products.trace() - total.square().sum() / count) / (count - 1)))  # rounding, of equal ones


class _Features(nn.Module):
    """Lets torchmetrics' distances take features that are extracted already, so that one pass serves all of them."""

    def __init__(self, num_features: int):
        super().__init__()
        self.num_features = num_features

    def forward(self, x: Tensor) -> Tensor:
        return x


class Evaluator:
    """Compares samples with one data set in one feature space; the data's statistics are computed once and cached.

    Args:
        data: the real data.
        extractor: the feature space.
        device: where features are computed.

    Raises:
        DataError: for fewer than five samples.
    """

    def __init__(self, data: Dataset, extractor: FeatureExtractor, device: torch.device | str = "cpu"):
        if len(data) < _FEWEST:
            raise DataError(f"'{data.name}' has {len(data)} samples: to compare with, at least {_FEWEST} are needed.")
        self.data, self.device = data, torch.device(device)
        self.extractor = extractor.to(self.device).eval()
        self.reference = self._reference()

    def describe(self) -> dict[str, Any]:
        """What belongs to every figure: the feature extractor, and what the distances in its features are called."""
        fd, kid = self.extractor.distances
        return {"extractor": self.extractor.key, "distances": {"fd": fd, "kid": kid}}

    @torch.no_grad()
    def features(self, x: Tensor) -> Tensor:
        """Features of float samples in data units (or of uint8 images), shape (b, num_features), on the CPU.

        Raises:
            NonFiniteError: for samples with NaN or infinite numbers.
        """
        if x.dtype != torch.uint8:
            x = to_uint8(x) if self.data.is_image else require_finite(x)
        return self.extractor(x.to(self.device)).float().cpu()

    def _reference(self) -> dict[str, Tensor]:
        key = f"statistics{_STATISTICS_VERSION}-{self.data.fingerprint()}-{self.extractor.key}"
        if (known := read_cached(key)) is not None:
            return known
        fid = self._fid()
        kept = []
        for start in range(0, len(self.data), 500):
            features = self.features(self.data.values[start : start + 500])
            fid.update(features, real=True)
            kept.append(features)
        chosen = torch.randperm(len(self.data), generator=stream(0, "reference"))[:_KEPT]
        reference = {
            **feature_sums(fid, "real"),
            "features": torch.cat(kept)[chosen],
        }
        write_cached(key, reference)
        return reference

    def _fid(self) -> FrechetInceptionDistance:
        return FrechetInceptionDistance(feature=_Features(self.extractor.num_features), sync_on_compute=False)

    def score(self, samples: Iterable[Tensor], full: bool = True, seed: int = 0, part: Part = WHOLE) -> Scores:
        """Score a stream of batches.

        Args:
            samples: float batches in data units, shape (b, *shape).
            full: also compute kid, precision and recall (NaN otherwise).
            seed: of the subsets that the kernel distance draws.
            part: of several processes, each of which passes its own batches; all are scored together, on all alike.
        """
        return self.score_each(([batch] for batch in samples), 1, full, seed, part)[0]

    def score_each(
        self,
        samples: Iterable[Sequence[Tensor]],
        kinds: int,
        full: bool = True,
        seed: int = 0,
        part: Part = WHOLE,
    ) -> list[Scores]:
        """Score several kinds of samples that come together, such as those after 1, 2, ... calls of a student.

        Args:
            samples: for every batch one tensor of each kind.
            kinds: how many.
            full, seed, part: as in `score`.
        """
        fids, kept = [self._fid_against_data() for _ in range(kinds)], [list[Tensor]() for _ in range(kinds)]
        for batch in samples:
            for fid, own, x in zip(fids, kept, batch, strict=True):
                features = self.features(x)
                if sum(map(len, own)) * part.world < _KEPT:
                    own.append(features)
                fid.update(features, real=False)
        return [self._scores(fid, own, full, seed, part) for fid, own in zip(fids, kept, strict=True)]

    def _fid_against_data(self) -> FrechetInceptionDistance:
        fid = self._fid()
        set_feature_sums(fid, "real", self.reference)
        fid.update(self.reference["features"][:0], real=False)  # of many processes one may have no batch at all
        return fid

    def _scores(self, fid: FrechetInceptionDistance, kept: list[Tensor], full: bool, seed: int, part: Part) -> Scores:
        set_feature_sums(fid, "fake", {name: part.total(n) for name, n in feature_sums(fid, "fake").items()})
        kid = precision = recall = sliced = float("nan")
        if full:
            generated = torch.cat(part.in_order(kept))[:_KEPT]
            kid = self._kid(generated, seed)
            precision, recall = precision_recall(self.reference["features"], generated)
            if not self.data.is_image and len(self.data.shape) == 1:
                sliced = sliced_wasserstein(self.reference["features"], generated)
        samples = int(fid.fake_features_num_samples)
        diversity = (spread(fid, "fake") / max(spread(fid, "real"), 1e-12)) ** 0.5
        return Scores(float(fid.compute()), kid, precision, recall, samples, diversity, sliced)

    def distance(self, first: Tensor, second: Tensor) -> float:
        """FD between two sets of real samples, uint8 images or float points."""
        return self.distance_of_features(self.features_of(first), self.features_of(second))

    def features_at(self, index: Tensor) -> Tensor:
        """Features of the data's samples of these numbers, shape (n, num_features), on the CPU."""
        return torch.cat([self.features(self.data.values[part]) for part in index.split(500)])

    def features_of(self, x: Tensor) -> Tensor:
        """Features of a whole set of samples, shape (n, num_features), on the CPU."""
        return torch.cat([self.features(part) for part in x.split(500)])

    def distance_of_features(self, first: Tensor, second: Tensor) -> float:
        """FD between two sets of features, shapes (n, num_features) and (m, num_features)."""
        fid = self._fid()
        fid.update(first, real=True)
        fid.update(second, real=False)
        return float(fid.compute())

    def score_of_features(self, features: Tensor) -> float:
        """FD between a set of features, shape (n, num_features), and the data."""
        fid = self._fid_against_data()
        fid.update(features, real=False)
        return float(fid.compute())

    def _kid(self, generated: Tensor, seed: int) -> float:
        real = self.reference["features"]
        with warnings.catch_warnings(), seeded(mix(seed, "kid")):
            warnings.simplefilter("ignore")  # that features are buffered is what is wanted
            size = min(1000, len(real), len(generated))
            kid = KernelInceptionDistance(
                feature=_Features(self.extractor.num_features), subsets=50, subset_size=size, sync_on_compute=False
            )
            kid.update(real.double(), real=True)
            kid.update(generated.double(), real=False)
            return float(kid.compute()[0])
