"""Names of objectives, their variants and weights, as settings spell them."""

from __future__ import annotations

from typing import Literal

ObjectiveName = Literal["realuid", "mixture", "general", "normalised", "dmd", "data_forcing"]
Delta = Literal["plain", "beta"]
TimeWeight = Literal["path", "one", "min_snr"]
