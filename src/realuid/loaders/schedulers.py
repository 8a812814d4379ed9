"""Path, prediction and preconditioning of a network from the settings of its diffusers scheduler.

Clipping of data predictions is kept for realuid's samplers. Other settings of sampling (spacing, order, shifted or
exponential noise levels) are ignored: they change neither the network's inputs nor its training target.
"""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from typing import Any, NamedTuple, get_args

import diffusers
import torch
from diffusers import DDPMScheduler, SchedulerMixin
from torch import Tensor

from realuid.errors import CheckpointError, unknown_name
from realuid.models import EDM, Clipping, Plain, Preconditioning, Steps
from realuid.models.saving.diffusers_weights import quiet_diffusers
from realuid.paths import DDPMPath, LinearPath, Path, VEPath
from realuid.paths.vp import BetaSchedule
from realuid.reading import is_finite


class Matching(NamedTuple):
    """Everything of a `MatchingModel` but its network."""

    path: Path
    prediction: str
    preconditioning: Preconditioning
    clipping: Clipping | None = None


#: diffusers' `prediction_type` -> ours.
_PREDICTIONS = {"epsilon": "noise_prediction", "v_prediction": "v_prediction", "sample": "data_prediction"}


#: a^2 at the last step of schedules of zero terminal SNR is 0 or 6e-8; ordinary ones have 4e-5.
_NO_SIGNAL = 1e-7
#: Far above the published 1000: a damaged number may ask for a table of billions.
MAX_STEPS = 100_000
#: Settings of sampling that may be infinite.
_INFINITE = ("lambda_min_clipped",)


def read_scheduler(config: dict[str, Any]) -> Matching:
    """The matching model that a scheduler's settings describe.

    Args:
        config: scheduler_config.json; what it leaves out has the defaults of diffusers.

    Raises:
        CheckpointError: for a scheduler or a setting that is not known here.
    """
    scheduler = load_scheduler(config)
    try:
        return _kind_of(scheduler)(scheduler)
    except CheckpointError:
        raise
    except Exception as error:  # the file may say anything
        raise _unusable(type(scheduler).__name__, error) from error


def load_scheduler(config: dict[str, Any]) -> Any:
    """A scheduler of diffusers, once its settings are seen to ask for no more than a table of `MAX_STEPS`.

    Raises:
        CheckpointError: for what is no scheduler, or settings that it cannot use.
    """
    name = str(config.get("_class_name"))
    kind = getattr(diffusers, name, None) if name in dir(diffusers) else None
    if not (isinstance(kind, type) and issubclass(kind, SchedulerMixin)):
        every = [other for other in dir(diffusers) if other.endswith("Scheduler")]  # not the nearest of a few examples
        near = get_close_matches(name[:100], every, 1)
        raise CheckpointError(
            f"unknown scheduler '{name[:100]}'.{f' Did you mean {near[0]!r}?' if near else ''} Allowed: those of "
            f"diffusers, for instance {', '.join(EXAMPLES)}."
        )
    if not is_finite({n: value for n, value in config.items() if n not in _INFINITE}):
        raise CheckpointError(f"the settings of {name} hold a number that is infinite or NaN.")
    steps = config.get("num_train_timesteps", 1000)
    if not isinstance(steps, int) or not 2 <= steps <= MAX_STEPS:
        raise CheckpointError(f"num_train_timesteps = {str(steps)[:30]}: needed is a number from 2 to {MAX_STEPS:,}.")
    try:
        with quiet_diffusers():
            return kind.from_config(config)  # type: ignore[attr-defined]
    except Exception as error:  # the file may say anything
        raise _unusable(name, error) from error


def _unusable(name: str, error: Exception) -> CheckpointError:
    return CheckpointError(f"the settings of {name} cannot be used ({' '.join(str(error).split())[:300]}).")


