"""Sections of a recipe besides training: data, path, evaluation, sweep."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from realuid.errors import ConfigError, unknown_name
from realuid.settings import MOST_SAMPLES, MOST_STEPS, are_checked, check_range, check_types
from realuid.training import DistillConfig

if TYPE_CHECKING:
    from realuid.data import Dataset
    from realuid.models import Preconditioning
    from realuid.paths import Path as MatchingPath


@dataclass(frozen=True)
class DataConfig:
    """Data and its preprocessing."""

    #: 'digits', 'toy:NAME', 'hf:NAME', a folder of images, a zip in the EDM layout, a tar, or a folder (read from disk)
    #: written by `realuid prepare` or by `save_to_disk` of Hugging Face's datasets.
    source: str = "digits"
    #: Convert images to 1 (grey) or 3 (RGB) channels. None: unchanged.
    channels: int | None = None
    #: Side length to crop and resize images to. None: unchanged.
    resolution: int | None = None
    #: Use class labels: teacher and student are class-conditional.
    conditional: bool = False
    #: Sources of the pairs, for coupled paths: a degradation (sr-box-4, inpaint-centre, jpeg-5, blur-1, grey, ...), or
    #: a folder or zip of images with the same names as the data. None: as the data provides.
    pairs: str | None = None
    #: Seed of random degradations (inpaint-freeform).
    pairs_seed: int = 0
    #: Skip images that cannot be read instead of raising an error.
    skip_damaged: bool = False
    #: Condition teacher and student on the data's captions as this encoder reads them: 'words' (fixed embeddings), or
    #: what `realuid prepare --prompt-encoder` takes. None: as `realuid prepare` wrote them, if it did.
    prompt_encoder: str | None = None

    def __post_init__(self) -> None:
        check_types(self)

    def load(self) -> Dataset:
        """The data itself."""
        from realuid.data import load_dataset

        how = (self.channels, self.resolution, self.pairs, self.pairs_seed, self.skip_damaged)
        data = load_dataset(self.source, *how)
        if self.prompt_encoder is None:
            return data
        from realuid.loaders.prompts import load_prompt_encoder
        from realuid.on_data.prompts import with_embeddings

        return with_embeddings(data, load_prompt_encoder(self.prompt_encoder))


@dataclass(frozen=True)
class PathConfig:
    """The matching model's path."""

    #: Name of the path.
    name: str = "linear"
    #: Prediction type of the network. None: the path's default.
    prediction: str | None = None
    #: Settings of the path, for instance a noise level; they differ between paths.
    settings: Annotated[dict[str, bool | float | str], tyro.conf.FlagConversionOff] = field(default_factory=dict)
    #: Preconditioning: plain (none), edm, vp, ve, ... None: the path's default (edm on path ve, else plain).
    preconditioning: str | None = None
    #: Whether networks are given x_T on coupled paths.
    sees_source: bool = True

    def __post_init__(self) -> None:
        check_types(self)
        if are_checked():
            self._check()

    def _check(self) -> None:
        from realuid.models import check_preconditioning
        from realuid.paths import check_prediction

        path = self.build()
        prediction = check_prediction(self.prediction or path.default_prediction, path)
        if (preconditioning := self.make_preconditioning()) is not None:
            check_preconditioning(preconditioning, prediction, path)
        if not self.sees_source and not path.coupled:
            raise ConfigError(
                f"path.sees_source = False: path '{self.name}' starts from noise, so there is no source to see. Leave "
                "it out, or choose a coupled path."
            )

    def build(self) -> MatchingPath:
        """The path itself."""
        from realuid.paths import make_path

        return make_path(self.name, **self.settings)

    def make_preconditioning(self) -> Preconditioning | None:
        """The given preconditioning with the path's settings; None: the path's default."""
        from realuid.models import preconditioning_on

        return None if self.preconditioning is None else preconditioning_on(self.build(), self.preconditioning)

    def in_full(self) -> PathConfig:
        """The same with all settings of the path."""
        from realuid.paths import path_class

        fields = dataclasses.fields(path_class(self.name))
        defaults = {f.name: f.default for f in fields if isinstance(f.default, bool | int | float | str)}
        return dataclasses.replace(self, settings={**defaults, **self.settings})


