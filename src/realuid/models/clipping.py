"""How far a teacher's data predictions may go while it is sampled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from realuid.errors import ConfigError


@dataclass(frozen=True)
class Clipping:
    """Limits of a teacher's data predictions in sampling, as the scheduler of a diffusers pipeline sets them.

    Attributes:
        limit: static: predictions are clamped to [-limit, limit]; dynamic: the largest threshold.
        quantile: dynamic thresholding: the quantile of abs(prediction) over a sample that is its threshold.
    """

    limit: float = 1.0
    quantile: float | None = None

    def __post_init__(self) -> None:
        if not 0 < self.limit < float("inf"):
            raise ConfigError(f"clipping: limit = {self.limit} must be a positive number.")
        if self.quantile is not None and not 0 <= self.quantile <= 1:
            raise ConfigError(f"clipping: quantile = {self.quantile} must be between 0 and 1.")

    def to_config(self) -> dict[str, float | None]:
        """JSON-ready."""
        return {"limit": self.limit, "quantile": self.quantile}

    @classmethod
    def from_config(cls, written: dict[str, Any] | None) -> Clipping | None:
        """What `to_config` wrote; None for None."""
        return None if written is None else cls(**written)
