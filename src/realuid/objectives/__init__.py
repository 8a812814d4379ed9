"""Losses as pure functions of predictions and targets: unified matching, the RealUID family, the adversarial loss."""

from __future__ import annotations

from typing import TYPE_CHECKING

from realuid.lazy import on_first_use

if TYPE_CHECKING:
    from realuid.objectives.adversarial import PUBLISHED_RATIO, Adversarial
    from realuid.objectives.base import Objective
    from realuid.objectives.coefficients import UnwiseSettingWarning, advice
    from realuid.objectives.data_forcing import DataForcing
    from realuid.objectives.dmd import DMD
    from realuid.objectives.factory import OBJECTIVES, choose_space, main_coefficients, make_objective
    from realuid.objectives.general import GeneralRealUID
    from realuid.objectives.matching import matching_loss
    from realuid.objectives.mixture import MixtureUID
    from realuid.objectives.names import Delta, ObjectiveName, TimeWeight
    from realuid.objectives.normalised import NormalisedRealUID
    from realuid.objectives.realuid import RealUID, RealUM
    from realuid.objectives.reduce import inner, squared_norm
    from realuid.objectives.weights import TIME_WEIGHTS

__getattr__, __dir__ = on_first_use(__name__)

__all__ = [
    "DMD",
    "OBJECTIVES",
    "PUBLISHED_RATIO",
    "TIME_WEIGHTS",
    "Adversarial",
    "DataForcing",
    "Delta",
    "GeneralRealUID",
    "MixtureUID",
    "NormalisedRealUID",
    "Objective",
    "ObjectiveName",
    "RealUID",
    "RealUM",
    "TimeWeight",
    "UnwiseSettingWarning",
    "advice",
    "choose_space",
    "inner",
    "main_coefficients",
    "make_objective",
    "matching_loss",
    "squared_norm",
]