def _kind_of(scheduler: Any) -> Callable[[Any], Matching]:
    """Which family a scheduler is of, by what it holds rather than by its name: most differ in how they sample only.

    Raises:
        CheckpointError: for one that reads its network in another way.
    """
    name, config = type(scheduler).__name__, scheduler.config
    if name in _OWN:
        return _OWN[name]
    if name in _CONSISTENCY:
        raise CheckpointError(
            f"scheduler '{name}' is of a consistency model, which is a student already, not a denoiser. Pass the "
            "model that it was distilled from."
        )
    if config.get("timestep_type", "discrete") != "discrete":
        raise CheckpointError(
            f"timestep_type = {str(config.timestep_type)[:50]}: networks that are told a logarithm of the noise level "
            "are not supported."
        )
    if config.get("prediction_type") == "flow_prediction" and "use_flow_sigmas" in config:
        return _flow
    if name.startswith("FlowMatch"):
        return _flow
    if getattr(scheduler, "alphas_cumprod", None) is not None:
        return _discrete
    raise CheckpointError(
        f"scheduler '{name}' is not supported. Supported are schedulers with a table of betas, of flow matching and "
        f"EDM's, for instance {', '.join(EXAMPLES)}. If it only samples differently, put the settings of the scheduler "
        "the network was trained with in its place."
    )


def _discrete(scheduler: Any) -> Matching:
    """A DDPM grid: step i lies at t = (i + 1) / n, and the network is told i."""
    config = scheduler.config
    prediction = _named(config.get("prediction_type") or "epsilon", _PREDICTIONS)
    table = tuple(scheduler.alphas_cumprod.double().tolist())
    path = _named_schedule(config, scheduler.alphas_cumprod)
    if path is None:
        if table[-1] < _NO_SIGNAL and prediction == "noise_prediction":
            raise CheckpointError(
                "rescale_betas_zero_snr with prediction_type = epsilon: at the last step nothing of the data is left, "
                "and the noise says nothing about it. If the network was trained on the schedule without that setting, "
                "set it to false in scheduler_config.json."
            )
        path = DDPMPath(num_train_timesteps=len(table), alphas_cumprod=table)
    return Matching(path, prediction, Steps(path.num_train_timesteps), _clipping(config))


def _clipping(config: Any) -> Clipping | None:
    """Limits of data predictions: thresholding, which takes precedence, or clip_sample."""
    if config.get("thresholding"):
        return Clipping(float(config.sample_max_value), float(config.dynamic_thresholding_ratio))
    return Clipping(float(config.get("clip_sample_range", 1.0))) if config.get("clip_sample") else None


def _named_schedule(config: Any, table: Tensor) -> DDPMPath | None:
    """The path of betas of a named schedule; None where the table is another one, whatever the settings say."""
    kind = config.get("beta_schedule")
    if config.get("trained_betas") is not None or kind not in get_args(BetaSchedule):
        return None
    names = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule")
    given = {name: config[name] for name in names if config.get(name) is not None}
    plain: Any = DDPMScheduler(**given)
    its, ours = table.double(), plain.alphas_cumprod.double()
    same = its.shape == ours.shape and torch.allclose(its, ours, rtol=1e-5, atol=0)
    return DDPMPath(**given) if same else None


def _edm(scheduler: Any) -> Matching:
    """EDM's preconditioning, which makes the output a data prediction; 'v_prediction' subtracts that output."""
    config = scheduler.config
    sign = _named(config.prediction_type, {"epsilon": 1.0, "v_prediction": -1.0})
    path = VEPath(config.sigma_min, config.sigma_max, config.rho, sigma_data=config.sigma_data)
    return Matching(path, "data_prediction", EDM(config.sigma_data, sign))


def _flow(scheduler: Any) -> Matching:
    """x_t = (1 - sigma) x_0 + sigma x_T; the network is told n sigma and predicts x_T - x_0."""
    config = scheduler.config
    if config.get("invert_sigmas"):
        raise CheckpointError("invert_sigmas = True: networks whose noise levels are inverted are not supported.")
    return Matching(LinearPath(), "velocity", Plain(float(config.num_train_timesteps)))


def _named(prediction_type: str, table: dict[str, Any]) -> Any:
    if prediction_type not in table:
        raise CheckpointError(unknown_name("prediction_type", str(prediction_type)[:100], table))
    return table[prediction_type]


#: Schedulers of families of their own.
_OWN: dict[str, Callable[[Any], Matching]] = {
    "EDMEulerScheduler": _edm,
    "EDMDPMSolverMultistepScheduler": _edm,
}
_CONSISTENCY = ("LCMScheduler", "TCDScheduler", "FlowMatchLCMScheduler")
#: One of each family, for messages.
EXAMPLES = ("DDPMScheduler", "DDIMScheduler", "EDMEulerScheduler", "FlowMatchEulerDiscreteScheduler")
