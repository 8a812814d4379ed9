"""Construction and checks of objectives from the names and numbers of a configuration."""

from __future__ import annotations

import dataclasses
from typing import Any, TypedDict, Unpack, get_args

from realuid.errors import ConfigError, unknown_name
from realuid.objectives.base import Objective
from realuid.objectives.data_forcing import DataForcing
from realuid.objectives.dmd import DMD
from realuid.objectives.general import GeneralRealUID
from realuid.objectives.mixture import MixtureUID
from realuid.objectives.names import Delta, TimeWeight
from realuid.objectives.normalised import NormalisedRealUID
from realuid.objectives.realuid import RealUID
from realuid.objectives.weights import TIME_WEIGHTS
from realuid.paths import STACKED, Path, check_prediction

OBJECTIVES: dict[str, type[Objective]] = {
    "realuid": RealUID,
    "mixture": MixtureUID,
    "general": GeneralRealUID,
    "normalised": NormalisedRealUID,
    "dmd": DMD,
    "data_forcing": DataForcing,
}


class SampleWeights(TypedDict, total=False):
    """Weights of samples, for every objective: see `Objective`."""

    weight: TimeWeight
    normalise: bool


def make_objective(
    name: str,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    gamma: float | None = None,
    data_weight: float | None = None,
    alpha_sid: float = 0.5,
    delta: str = "plain",
    **weights: Unpack[SampleWeights],
) -> Objective:
    """The objective called `name`; docs/theory.md defines all of them.

    Args:
        name: in `OBJECTIVES`. UID is 'realuid' with alpha = beta = 1, RealSiD is 'realuid' with its alpha_sid.
        alpha, beta: weights of generated data and of its target.
        gamma: 'general' and 'mixture' only: weight of ||delta||^2; None is alpha, and 0.5 in 'mixture'.
        data_weight: 'mixture' only: weight of the data in the mixture, None is 1; and 'data_forcing' only:
            probability of noised real data, None is 0.5.
        alpha_sid: 'realuid', 'general' and 'mixture' only.
        delta: 'general' only: delta is f* - f ('plain') or beta (f* - f) ('beta').
        **weights: weight and normalise, see `Objective`.

    Raises:
        ConfigError: for an unknown name, illegal coefficients, or a setting that the objective does not use.
    """
    if name not in OBJECTIVES:
        raise ConfigError(unknown_name("objective", name, OBJECTIVES))
    if (weight := weights.get("weight", Objective.weight)) not in TIME_WEIGHTS:
        raise ConfigError(unknown_name("weight", weight, TIME_WEIGHTS))
    if delta not in get_args(Delta):
        raise ConfigError(unknown_name("delta", delta, get_args(Delta)))
    own = {field.name: field.default for field in dataclasses.fields(OBJECTIVES[name])}
    asked = {
        "alpha": (alpha != 1, f"alpha = {alpha}"),
        "beta": (beta != 1, f"beta = {beta}"),
        "gamma": (gamma is not None, f"gamma = {gamma}"),
        "data_weight": (data_weight is not None, f"data_weight = {data_weight}"),
        "alpha_sid": (alpha_sid != 0.5, f"alpha_sid = {alpha_sid}"),
        "delta_scale": (delta != "plain", f"delta = {delta}"),
    }
    for setting, (is_asked, label) in asked.items():
        if is_asked and setting not in own:
            users = [n for n, cls in OBJECTIVES.items() if setting in {f.name for f in dataclasses.fields(cls)}]
            leave = f" Leave {setting} at 1." if setting in ("alpha", "beta") else ""
            raise ConfigError(f"{label}: objective '{name}' does not use it. Used by: {', '.join(users)}.{leave}")
    values: dict[str, Any] = {
        "alpha": alpha,
        "beta": beta,
        "gamma": (alpha if "alpha" in own else own.get("gamma")) if gamma is None else gamma,
        "data_weight": own.get("data_weight") if data_weight is None else data_weight,
        "alpha_sid": alpha_sid,
        "delta_scale": beta if delta == "beta" else 1.0,
    }
    return OBJECTIVES[name](**{key: value for key, value in values.items() if key in own}, **weights)


def main_coefficients(name: str) -> dict[str, float]:
    """The settings that say how much an objective relies on data, with their defaults: data_weight, or alpha and beta.

    Args:
        name: in `OBJECTIVES`; of any other, those of RealUID.
    """
    fields: dict[str, Any] = {f.name: f.default for f in dataclasses.fields(OBJECTIVES.get(name, RealUID))}
    return {key: fields[key] for key in ("alpha", "beta", "data_weight") if key in fields}


def choose_space(objective: Objective, path: Path, asked: str | None = None, usual: str | None = None) -> str:
    """The prediction in which the losses are computed: the given one, else the usual one if it is allowed.

    Args:
        objective: may be defined in some spaces only.
        path: of x_t.
        asked: given by the user.
        usual: the default; None: the path's own.

    Raises:
        ConfigError: for a space in which the objective or its weight is not defined.
        PredictionError: for a prediction that does not exist on the path.
    """
    if objective.generator_needs_real and (path.coupled or path.has_eps):
        raise ConfigError(
            f"{type(objective).__name__} is defined for paths from data to noise without further noise, not for "
            f"{type(path).__name__}. Use objective = mixture, which is defined on every path."
        )
    allowed, usual = objective.spaces, usual or path.default_prediction
    space = asked or (usual if allowed is None or usual in allowed else allowed[0])
    if allowed is not None and space not in allowed:
        raise ConfigError(
            f"space = {space}: {type(objective).__name__} is defined in {' or '.join(allowed)} only. Leave space out."
        )
    if space in STACKED and objective.weight == "min_snr":
        raise ConfigError(f"weight = min_snr weighs one prediction, and {space} is two: set space to one of them.")
    return check_prediction(space, path)
