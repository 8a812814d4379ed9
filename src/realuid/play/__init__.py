"""The playground: a local page to sample a student, with its teacher beside it."""

from __future__ import annotations

from realuid.play.player import Asked, Played, Player
from realuid.play.web import page, serve

__all__ = ["Asked", "Played", "Player", "page", "serve"]
