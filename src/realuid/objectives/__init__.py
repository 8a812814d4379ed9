"""Losses: unified matching and the RealUID family. Pure functions of predictions and targets."""

from __future__ import annotations

from realuid.objectives.coefficients import UnwiseSettingWarning
from realuid.objectives.matching import matching_loss
from realuid.objectives.realuid import RealUID
from realuid.objectives.reduce import inner, squared_norm

__all__ = ["RealUID", "UnwiseSettingWarning", "inner", "matching_loss", "squared_norm"]
