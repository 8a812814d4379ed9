"""Choice of a device by name, the same in all commands and settings, and transfers to devices."""

from __future__ import annotations

import ctypes
import platform
from typing import TYPE_CHECKING

from realuid.errors import ConfigError, unknown_name

if TYPE_CHECKING:
    import torch
    from torch import Tensor


#: Not Apple's MPS: sampling times, running means and running sums of features are float64, which it does not have.
DEVICES = ("auto", "cpu", "cuda")


def check_device(name: str) -> None:
    """Raise ConfigError unless the name is allowed; the device need not exist."""
    if name == "gpu":
        raise ConfigError("unknown device 'gpu': GPUs are called 'cuda'. Allowed: auto, cpu, cuda.")
    if name not in DEVICES:
        raise ConfigError(unknown_name("device", str(name), DEVICES))


def choose_device(name: str = "auto") -> torch.device:
    """The device called `name`; 'auto' is CUDA if available, else the CPU.

    Raises:
        ConfigError: for another name, or CUDA if it is not available.
    """
    import torch

    check_device(name)
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise ConfigError("device = cuda, but torch sees no CUDA device. Use device = cpu or auto.")
    return torch.device("cuda")


def tune_process() -> None:
    """Settings of the whole process that make training faster; commands call it, library functions never do.

    Memory of freed tensors is kept (`keep_memory`), and cuDNN measures which of its kernels is fastest, which pays for
    batches of one shape. A program that uses realuid as a library may call it once, at its start.
    """
    import torch

    keep_memory()
    torch.backends.cudnn.benchmark = True


def keep_memory() -> None:
    """Let this process reuse freed memory of CPU tensors instead of returning it to the system.

    By default glibc returns large blocks, which the system fills with zeros before they are used again: a tenth of an
    update. Its `mallopt` (malloc.h) changes that; other C libraries are left unchanged.
    """
    trim_threshold, top_pad, mmap_threshold = -1, -2, -3
    if platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(mmap_threshold, 32 * 2**20)  # the largest that it takes
    libc.mallopt(trim_threshold, -1)  # never
    libc.mallopt(top_pad, 64 * 2**20)


def handed_over(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on a device, copied asynchronously through pinned memory."""
    if tensor.device.type == "cpu" and device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
