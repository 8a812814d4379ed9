"""Losses: unified matching and the RealUID family. Pure functions of predictions and targets."""

from __future__ import annotations

from realuid.objectives.coefficients import UnwiseSettingWarning, advice
from realuid.objectives.matching import matching_loss
from realuid.objectives.realuid import RealUID
from realuid.objectives.reduce import inner, squared_norm

__all__ = ["RealUID", "UnwiseSettingWarning", "advice", "inner", "matching_loss", "squared_norm"]
