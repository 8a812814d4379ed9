"""A trained network with its optimiser and learning-rate schedule, and the operations of a step.

The code of a step is

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
from torch import Tensor, nn

from realuid.errors import ConfigError, OutOfMemoryError, OutOfMemoryWarning
from realuid.memory import free_memory, is_out_of_memory
from realuid.models import Network
from realuid.models.networks.quantised import check_bitsandbytes
from realuid.training.accelerate import copied
from realuid.training.config import LoopConfig
from realuid.training.execution import Execution
from realuid.training.settings import OptimiserSettings
from realuid.training.sharding import full, hollow, place, share, shares_base

M = TypeVar("M", bound=nn.Module)


def learning_rate_factor(update: int, config: OptimiserSettings) -> float:
    """Factor of the learning rate at an update: linear warm-up, then constant or half a cosine to zero."""
    rise = min(1.0, (update + 1) / config.warmup) if config.warmup else 1.0
    if config.lr_decay == "constant":
        return rise
    return rise * 0.5 * (1 + math.cos(math.pi * update / config.updates))


def accumulation_steps_for(count: int, micro_batch: int) -> int:
    """Number of gradient-accumulation steps of a batch with at most `micro_batch` images each; 0: no limit."""
    return max(1, -(-count // micro_batch)) if micro_batch else 1


def able_to_learn(module: M) -> M:
    """The module, unfrozen if it was frozen as a whole; parameters that are frozen one by one stay frozen."""
    if not any(p.requires_grad for p in module.parameters()):
        module.requires_grad_(True)
    return module


def _adam(
    parameters: list[nn.Parameter], lr: float, settings: OptimiserSettings, execution: Execution
) -> torch.optim.Optimizer:
    one, two = (float(b) for b in settings.adam_betas)
    if settings.adam_bits == 32:
        return torch.optim.Adam(parameters, lr=lr, betas=(one, two), fused=execution.fused)
    if execution.shard:
        raise ConfigError("adam_bits = 8 with shard = True: moments in 8 bits cannot be sharded. Leave one out.")
    check_bitsandbytes("adam_bits = 8")
    from bitsandbytes.optim import Adam8bit

    adam: torch.optim.Optimizer = Adam8bit(parameters, lr=lr, betas=(one, two))
    return adam


class Player:
    """Student or fake model of a distillation, or a teacher in training.

    Args:
        name: for logs and checkpoints.
        module: the trained network.
        lr: learning rate before the schedule.
        settings: of the run; its optimiser settings and `micro_batch` are used.
        accelerator: device and processes.
        execution: precision, fused Adam, sharding.
        accumulation_steps: smallest number of gradient-accumulation steps.

    Attributes:
        call: the module as it is called in a step: itself, or its distributed wrapper.
        mine, most: images of a batch on this process, and the largest number of accumulation steps, with one image each
            on the process with the fewest, since not every network accepts an empty micro-batch.
        accumulation_steps: their current number: enough for `micro_batch`, and doubled whenever memory runs out.
        steps: taken in this process.
        shell: with sharded weights, a copy of the module without weights, for `EMA`.
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
        self.name, self.lr, self.settings, self.steps = name, lr, settings, 0
        self.accelerator, self.execution = accelerator, execution
        for network in module.modules():
            if isinstance(network, Network):
                network.merged = None  # the weights will contain more than that adapter
        whole = not execution.shard or shares_base(module)
        self.shell = None if whole else hollow(module)
        self.module = place(module, accelerator.device, execution.shard)
        self.mine = -(-settings.batch // accelerator.num_processes)
        self.most = settings.batch // accelerator.num_processes
        needed = accumulation_steps_for(self.mine, settings.micro_batch)
        self.accumulation_steps = min(self.most, max(accumulation_steps, needed))
        self.call: Callable[..., Tensor] = copied(self.module, accelerator) if whole else self.module
        self.parameters = [p for p in module.parameters() if p.requires_grad]
        self.optimizer = _adam(self.parameters, lr, settings, execution)
        self.scaler = torch.amp.GradScaler(accelerator.device.type, enabled=execution.precision == "fp16")
        self.clear()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Within a `with` block: no gradients for its parameters, and stored ones are freed."""
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
        """Reset gradients and accumulated values."""
        self.optimizer.zero_grad(set_to_none=True)
        self._done, self._observed = 0, dict[str, Tensor]()
        self._loss = torch.zeros((), device=self.accelerator.device)

    def attempts(self) -> Iterator[Attempt]:
        """Attempts to compute the gradients of a step: repeated as long as memory runs out.

        Each starts without gradients and is a context that returns the number of gradient-accumulation steps.

        Raises:
            OutOfMemoryError: if a single image does not fit, or while other processes wait for the gradients.
        """
        while True:
            attempt = Attempt(self)
            yield attempt
            if attempt.succeeded:
                return
            free_memory()  # the error, which referenced the memory to free, is gone

    def accumulating(self) -> AbstractContextManager:
        """For the forward and backward pass of a micro-batch: gradients are averaged over processes with the last one.

        With sharded weights they are averaged every time; otherwise whole gradients would have to be stored.
        """
        last = self._done == self.accumulation_steps - 1
        return nullcontext() if last else self.accelerator.no_sync(self.call)

    def backward(self, loss: Tensor, observed: Mapping[str, Tensor] = MappingProxyType({})) -> None:
        """Add the gradients of a micro-batch's loss, its contribution to the mean over the whole batch.

        Do not keep the loss in a variable: it would hold its graph if an attempt fails.

        Args:
            loss: a scalar.
            observed: further sums for the log, without a graph; summed over the micro-batches.
        """
        loss = loss * self.accelerator.num_processes  # processes average gradients; each loss is a part of a sum
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
        self.steps += 1
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
        """Double the number of accumulation steps from now on, up to one for each image.

        Raises:
            OutOfMemoryError: for a single image, or while other processes wait for the gradients.
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
    """One attempt to compute the gradients of a step: a context that records if memory runs out."""

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
