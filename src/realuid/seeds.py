"""Stateless random streams: draws depend only on the seed and the position in a run."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def mix(*parts: int | str) -> int:
    """A 63-bit seed from any number of integers and names, the same on every machine and Python version."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def stream(*parts: int | str, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator seeded by `mix(*parts)`, for instance stream(seed, "fake", update)."""
    return torch.Generator(device=device).manual_seed(mix(*parts))


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch's global random streams within a `with` block and restore them afterwards.

    For code that uses the global streams: initialisation of networks, dropout.
    """
    devices = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(seed)
        yield
