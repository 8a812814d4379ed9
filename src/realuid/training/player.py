"""A network that learns: its module, optimiser, learning-rate schedule and one clipped, accumulated step."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import TypeVar

import torch
from accelerate import Accelerator
from accelerate.utils.memory import clear_device_cache, should_reduce_batch_size
from torch import Tensor, nn

from realuid.errors import OutOfMemoryError
from realuid.training.accelerate import copied
from realuid.training.config import LoopConfig
from realuid.training.execution import choose_execution
from realuid.training.sharding import full, hollow, place, share

M = TypeVar("M", bound=nn.Module)
T = TypeVar("T")

#: Shares of a batch's loss, each a function of the (possibly wrapped) module.
Losses = Sequence[Callable[[nn.Module], Tensor]]


def learning_rate_factor(update: int, config: LoopConfig) -> float:
    """What multiplies the learning rate at an update: a steady rise, then constant or half a cosine to zero."""
    rise = min(1.0, (update + 1) / config.warmup) if config.warmup else 1.0
    if config.lr_decay == "constant":
        return rise
    return rise * 0.5 * (1 + math.cos(math.pi * update / config.updates))


def parts_of(count: int, micro_batch: int) -> int:
    """In how many parts a batch goes through the network."""
    return max(1, -(-count // micro_batch)) if micro_batch else 1


class OutOfMemoryWarning(UserWarning):
    """A batch did not fit into memory and goes through the network in parts from now on; results stay the same."""


def able_to_learn(module: M) -> M:
    """The module, with gradients where it was frozen as a whole; parts that it keeps fixed by itself stay fixed."""
    if not any(p.requires_grad for p in module.parameters()):
        module.requires_grad_(True)
    return module


class Player:
    """One side of the game (or a teacher, the only one).

    Args:
        name: for logs and checkpoints.
        module: what learns.
        lr: learning rate before the schedule.
        betas: of Adam.
        config: batch, clipping, schedule, precision.
        accelerator: device and processes.
        parts: in how many parts a batch goes through the networks at least.

    Attributes:
        mine, most: images of a batch that fall to a process, and in how many parts they may go: one image each, where
            the process with the fewest is the measure, since not every network takes a part without images.
        parts: in how many they do: enough for `config.micro_batch`, and twice as many whenever the device's memory runs
            out.
        shell: where weights are split: a copy without any, for `EMA`.
    """

    def __init__(
        self,
        name: str,
        module: nn.Module,
        lr: float,
        betas: tuple[float, float],
        config: LoopConfig,
        accelerator: Accelerator,
        parts: int = 1,
    ):
        self.name, self.lr, self.config, self.accelerator = name, lr, config, accelerator
        self.execution = choose_execution(config, accelerator.device)
        self.shell = hollow(module) if self.execution.shard else None
        self.module = place(module, accelerator.device, self.execution.shard)
        self.mine = -(-config.batch // accelerator.num_processes)
        self.most = config.batch // accelerator.num_processes
        self.accumulation_steps = min(self.most, max(parts, parts_of(self.mine, config.micro_batch)))
        self.call = self.module if self.execution.shard else copied(self.module, accelerator)
        self.parameters = [p for p in module.parameters() if p.requires_grad]
        one, two = (float(b) for b in betas)
        self.optimizer = torch.optim.Adam(self.parameters, lr=lr, betas=(one, two), fused=self.execution.fused)
        self.scaler = torch.amp.GradScaler(accelerator.device.type, enabled=self.execution.precision == "fp16")

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """While it is the other player's turn: no gradients for this one's parameters, and none kept."""
        self.optimizer.zero_grad(set_to_none=True)
        for parameter in self.parameters:
            parameter.requires_grad_(False)
        try:
            yield
        finally:
            for parameter in self.parameters:
                parameter.requires_grad_(True)

    def autocast(self) -> torch.autocast:
        """The precision of the networks, as a context."""
        return self.execution.autocast(self.accelerator.device)

    def step(self, update: int, losses_in: Callable[[int], Losses]) -> dict[str, Tensor]:
        """One optimiser step on the sum of losses, each a micro-batch's share of the mean over the whole batch.

        Args:
            update: sets the learning rate.
            losses_in: parts -> losses: the batch cut into so many micro-batches.

        Returns:
            loss, gradient norm before clipping and whether it was clipped, as tensors on the device.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr * learning_rate_factor(update, self.config)
        total = self.in_parts(lambda parts: self._gradients(losses_in(parts)))
        self.scaler.unscale_(self.optimizer)
        norm = full(torch.nn.utils.clip_grad_norm_(self.parameters, self.config.clip))
        self.scaler.step(self.optimizer)
        self.scaler.update()
        clipped = (norm > self.config.clip).float()
        return {f"{self.name}/loss": total, f"{self.name}/grad_norm": norm, f"{self.name}/clipped": clipped}

    def in_parts(self, compute: Callable[[int], T]) -> T:
        """What `compute` makes of a batch in `parts` parts; if memory runs out, of as many more as it takes.

        Args:
            compute: parts -> result, from the start.

        Raises:
            OutOfMemoryError: where it takes more than there can be.
        """
        while True:
            try:
                return compute(self.accumulation_steps)
            except RuntimeError as error:
                if not should_reduce_batch_size(error):
                    raise
                self._halve(error)
            clear_device_cache(garbage_collection=True)  # once the error, which holds what is to be freed, is gone

    def _gradients(self, losses: Losses) -> Tensor:
        """Gradients of the sum of losses, and the sum."""
        self.optimizer.zero_grad(set_to_none=True)
        total = torch.zeros((), device=self.accelerator.device)
        for i, loss_of in enumerate(losses):
            last = i == len(losses) - 1
            # where weights are split, gradients are exchanged every time: waiting would keep them whole
            with nullcontext() if last else self.accelerator.no_sync(self.call):
                with self.autocast():
                    # processes average their gradients; each holds its share of the sum
                    loss = loss_of(self.call) * self.accelerator.num_processes
                self.scaler.scale(loss).backward()
            total = total + loss.detach()
        return total

    def _halve(self, error: RuntimeError) -> None:
        """Cut batches into twice as many parts, or into single images.

        Raises:
            OutOfMemoryError: where that is not possible: of one image, or while other processes wait for the gradients.
        """
        parts = min(2 * self.accumulation_steps, self.most)
        now, micro_batch = (-(-self.mine // n) for n in (self.accumulation_steps, parts))
        if parts == self.accumulation_steps:
            raise OutOfMemoryError(
                f"the networks of {self.name} do not fit into memory with a single image ({error}). Try "
                "--activation-checkpointing, --precision bf16 or a smaller network."
            ) from error
        if self.accelerator.num_processes > 1:
            raise OutOfMemoryError(
                f"a batch of {now} images does not fit into memory ({error}). Start again with "
                f"--resume --micro-batch {micro_batch}: results stay those of the whole batch."
            ) from error
        self.accumulation_steps = parts
        warnings.warn(
            f"{self.name}: out of memory, so gradients are accumulated over {parts} micro-batches from now on. Results "
            f"stay the same; --micro-batch {micro_batch} does so from the start.",
            OutOfMemoryWarning,
            stacklevel=3,
        )

    def optimizer_state(self) -> dict:
        """State of optimiser and loss scaler."""
        return {"optimizer": self.optimizer.state_dict(), "scaler": self.scaler.state_dict()}

    def load_optimizer_state(self, state: dict) -> None:
        """Read back what `optimizer_state` wrote."""
        saved = state["optimizer"]
        own = {index: share(values, self.parameters[index]) for index, values in saved["state"].items()}
        self.optimizer.load_state_dict({**saved, "state": own})
        self.scaler.load_state_dict(state["scaler"])
