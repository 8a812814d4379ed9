"""A network that learns: its module, optimiser and schedule, and the verbs of a step.

A step reads

    for attempt in player.attempts():
        with attempt as accumulation_steps:
            for micro_batch in draws.micro_batches(accumulation_steps):
                with player.accumulating():
                    player.backward(loss_of(micro_batch))
    metrics = player.step(update)
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import MappingProxyType, TracebackType
from typing import TypeVar

import torch
from accelerate import Accelerator
from accelerate.utils.memory import clear_device_cache
from torch import Tensor, nn

from realuid.errors import OutOfMemoryError, OutOfMemoryWarning
from realuid.memory import is_out_of_memory
from realuid.training.accelerate import copied
from realuid.training.config import LoopConfig
from realuid.training.execution import Execution
from realuid.training.settings import OptimiserSettings
from realuid.training.sharding import full, hollow, place, share

M = TypeVar("M", bound=nn.Module)


def learning_rate_factor(update: int, config: OptimiserSettings) -> float:
    """What multiplies the learning rate at an update: a steady rise, then constant or half a cosine to zero."""
    rise = min(1.0, (update + 1) / config.warmup) if config.warmup else 1.0
    if config.lr_decay == "constant":
        return rise
    return rise * 0.5 * (1 + math.cos(math.pi * update / config.updates))


def accumulation_steps_for(count: int, micro_batch: int) -> int:
    """Number of gradient accumulation steps of a batch with at most `micro_batch` images each; 0: no limit."""
    return max(1, -(-count // micro_batch)) if micro_batch else 1


def able_to_learn(module: M) -> M:
    """The module, with gradients where it was frozen as a whole; weights that it keeps fixed by itself stay fixed."""
    if not any(p.requires_grad for p in module.parameters()):
        module.requires_grad_(True)
    return module


class Player:
    """One side of the game (or a teacher, the only one).

    Args:
        name: for logs and checkpoints.
        module: what learns.
        lr: learning rate before the schedule.
        settings: of the run; read are its optimiser settings and `micro_batch`.
        accelerator: device and processes.
        execution: precision, fused Adam, sharding.
        accumulation_steps: least number of gradient accumulation steps.

    Attributes:
        call: the module as it is called in a step: itself, or its distributed wrapper.
        mine, most: images of a batch that fall to a process, and the largest number of accumulation steps: one image
            each, where the process with the fewest is the measure, since not every network takes an empty micro-batch.
        accumulation_steps: their present number: enough for `micro_batch`, and doubled whenever the device's memory
            runs out.
        shell: where weights are sharded: a copy without any, for `EMA`.
    """

    def __init__(
        self,
        name: str,
        module: nn.Module,
        lr: float,
        settings: LoopConfig,
        accelerator: Accelerator,
        execution: Execution,
        accumulation_steps: int = 1,
    ):
        self.name, self.lr, self.settings = name, lr, settings
        self.accelerator, self.execution = accelerator, execution
        self.shell = hollow(module) if execution.shard else None
        self.module = place(module, accelerator.device, execution.shard)
        self.mine = -(-settings.batch // accelerator.num_processes)
        self.most = settings.batch // accelerator.num_processes
        needed = accumulation_steps_for(self.mine, settings.micro_batch)
        self.accumulation_steps = min(self.most, max(accumulation_steps, needed))
        self.call: Callable[..., Tensor] = self.module if execution.shard else copied(self.module, accelerator)
        self.parameters = [p for p in module.parameters() if p.requires_grad]
        one, two = (float(b) for b in settings.adam_betas)
        self.optimizer = torch.optim.Adam(self.parameters, lr=lr, betas=(one, two), fused=execution.fused)
        self.scaler = torch.amp.GradScaler(accelerator.device.type, enabled=execution.precision == "fp16")
        self.clear()

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

    def clear(self) -> None:
        """Forget gradients and what was accumulated with them."""
        self.optimizer.zero_grad(set_to_none=True)
        self._done, self._observed = 0, dict[str, Tensor]()
        self._loss = torch.zeros((), device=self.accelerator.device)

    def attempts(self) -> Iterator[Attempt]:
        """Attempts at the gradients of a step: the first one, and more of them as long as memory runs out.

        Each begins without gradients, and says as a context how many gradient accumulation steps it takes.

        Raises:
            OutOfMemoryError: where a single image does not fit, or while other processes wait for the gradients.
        """
        while True:
            attempt = Attempt(self)
            yield attempt
            if attempt.succeeded:
                return
            clear_device_cache(garbage_collection=True)  # the error, which held what is to be freed, is gone by now

    def accumulating(self) -> AbstractContextManager:
        """For the forward and backward pass of a micro-batch: processes average gradients with the last one only.

        Where weights are sharded, gradients are exchanged every time: waiting would keep them whole.
        """
        last = self._done == self.accumulation_steps - 1
        return nullcontext() if last else self.accelerator.no_sync(self.call)

    def backward(self, loss: Tensor, observed: Mapping[str, Tensor] = MappingProxyType({})) -> None:
        """Add the gradients of a micro-batch's loss, its share of the mean over the whole batch.

        Do not keep the loss in a variable: it would hold its graph where an attempt fails.

        Args:
            loss: a scalar.
            observed: further sums for the log, without a graph; added up over the micro-batches.
        """
        loss = loss * self.accelerator.num_processes  # which average their gradients; each holds its share of the sum
        self.scaler.scale(loss).backward()
        self._loss = self._loss + loss.detach()
        for name, value in observed.items():
            self._observed[name] = self._observed[name] + value if name in self._observed else value
        self._done += 1

    def step(self, update: int) -> dict[str, Tensor]:
        """Clip the gradients and take one step of Adam with them.

        Args:
            update: sets the learning rate.

        Returns:
            loss, gradient norm before clipping, whether it was clipped, and what was observed; tensors on the device.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr * learning_rate_factor(update, self.settings)
        self.scaler.unscale_(self.optimizer)
        norm = full(torch.nn.utils.clip_grad_norm_(self.parameters, self.settings.clip))
        self.scaler.step(self.optimizer)
        self.scaler.update()
        clipped = (norm > self.settings.clip).float()
        metrics = {"loss": self._loss, "grad_norm": norm, "clipped": clipped}
        return {f"{self.name}/{name}": value for name, value in metrics.items()} | self._observed

    def accumulate_more(self, error: BaseException) -> None:
        """Take twice as many accumulation steps from now on, or one for each image.

        Raises:
            OutOfMemoryError: where that is not possible: of one image, or while other processes wait for the gradients.
        """
        more = min(2 * self.accumulation_steps, self.most)
        now, micro_batch = (-(-self.mine // n) for n in (self.accumulation_steps, more))
        if more == self.accumulation_steps:
            raise OutOfMemoryError(
                f"the networks of {self.name} do not fit into memory with a single image ({error}). Try "
                "--activation-checkpointing, --precision bf16 or a smaller network."
            ) from error
        if self.accelerator.num_processes > 1:
            raise OutOfMemoryError(
                f"a batch of {now} images does not fit into memory ({error}). Start again with "
                f"--resume --micro-batch {micro_batch}: results stay those of the whole batch."
            ) from error
        self.accumulation_steps = more
        warnings.warn(
            f"{self.name}: out of memory, so gradients are accumulated over {more} micro-batches from now on. Results "
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


class Attempt:
    """One attempt at the gradients of a step: a context that takes note where the device's memory runs out."""

    def __init__(self, player: Player):
        self.player, self.succeeded = player, False

    def __enter__(self) -> int:
        self.player.clear()
        return self.player.accumulation_steps

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self.succeeded = error is None
        if error is None or not is_out_of_memory(error):
            return False
        self.player.accumulate_more(error)
        return True
