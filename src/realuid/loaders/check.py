"""Checks that a teacher denoises the data of a distillation and, if not, finds its conventions.

Real data is noised to a few levels and denoised in one step, under the declared and all other plausible conventions:
prediction type, direction and scale of time, range of pixel values. The error is compared with that of the best linear
denoiser with the same coefficients for all pixels,

    D(x_t) = m + g (x_t - a m),    g = a v / (a^2 v + n^2),        m the mean image, v the variance around it,

which is never worse than the best constant (g = 0). A network that sees the source x_T of a pair is compared with a
denoiser that does, too: m + s (x_T - m_T) in place of m, s the regression slope of data on source, v the residual
variance, and x_t - b x_T in place of x_t. The conventions with the least error are chosen.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor

from realuid.data import DataLike, Dataset, as_dataset, to_float
from realuid.errors import CheckpointError, ConfigError, PredictionError
from realuid.loaders.readings import Check, Finding, Reading
from realuid.models import EDM, MatchingModel, Plain, Preconditioning, Reversed, model_device
from realuid.models.networks.condition import SOURCE
from realuid.on_data import check_pairs, encode_dataset, read_conditions
from realuid.paths import PREDICTIONS, STACKED, Coefficients, Estimate, check_prediction
from realuid.seeds import stream
from realuid.settings import MOST_SAMPLES, check_kind, check_whole

#: Noise-to-signal ratios, in standard deviations of the data (of pairs, whose source is of the data's size, ratios of
#: all that is not data): where a trivial denoiser has most left to improve. Nearer
#: to data a network that predicts data is at its worst, nearer to noise one that predicts noise, however well trained.
LEVELS = (0.3, 0.55, 1.0, 1.8, 3.0)
#: Ranges of values that networks are trained on: x -> factor x + offset takes [-1, 1] there.
RANGES = {"[-1, 1]": (1.0, 0.0), "[0, 1]": (0.5, 0.5), "[-0.5, 0.5]": (0.5, 0.0), "[0, 255]": (127.5, 127.5)}
_MEAN_OF = 5000
_TINY = 1e-12


@torch.no_grad()
def check_teacher(
    model: MatchingModel, data: DataLike, *, images: int = 64, seed: int = 0, thorough: bool = False
) -> Check:
    """Denoise real data in one step, under the declared conventions and under others.

    Other ranges of values, which cost most, are tried only where the declared reading does not fit, or on demand.

    Args:
        model: the teacher; on its device.
        data: real data, in any form that `realuid.data.as_dataset` takes, of the images the teacher makes; in pairs,
            where it starts from images.
        images: how many are denoised, at each of the `LEVELS`.
        seed: of the images and the noise.
        thorough: try other ranges of values in any case.

    Raises:
        ConfigError: for a number of images below 1, a seed out of range, and data of another shape.
        DataError: for a coupled path without pairs.
        PredictionError: where no data prediction follows from the model's.
    """
    images, seed = check_whole("images", images, 1, MOST_SAMPLES), check_whole("seed", seed, 0, 2**64 - 1)
    check_kind("model", model, MatchingModel)
    data = as_dataset(data)
    if data.shape != model.image_shape:
        raise ConfigError(f"the model makes samples of shape {model.image_shape}, but the data has shape {data.shape}.")
    check_pairs(model, data)
    model.check_space("data_prediction")
    trial = _Trial(model, data, images, seed)
    declared = Reading(model.prediction, model.preconditioning, trial.as_given)
    check = trial.findings(trial.readings(_times(model), [trial.as_given]), declared)
    if thorough or not check.ok:
        check = trial.findings(trial.readings(_times(model), list(trial.ranges)), declared)
    return check


def require_sound(model: MatchingModel, data: Dataset, images: int = 16) -> None:
    """Raise CheckpointError, with the likely cause, where a teacher denoises the data worse than a linear denoiser."""
    check = check_teacher(model, data, images=images)
    if not check.ok:
        raise CheckpointError(
            f"{check.verdict} `realuid check-teacher` says more; to distil nevertheless: "
            "--trust-teacher (trust_teacher = True)."
        )


def _times(model: MatchingModel) -> list[Preconditioning]:
    """Other times a network may have been told; where its inputs are scaled, only as declared."""
    own = model.preconditioning
    if not isinstance(own, Plain):
        return [own]
    scales = dict.fromkeys((own.time_scale, 1.0, 1000.0))
    return [own, *(kind(scale) for scale in scales for kind in (Plain, Reversed))]


@dataclass(frozen=True)
class _Moments:
    """Means, shape (*shape), and what the best linear denoiser needs beside: (co)variances, of all pixels alike.

    Of data and of x_T, which is standard normal where it is no image.
    """

    mean: Tensor
    variance: float
    mean_T: Tensor | float = 0.0
    variance_T: float = 1.0
    covariance: float = 0.0

    @classmethod
    def of_pairs(cls, x_0: Tensor, x_T: Tensor) -> _Moments:
        """Of data and its sources, both of shape (n, *shape)."""
        m, m_T = x_0.mean(dim=0), x_T.mean(dim=0)
        d, d_T = x_0 - m, x_T - m_T
        return cls(m, float(d.square().mean()), m_T, float(d_T.square().mean()), float((d * d_T).mean()))

    def to(self, device: torch.device) -> _Moments:
        """The same on a device."""
        return dataclasses.replace(self, mean=self.mean.to(device), mean_T=torch.as_tensor(self.mean_T).to(device))

    def scaled(self, factor: float, offset: float, pairs: bool) -> _Moments:
        """The same after x -> factor x + offset, which in pairs is done to x_T, too."""
        data = dataclasses.replace(self, mean=factor * self.mean + offset, variance=factor**2 * self.variance)
        if not pairs:
            return data
        return dataclasses.replace(
            data,
            mean_T=factor * self.mean_T + offset,
            variance_T=factor**2 * self.variance_T,
            covariance=factor**2 * self.covariance,
        )

    def denoise(self, x_t: Tensor, k: Coefficients, x_T: Tensor | None) -> Tensor:
        """The best linear estimate of the data from x_t and, where it is seen, x_T."""
        if x_T is None:
            shared = k.a * self.variance + k.b * self.covariance
            variance = k.a * shared + k.b * (k.a * self.covariance + k.b * self.variance_T) + k.c**2
            return self.mean + shared / variance * (x_t - k.a * self.mean - k.b * self.mean_T)
        slope = self.covariance / max(self.variance_T, _TINY)
        guess, left = self.mean + slope * (x_T - self.mean_T), max(self.variance - slope * self.covariance, _TINY)
        return guess + k.a * left / (k.a**2 * left + k.c**2) * (x_t - k.b * x_T - k.a * guess)


class _Trial:
    """A batch of data and noise, and the errors of readings on it."""

    def __init__(self, model: MatchingModel, data: Dataset, images: int, seed: int):
        self.model = model
        order = torch.randperm(len(data), generator=stream(seed, "check"))[: max(images, _MEAN_OF)]
        if model.codec:
            few = encode_dataset(data.subset(order[:images]), model.codec, model_device(model))
            x, self.ranges = few.values[:], {"latents": (1.0, 0.0)}
            if isinstance(scale := model.codec.scale, float) and isinstance(shift := model.codec.shift, float):
                self.ranges["unscaled latents"] = (1 / scale, shift)
        else:
            x, self.ranges = to_float(data.values[order]), RANGES if data.is_image else {"data units": (1.0, 0.0)}
        device = model_device(model)
        self.mean, self.x_0 = x.mean(dim=0).to(device), x[:images].to(device)
        self.variance = float((x - x.mean(dim=0)).square().mean())
        noise = stream(seed, "check noise")
        self.x_T, self.eps = (torch.randn(self.x_0.shape, generator=noise).to(device) for _ in range(2))
        self.moments = _Moments(self.mean, self.variance)
        if model.coupled:
            sources = to_float(data.column(SOURCE)[order])
            self.x_T = sources[:images].to(device)
            self.moments = _Moments.of_pairs(x, sources).to(device)
        read = [spec for spec in model.network.conditions if spec.name != SOURCE]
        self.condition = read_conditions(read, data, order[:images]).to(device)

    @property
    def as_given(self) -> str:
        """The range that data is in."""
        return next(iter(self.ranges))

    def readings(self, preconditionings: list[Preconditioning], ranges: list[str]) -> list[Reading]:
        """Everything a network may predict, with either sign; behind scaled inputs only what was declared."""
        found = []
        for preconditioning in preconditionings:
            plain = isinstance(preconditioning, Plain)
            predictions = [p for p in PREDICTIONS if self._exists(p)] if plain else [self.model.prediction]
            if self.model.prediction in STACKED:
                predictions = [self.model.prediction]
            both = [_with_sign(preconditioning, sign) for sign in (1.0, -1.0)]
            found += [Reading(p, one, values) for values in ranges for one in both for p in predictions]
        return list(dict.fromkeys(found))

    def _exists(self, prediction: str) -> bool:
        path, none = self.model.path, self.x_0[:0]
        x_T = none if self.model.network.sees_source else None
        try:
            check_prediction(prediction, path)
            k = path.coefficients(none.new_zeros(0)).expand(none)
            Estimate(none, prediction, path, k, none, x_T)["data_prediction"]
        except PredictionError:
            return False
        return True

    def findings(self, readings: list[Reading], declared: Reading) -> Check:
        """The errors of all readings; one network call for those that ask alike."""
        errors: dict[Reading, list[float]] = {reading: [] for reading in readings}
        trivial: dict[str, list[float]] = {}
        pictures = []
        for values in dict.fromkeys(reading.values for reading in readings):
            factor, offset = self.ranges[values]
            x_0, moments = factor * self.x_0 + offset, self.moments.scaled(factor, offset, self.model.coupled)
            x_T = factor * self.x_T + offset if self.model.coupled else self.x_T
            for level in LEVELS:
                ratio = level if self.model.coupled else level * moments.variance**0.5
                t = torch.full((len(x_0),), self.model.path.time_at_noise_ratio(ratio), device=x_0.device)
                x_t, k = self.model.path.sample(x_0, x_T, t, self.eps)
                seen = x_T if self.model.network.sees_source else None
                trivial.setdefault(values, []).append(_mean_square(moments.denoise(x_t, k, seen) - x_0))
                raw: dict[Preconditioning, Tensor] = {}
                for reading in readings:
                    if reading.values == values:
                        denoised = self._denoise(reading, x_t, k, seen, raw)
                        errors[reading].append(_mean_square(denoised - x_0))
                        if reading == declared:
                            pictures += [x_t[:8], denoised[:8]]
        found = {r: Finding(r, tuple(errors[r]), tuple(trivial[r.values])) for r in readings}
        shown = torch.cat(pictures)
        shown = self.model.codec.decode(shown) if self.model.codec else shown
        ordered = tuple(sorted(found.values(), key=lambda finding: finding.score))
        return Check(found[declared], ordered, shown.cpu(), len(pictures[0]))

    def _denoise(
        self,
        reading: Reading,
        x_t: Tensor,
        k: Coefficients,
        x_T: Tensor | None,
        raw: dict[Preconditioning, Tensor],
    ) -> Tensor:
        scales = reading.preconditioning.scales(k)
        asked = _with_sign(reading.preconditioning, 1.0)
        if asked not in raw:
            condition = self.condition.replace(source=x_T)
            raw[asked] = self.model.network(scales.into * x_t, scales.time.flatten(), condition).to(x_t.dtype)
        skipped = torch.cat([x_t] * self.model.heads, dim=1)
        value = scales.skip * skipped + scales.out * raw[asked]
        return Estimate(value, reading.prediction, self.model.path, k, x_t, x_T)["data_prediction"]


def _with_sign(preconditioning: Preconditioning, sign: float) -> Preconditioning:
    """The same with the network's output counted positive or negative, where it has that choice."""
    return (
        dataclasses.replace(preconditioning, sign=sign) if isinstance(preconditioning, Plain | EDM) else preconditioning
    )


def _mean_square(x: Tensor) -> float:
    return float(x.double().square().mean())
