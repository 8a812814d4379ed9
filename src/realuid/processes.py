"""Division of a command's work among several processes, as started by torchrun."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import TYPE_CHECKING, TypeVar

from realuid import heartbeat
from realuid.errors import ConfigError
from realuid.launch import are_heeded, gather, launched, reach, said_to_wait

if TYPE_CHECKING:
    import torch
    from torch import Tensor


T = TypeVar("T")


@dataclass(frozen=True)
class Part:
    """Index and number of processes; the default is a single process.

    Many samples are divided into slices of a fixed size, which are assigned to the processes cyclically.
    """

    rank: int = 0
    world: int = 1

    def share(self, count: int) -> slice:
        """This process's rows of a batch of `count` samples."""
        return slice(count * self.rank // self.world, count * (self.rank + 1) // self.world)

    def slices(self, count: int, size: int) -> list[slice]:
        """This process's slices of `count` samples, `size` samples each (the very last one may be shorter)."""
        starts = range(self.rank * size, count, self.world * size)
        return [slice(start, min(start + size, count)) for start in starts]

    def total(self, x: Tensor) -> Tensor:
        """The sum of a CPU tensor over all processes."""
        import torch.distributed as dist

        if self.world == 1:
            return x
        x = x.to("cuda", copy=True) if dist.get_backend() == "nccl" else x.clone()
        dist.all_reduce(x)
        return x.cpu()

    def in_order(self, own: list[T]) -> list[T]:
        """Results of all processes, on each of them, in the order of the samples."""
        import torch.distributed as dist

        if self.world == 1:
            return own
        everyone: list[list[T]] = [[] for _ in range(self.world)]
        dist.all_gather_object(everyone, own)
        return _in_turns(everyone)

    def collect(self, batches: Iterable[Tensor], count: int, size: int) -> Iterator[Tensor]:
        """Batches of all processes, a few at a time: on process 0 in order, elsewhere nothing.

        Args:
            batches: made of `slices(count, size)`, one each.
        """
        import torch.distributed as dist

        if self.world == 1:
            yield from batches
            return
        own = iter(batches)
        for _ in Part(0, self.world).slices(count, size):  # process 0 has the most
            batch = next(own, None)
            everyone: list[Tensor | None] | None = [None] * self.world if self.rank == 0 else None
            dist.gather_object(None if batch is None else batch.cpu(), everyone)
            yield from (b for b in everyone or [] if b is not None)


#: One process that does everything.
WHOLE = Part()


def _in_turns(lists: list[list[T]]) -> list[T]:
    missing = object()
    return [x for x in chain.from_iterable(zip_longest(*lists, fillvalue=missing)) if x is not missing]  # type: ignore[misc]


def started_together() -> int:
    """How many processes share the work of this command, whether or not they have met yet.

    Raises:
        ConfigError: for an environment that says nothing sensible.
    """
    return launched().world


def join(device: torch.device) -> Part:
    """Meet the processes that were started together; one that was started alone is on its own.

    Raises:
        ConfigError: where they cannot be reached.
    """
    import torch.distributed as dist

    if started_together() > 1:
        from accelerate import PartialState  # slow to import, and most commands are on their own

        with to_meet():
            PartialState(cpu=device.type == "cpu")
    return Part(dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else WHOLE


def refuse_several(what: str, instead: str) -> None:
    """Raise an error where several processes were started together for what one does alone.

    Args:
        what: for example "a sweep".
        instead: what to do, as a sentence.

    Raises:
        ConfigError: where they were.
    """
    if (world := started_together()) > 1:
        raise ConfigError(f"{what} is not divided among processes, but {world} were started together. {instead}")


#: What `gather` gave before the group was set up.
_gathered: list[object] = []


def come() -> None:
    """Meet the processes that were started together, if there are any, before what may take long on one of them.

    From then on commands notice others that are frozen or have ended; `to_meet` makes up for what was not done.

    Raises:
        ConfigError: where the others have not come in time.
    """
    import torch.distributed as dist

    launch = launched()
    if launch.world == 1 or dist.is_initialized() or _gathered:
        return
    _gathered.append(gather(launch))
    if are_heeded():
        heartbeat.beat(launch)


@contextmanager
def to_meet() -> Iterator[None]:
    """For what sets up the group of processes, once all have come and are still there.

    Raises:
        ConfigError: where others have not come in time, or process 0 has ended since.
    """
    import torch.distributed as dist

    launch = launched()
    if launch.world == 1 or dist.is_initialized():
        yield
        return
    come()
    if launch.rank > 0:
        reach(launch)
    with said_to_wait(launch):
        yield
    _gathered.clear()


def is_partner_lost(error: BaseException) -> bool:
    """Whether an error says that another process has ended, or can no longer be reached."""
    import torch.distributed as dist

    return started_together() > 1 and (isinstance(error, dist.DistError) or "gloo" in str(error))


def is_first() -> bool:
    """Whether this is the process that prints and writes for all."""
    return os.environ.get("RANK", "0") == "0"


def leave(together: bool = True) -> None:
    """Close the group of processes, if there is one; `together`: after all are done; a failure does not wait.

    Models that were copied to the processes hold the group: those that nobody uses any more have to be gone before, or
    torch may abort as Python ends.
    """
    import torch.distributed as dist

    if not dist.is_available():
        return
    grouped = dist.is_initialized()
    if grouped:
        gc.collect()
        if together:
            dist.barrier()
    heartbeat.rest()
    _gathered.clear()
    if grouped:
        dist.destroy_process_group()
