"""A cache of tensors with checksums."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from realuid.files import atomic_file

_CHECKSUM = "sha256"


def cache_folder() -> Path:
    """Where trained extractors and reference statistics are kept: $REALUID_CACHE, or ~/.cache/realuid."""
    return Path(os.environ.get("REALUID_CACHE", Path.home() / ".cache" / "realuid"))


def _checksum(tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name, value in sorted(tensors.items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def read_cached(name: str) -> dict[str, Tensor] | None:
    """What `write_cached` wrote under a name, or None where nothing is there or a byte of it has changed."""
    path = cache_folder() / f"{name}.safetensors"
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (no mapping)
            written = (file.metadata() or {}).get(_CHECKSUM)
    except Exception:  # damage surfaces as SafetensorError, ValueError, OSError, ...
        return None
    return tensors if written == _checksum(tensors) else None


def write_cached(name: str, tensors: dict[str, Tensor], **about: str) -> None:
    """Keep tensors under a name, whole or not at all.

    Args:
        name: of a file, without ending.
        tensors: to keep.
        **about: further lines of the file's header.
    """
    with atomic_file(cache_folder() / f"{name}.safetensors") as temporary:
        save_file(tensors, temporary, metadata={**about, _CHECKSUM: _checksum(tensors)})
