"""All uses of private interfaces of torch, diffusers, PEFT, torchmetrics and accelerate.

No other module uses names of these libraries that start with an underscore. Each function states the versions it was
tested with and has a test in tests/test_compat.py, which fails first when a library changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn.modules.module import register_module_parameter_registration_hook

if TYPE_CHECKING:  # each is slow to import, and optional for most commands
    from accelerate import Accelerator
    from peft.tuners.tuners_utils import BaseTunerLayer
    from torch.export import ExportedProgram
    from torch.export.pt2_archive._package import PT2ArchiveReader
    from torch.library import OpOverload
    from torchmetrics.image.fid import FrechetInceptionDistance


def lerp_all_(averages: list[Tensor], values: list[Tensor], weight: float) -> None:
    """averages[i] <- averages[i] + weight (values[i] - averages[i]), in one kernel for all (torch 2.10-2.13)."""
    torch._foreach_lerp_(averages, values, weight)


@contextmanager
def on_new_parameter(function: Callable[[nn.Module, str, nn.Parameter | None], None]) -> Iterator[None]:
    """Call a function with every parameter that a module of any thread registers (torch 2.10-2.13)."""
    hook = register_module_parameter_registration_hook(function)
    try:
        yield
    finally:
        hook.remove()


class MovesAnother(nn.Module):
    """A module whose moves (`to`, `float`, ...) another module makes as well (torch 2.10-2.13: `Module._apply`)."""

    def moved_along(self) -> nn.Module:
        """The other module."""
        raise NotImplementedError

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> MovesAnother:
        self.moved_along()._apply(fn, recurse)
        return super()._apply(fn, recurse)


def open_pt2_archive(file: IO[bytes], without: str = "") -> PT2ArchiveReader:
    """The entries of a .pt2 file, none of which is interpreted (torch 2.10-2.13).

    Args:
        file: open, binary.
        without: an entry that reads as empty.
    """
    from torch.export.pt2_archive._package import PT2ArchiveReader

    class Reader(PT2ArchiveReader):
        def read_bytes(self, name: str) -> bytes:
            return b"" if name == without else super().read_bytes(name)

    return Reader(file)


def load_pt2_program(archive: PT2ArchiveReader) -> ExportedProgram:
    """The program 'model' of an archive (torch 2.10-2.13). It runs what the file asks for: check its entries first.

    The inputs of the trace may have been left out (`without="data/sample_inputs/model.pt"`).
    """
    from torch.export.pt2_archive._package import _load_exported_programs

    return _load_exported_programs(archive, archive.get_file_names(), None)["model"]


@contextmanager
def sizes_only() -> Iterator[Callable[[Tensor], Tensor]]:
    """Operators called inside work out sizes and kinds of numbers, and have no memory (torch 2.10-2.13).

    Gives a function that makes such a tensor of an ordinary one; weights may be ordinary. An operator whose size
    depends on the numbers in its inputs raises an error.
    """
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        yield mode.from_tensor


@contextmanager
def with_values() -> Iterator[None]:
    """Tensors made inside have memory and values, in `sizes_only`, too (torch 2.10-2.13)."""
    from torch._subclasses.fake_tensor import unset_fake_temporarily

    with unset_fake_temporarily():
        yield


def is_without_memory(tensor: Tensor) -> bool:
    """Whether `sizes_only` made a tensor (torch 2.10-2.13)."""
    from torch._subclasses.fake_tensor import FakeTensor

    return isinstance(tensor, FakeTensor)


@contextmanager
def moving_sizes() -> Iterator[None]:
    """`Module.to` works on modules whose tensors `sizes_only` made (torch 2.10-2.13, whose own fails on them).

    For the process, within a `with` block: not while other threads move modules.
    """

    def to(module: nn.Module, *args: Any, **kwargs: Any) -> nn.Module:
        device, dtype, _, _ = torch._C._nn._parse_to(*args, **kwargs)
        for each in module.modules():
            for table in (each._parameters, each._buffers):
                for name, tensor in table.items():
                    if tensor is None:
                        continue
                    moved = tensor.detach().to(device, dtype if tensor.is_floating_point() else None)
                    if (moved.device, moved.dtype) == (tensor.device, tensor.dtype):
                        continue
                    kept = nn.Parameter(moved, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else moved
                    table[name] = kept  # type: ignore[assignment]
        return module

    usual = nn.Module.to
    nn.Module.to = to  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        nn.Module.to = usual  # type: ignore[method-assign]


class AllocatedMemory:
    """Bytes of the tensors that are alive, each storage once, and their peak.

    Attributes:
        peak: most bytes so far; it may be set to start anew.
    """

    def __init__(self) -> None:
        self._alive: dict[int, tuple[StorageWeakRef, int]] = {}
        self._total = self.peak = 0

    def add(self, tensor: Tensor) -> Tensor:
        """Count the memory of a tensor from now on, unless it is counted."""
        storage = tensor.untyped_storage()
        if storage._cdata not in self._alive:  # a weak reference keeps that number from being used again
            reference = StorageWeakRef(storage)
            self._alive[reference.cdata] = (reference, storage.nbytes())
            self._total += storage.nbytes()
            if self._total > self.peak:  # before it is a peak: what is gone by now
                self.peak = max(self.peak, self.now)
        return tensor

    @property
    def now(self) -> int:
        """Bytes that are alive now."""
        for number in [number for number, (reference, _) in self._alive.items() if reference.expired()]:
            self._total -= self._alive.pop(number)[1]
        return self._total


@contextmanager
def allocated_memory() -> Iterator[AllocatedMemory]:
    """Count the memory of all tensors that operators of this thread make inside (torch 2.10-2.13).

    Inside `sizes_only` it is what they would take.
    """
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_map_only

    memory = AllocatedMemory()

    class Counted(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            return tree_map_only(Tensor, memory.add, func(*args, **(kwargs or {})))

    with Counted():
        yield memory


def is_pure(operator: OpOverload) -> bool:
    """Whether an operator takes no `out`, a tensor to write to and to resize (torch 2.10-2.13)."""
    return not any(argument.is_out for argument in operator._schema.arguments)


def new_accelerator(cpu: bool) -> Accelerator:
    """An accelerator with a state of its own, without mixed precision (accelerate 1.10-1.14).

    accelerate keeps one state per process, with the device and the precision of the first accelerator. A process may
    make several runs on different devices, so each gets a new state; a state that the caller had set up before stays
    the one that the caller's own accelerators see. A process group is never left or set up twice.

    Args:
        cpu: whether to stay on the CPU.
    """
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState, PartialState

    kinds = [AcceleratorState] if torch.distributed.is_initialized() else [AcceleratorState, PartialState]
    states = [kind._shared_state for kind in kinds]
    for kind, state in zip(kinds, states, strict=True):
        kind._shared_state = type(state)()

    def restore() -> None:
        for kind, state in zip(kinds, states, strict=True):
            kind._shared_state = state

    try:
        made = Accelerator(mixed_precision="no", cpu=cpu)
    except BaseException:
        restore()  # a state that is half made would pass for a whole one
        raise
    if states[0] and not states[0].get("_of_realuid"):
        restore()
    else:
        AcceleratorState._shared_state["_of_realuid"] = True
    return made


def change_class(module: nn.Module, kind: type[nn.Module]) -> None:
    """Make a module one of a subclass of its class that has the same state: only its methods change (diffusers
    0.35-0.42: ResnetBlock2D, Upsample2D)."""
    module.__class__ = kind


def rename_old_attention(model: nn.Module, weights: dict[str, Tensor]) -> None:
    """Rename, in place, weights of attention layers from before diffusers 0.18 (diffusers 0.35-0.42)."""
    model._fix_state_dict_keys_on_load(weights)  # type: ignore[operator]


def inner_name(module: object) -> str | None:
    """Under which name a wrapper holds the module that it wraps: torch.compile, DataParallel and its kin (torch
    2.10-2.13); None for what is no wrapper."""
    if isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
        return "module"
    return "_orig_mod" if isinstance(module, nn.Module) and "_orig_mod" in dict(module.named_children()) else None


def activate_adapter(layer: BaseTunerLayer, name: str | None) -> None:
    """Activate one adapter of a layer, or none, without changing `requires_grad` of any (PEFT 0.17-0.21).

    PEFT's own `set_adapter` and `enable_adapters` also decide what is trained, which autograd reads on the way back,
    when another role may be active.
    """
    layer._disable_adapters = name is None
    if name is not None:
        layer._active_adapter = [name]


_SUMS = ("features_sum", "features_cov_sum", "features_num_samples")


def feature_sums(metric: FrechetInceptionDistance, of: str) -> dict[str, Tensor]:
    """Sums over images from which mean and covariance of features follow (torchmetrics 1.8-1.9).

    Args:
        metric: of torchmetrics, after its updates.
        of: 'real' or 'fake'.
    """
    return {name: getattr(metric, f"{of}_{name}") for name in _SUMS}


def set_feature_sums(metric: FrechetInceptionDistance, of: str, sums: dict[str, Any]) -> None:
    """Put back what `feature_sums` gave."""
    for name in _SUMS:
        setattr(metric, f"{of}_{name}", sums[name])