@dataclass(frozen=True)
class EvaluateConfig:
    """Evaluation of finished models."""

    #: Feature space: 'classifier' is trained on the given data, 'efficientnet' needs realuid[effnet], 'inception'
    #: realuid[fid].
    extractor: Literal["classifier", "inception", "efficientnet"] = "classifier"
    #: Local copy of torch-fidelity's Inception weights; None downloads them.
    inception_weights: str | None = None
    #: Number of samples of one evaluation.
    samples: int = 10_000
    #: Number of independent evaluations; mean and standard deviation are reported.
    seeds: int = 3
    #: Sampling steps of a teacher.
    steps: int = 50
    #: Sampler of a teacher: ddim, euler, heun, ancestral, dpm_solver, sde, or sde:0.5 (half the diffusion coefficient).
    #: None: its path's default.
    sampler: str | None = None
    #: Scale of classifier-free guidance of a teacher; 1: no guidance. None: the usual one of a text-to-image pipeline,
    #: else 1.
    guidance: float | None = None
    #: Keep a teacher's data predictions within limits while sampling. None: as its diffusers scheduler does.
    clip: bool | None = None
    #: Prompts of text-to-image models to measure: data whose captions they are, or a text file with one in every line.
    #: Empty: captions of the training data, at most 500 (`realuid evaluate`: none).
    prompts: str = ""
    #: Images of every prompt.
    per_prompt: int = 10
    #: Space in which images and captions are compared: 'small' is trained on the given data, 'efficientnet' on features
    #: of its images (needs realuid[effnet]); or a folder or Hub id of a CLIP model (needs realuid[text]).
    joint: str = "small"

    def __post_init__(self) -> None:
        check_types(self)
        if self.sampler is not None and are_checked():
            from realuid.sampling import find_sampler

            find_sampler(self.sampler)
        if self.inception_weights is not None and self.extractor != "inception":
            raise ConfigError(
                f"inception_weights = {self.inception_weights} with extractor = {self.extractor}: only 'inception' "
                "reads them. Leave them out, or set extractor = inception."
            )
        check_range(self, f"[5, {MOST_SAMPLES}]", "samples")
        check_range(self, f"[1, {MOST_STEPS}]", "steps")
        check_range(self, "[1, inf)", "seeds")
        check_range(self, "[2, inf)", "per_prompt")


@dataclass(frozen=True)
class SweepConfig:
    """The settings that a sweep compares."""

    #: Values of alpha; in a random search its smallest and largest value.
    alpha: tuple[float, ...] = (0.92, 0.96, 1.0)
    #: Values of beta / alpha; in a random search its smallest and largest value.
    ratio: tuple[float, ...] = (0.96, 0.98, 1.0, 1.02, 1.04)
    #: Names and values of further settings of `distill`.
    others: dict[str, tuple[float, ...]] = field(default_factory=dict)
    #: Number of runs of every setting, with different seeds.
    seeds: int = 1
    #: Search all combinations, or random ones.
    search: Literal["grid", "random"] = "grid"
    #: Number of settings in a random search.
    trials: int = 20
    #: Stop a trial whose best quick FD so far is more than this many times the median of the others at the same update.
    #: 0: never.
    hopeless: float = 2.0
    #: Trials are not stopped before this fraction of their updates.
    patience: float = 0.25

    def __post_init__(self) -> None:
        check_types(self)
        check_range(self, "[1, inf)", "seeds", "trials")
        check_range(self, "[0, 1]", "patience")
        if self.hopeless and self.hopeless < 1:
            raise ConfigError(f"sweep.hopeless = {self.hopeless}: must be at least 1, or 0 for never.")
        if not self.alpha or not self.ratio:
            raise ConfigError("sweep.alpha and sweep.ratio need at least one value each.")
        allowed = {f.name for f in dataclasses.fields(DistillConfig)} - {"alpha", "beta", "seed"}
        for name in self.others:
            if name not in allowed:
                raise ConfigError(f"sweep.others: {unknown_name('setting', name, allowed)}")
