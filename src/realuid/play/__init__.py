"""The playground: a local page to sample a student, with its teacher beside it."""

from __future__ import annotations

from realuid.play.page import serve
from realuid.play.player import Asked, Played, Player

__all__ = ["Asked", "Played", "Player", "serve"]
