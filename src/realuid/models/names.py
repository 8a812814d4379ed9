"""Names that settings of students spell."""

from __future__ import annotations

from typing import Literal

#: Noise of the later calls of a student of several: drawn, or what the call before implies.
Renoise = Literal["fresh", "deterministic"]
