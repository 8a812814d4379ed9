"""One rule for all commands and settings: which device a name stands for."""

from __future__ import annotations

import torch

from realuid.errors import ConfigError, unknown_name

#: Not Apple's MPS: sampling times, running means and running sums of features are float64, which it does not have.
DEVICES = ("auto", "cpu", "cuda")


def check_device(name: str) -> None:
    """Raise ConfigError unless a device may be called so; whether it is there does not matter."""
    if name == "gpu":
        raise ConfigError("unknown device 'gpu': GPUs are called 'cuda'. Allowed: auto, cpu, cuda.")
    if name not in DEVICES:
        raise ConfigError(unknown_name("device", str(name), DEVICES))


def choose_device(name: str = "auto") -> torch.device:
    """The device called `name`; 'auto' is CUDA where there is one, and the CPU everywhere else.

    Raises:
        ConfigError: for another name, or CUDA where there is none.
    """
    check_device(name)
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise ConfigError("device = cuda, but torch sees no CUDA device. Use device = cpu or auto.")
    return torch.device("cuda")
