"""Recognition of out-of-memory errors of all libraries, and functions on batches that are split after such an error."""

from __future__ import annotations

import ctypes
import platform
import warnings
from collections.abc import Callable

import torch
from torch import Tensor

from realuid.errors import OutOfMemoryError, OutOfMemoryWarning, RealUIDError

#: What those say who allocate, in lower case: torch on its devices, oneDNN, cuBLAS, cuDNN, C++, the system.
_WORDS = (
    *("out of memory", "allocate memory", "not enough memory", "bad_alloc", "bad allocation"),
    *("could not create a primitive", "could not create a memory"),
    *("cublas_status_alloc_failed", "cudnn_status_alloc_failed", "cudnn error: cudnn_status_not_supported"),
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory has run out; errors of realuid, which may quote one, do not."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, Exception) and not isinstance(error, RealUIDError) and any(w in text for w in _WORDS)


def free_memory() -> None:
    """Give back what nobody uses any more, to the device and, on glibc, to the system: see `devices.keep_memory`."""
    from accelerate.utils.memory import clear_device_cache  # slow to import

    clear_device_cache(garbage_collection=True)
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


class InParts:
    """Work on a range of samples, done in halves from when on memory runs out.

    Args:
        work: makes results of some of the samples, tensors with one row each, the same in whatever parts; called again
            where it failed.
        what: of the samples, for messages.
    """

    def __init__(self, work: Callable[[range], list[Tensor]], what: str):
        self.work, self.what = work, what
        self.size: int | None = None

    def __call__(self, samples: range) -> list[Tensor]:
        """The results of all samples, in order.

        Raises:
            OutOfMemoryError: where not even one sample fits.
        """
        done: list[list[Tensor]] = []
        while samples:
            part = samples[: self.size]
            if (reason := self._attempt(part, done)) is None:
                samples = samples[len(part) :]
            else:
                self._smaller(len(part), reason)
        return done[0] if len(done) == 1 else [torch.cat(parts) for parts in zip(*done, strict=True)]

    def _attempt(self, part: range, done: list[list[Tensor]]) -> str | None:
        """Why memory has run out, or None; what the failed attempt held is free again."""
        try:
            done.append(self.work(part))
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            return str(error) or type(error).__name__
        return None

    def _smaller(self, size: int, reason: str) -> None:
        free_memory()
        if size == 1:
            raise OutOfMemoryError(f"{self.what}: not even one at a time fits into memory ({reason}).")
        self.size = -(-size // 2)
        warnings.warn(
            f"{self.what}: out of memory, so {self.size} are made at a time from now on. Results stay the same.",
            OutOfMemoryWarning,
            stacklevel=4,
        )
