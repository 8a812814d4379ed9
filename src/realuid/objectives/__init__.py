"""Losses: unified matching and the RealUID family. Pure functions of predictions and targets."""

from __future__ import annotations

from realuid.objectives.base import Objective
from realuid.objectives.coefficients import UnwiseSettingWarning, advice
from realuid.objectives.dmd import DMD
from realuid.objectives.general import GeneralRealUID
from realuid.objectives.matching import matching_loss
from realuid.objectives.normalised import NormalisedRealUID
from realuid.objectives.realuid import RealUID, RealUM
from realuid.objectives.reduce import inner, squared_norm

__all__ = [
    "DMD",
    "GeneralRealUID",
    "NormalisedRealUID",
    "Objective",
    "RealUID",
    "RealUM",
    "UnwiseSettingWarning",
    "advice",
    "inner",
    "matching_loss",
    "squared_norm",
]
