"""Names allowed in the settings of students."""

from __future__ import annotations

from typing import Literal

#: Noise of the later calls of a student of several: drawn, or what the call before implies.
Renoise = Literal["fresh", "deterministic"]
