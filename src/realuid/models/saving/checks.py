"""Checks of a model built from a file."""

from __future__ import annotations

from typing import Any

import torch

from realuid.errors import CheckpointError
from realuid.models.matching import MatchingModel
from realuid.models.networks.base import UNet

#: Where times start that paths have at 0 exactly, where no network is asked.
_FIRST = 1e-5


def check_times(model: MatchingModel) -> None:
    """Raise CheckpointError where the network makes NaN of the times it is told, which only sampling would show.

    diffusers' U-Nets with `time_embedding_type = "fourier"` take the logarithm of what they are told: it has to be
    positive, which EDM's ln(sigma) / 4 and the step 0 of a discrete grid are not.
    """
    network, path = model.network, model.path
    if not isinstance(network, UNet) or network.unet.config.time_embedding_type != "fourier":
        return
    t = torch.tensor([max(path.t_min, _FIRST), (path.t_min + path.t_max) / 2, path.t_max], dtype=torch.float64)
    told = model.preconditioning.scales(path.coefficients(t)).time
    if not (told > 0).all():
        raise CheckpointError(
            f"the network's time_embedding_type = fourier takes the logarithm of the time, but with preconditioning "
            f"'{model.preconditioning.name}' on path '{path.name}' its time input is {float(told.min()):.3g} to "
            f"{float(told.max()):.3g}: the result is NaN. One of the two settings is wrong."
        )


def class_names(written: Any, classes: int) -> tuple[str, ...]:
    """Names of a model's classes as a description holds them; nothing where none is there.

    Raises:
        CheckpointError: for what is no list of names, or more of them than classes.
    """
    if written is None:
        return ()
    if not isinstance(written, list) or not all(isinstance(name, str) for name in written) or len(written) > classes:
        raise CheckpointError(f"classes in config.json must be a list of at most {classes} names, one a class.")
    return tuple(written)


def class_counts(written: Any, classes: int) -> tuple[int, ...]:
    """Frequencies of a model's classes as a description holds them; nothing where none is there.

    Raises:
        CheckpointError: for what is no list of whole numbers, one a class, some of them above 0.
    """
    if written is None:
        return ()
    whole = isinstance(written, list) and all(type(n) is int and 0 <= n < 2**53 for n in written)
    if not whole or len(written) > classes or not any(written):
        raise CheckpointError(f"class_counts in config.json must be at most {classes} whole numbers, one a class.")
    return tuple(written)
