"""Names of objectives, their variants and weights in settings."""

from __future__ import annotations

from typing import Literal

ObjectiveName = Literal["realuid", "mixture", "general", "normalised", "dmd", "data_forcing"]
Delta = Literal["plain", "beta"]
TimeWeight = Literal["path", "one", "min_snr"]
