"""Checks for infinite or NaN values, which end a run before they are saved."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from accelerate import Accelerator
from torch import Tensor
from torch.distributed.tensor import DTensor

from realuid.errors import NonFiniteError
from realuid.training.ema import EMA
from realuid.training.player import Player

ADVICE = "Try a lower learning rate, more fake updates, precision fp32, or alpha_sid 0.5."


def check_values(values: dict[str, Tensor], where: str, half: bool = False) -> None:
    """Check losses and norms of gradients.

    Args:
        values: by name, of any shape.
        where: in the run, for the message.
        half: whether training is in fp16, where the loss scaler skips infinite gradients.

    Raises:
        NonFiniteError: for the first value that is infinite or NaN.
    """
    for name, value in values.items():
        if half and name.endswith("grad_norm"):
            continue
        if not torch.isfinite(value).all():
            raise NonFiniteError(f"{name} is {value.flatten()[0].item()} {where}. {ADVICE}")


@torch.no_grad()
def check_weights(players: Iterable[Player], ema: EMA, accelerator: Accelerator, where: str) -> None:
    """Check weights and their averages, which may be infinite after a step with a finite loss.

    Every process has to call it, since each may hold a shard of the weights.

    Args:
        players, ema: whose weights.
        accelerator: knows the processes.
        where: in the run, for the message.

    Raises:
        NonFiniteError: naming the first weight that is infinite or NaN.
    """
    named: list[tuple[str, Tensor]] = []
    for player in players:
        named += [(f"{player.name}.{name}", value) for name, value in player.module.named_parameters()]
    named += [(f"average {name}", value) for name, value in ema.state_dict().items()]
    finite = torch.stack([torch.isfinite(_local(value)).all().to(accelerator.device) for _, value in named])
    wrong = [name for (name, _), good in zip(named, finite.tolist(), strict=True) if not good]
    if int(accelerator.reduce(torch.tensor(len(wrong), device=accelerator.device))):
        names = f"{wrong[0]}, {len(wrong)} in all" if wrong else "those of another process"
        raise NonFiniteError(f"weights ({names}) are infinite or NaN {where}. {ADVICE}")


def _local(value: Tensor) -> Tensor:
    """This process's shard of a weight, if it is sharded."""
    return value.to_local() if isinstance(value, DTensor) else value
