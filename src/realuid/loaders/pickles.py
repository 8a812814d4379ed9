"""Reading EDM-style network pickles without executing them.

The few class names in network pickles are mapped to the record classes below: nothing is imported, and stored source
code is ignored. See `realuid.models.saving.machine`.
"""

from __future__ import annotations

import io
import math
import mmap
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import torch
from torch import Tensor

from realuid.errors import CheckpointError
from realuid.models.saving.machine import Machine, encode, plain_set

#: numpy's codes of numbers -> struct's.
_FORMATS = {"f2": "e", "f4": "f", "f8": "d", "i4": "i", "i8": "q", "b1": "?"}


@dataclass
class Module:
    """A stored `nn.Module`: the name of its class and its attributes."""

    class_name: str
    state: dict[str, Any]

    def set_state(self, state: Any) -> None:
        """Replace the attributes, as a pickle does."""
        if not isinstance(state, dict):
            raise CheckpointError("the state of a module is not stored as a dictionary.")
        self.state = state


@dataclass(frozen=True)
class Storage:
    """The bytes of a storage, in torch's older file format."""

    payload: bytes


@dataclass(frozen=True)
class StoredTensor:
    """A view of a storage; `to_tensor` reads it."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    def __post_init__(self) -> None:
        numbers = (self.offset, *self.shape, *self.stride)
        if not isinstance(self.storage, Storage) or len(self.shape) != len(self.stride):
            raise CheckpointError("a tensor is stored in an unknown way.")
        if not all(type(number) is int and 0 <= number < 2**48 for number in numbers):
            raise CheckpointError("a tensor has impossible sizes.")


@dataclass
class NumpyType:
    """A numpy dtype: its code, for instance 'f8', and byte order."""

    code: str
    order: str = "<"

    def __post_init__(self) -> None:
        if not isinstance(self.code, str) or self.code not in _FORMATS:
            raise CheckpointError("a number is of an unknown type.")

    def set_state(self, state: Any) -> None:
        """Set the byte order, as a pickle does."""
        match state:
            case (int(), "<" | ">" | "|" as order, *_):
                self.order = order
            case _:
                raise CheckpointError("a number is of an unknown type.")


def _ordered_dict() -> dict[str, Any]:
    """Empty: a pickle sets the items afterwards."""
    return {}


def _no_bytes() -> bytes:
    """How protocols below 3 store bytes of length 0."""
    return b""


def _persistent(meta: dict[str, Any]) -> Module:
    """An object of a class whose source is stored with it (`module_src`), which is ignored."""
    if meta["type"] != "class" or not isinstance(meta["class_name"], str) or not isinstance(meta["state"], dict):
        raise CheckpointError("a persistent object is not stored as class name and state.")
    return Module(meta["class_name"], meta["state"])


def _scalar(dtype: NumpyType, data: bytes) -> float | int | bool:
    return struct.unpack(dtype.order.replace("|", "<") + _FORMATS[dtype.code], data)[0]


#: Names allowed in a network pickle, and what stands in for them.
GLOBALS: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": _ordered_dict,
    "numpy.dtype": lambda code, align=False, copy=True: NumpyType(code),
    "numpy.core.multiarray.scalar": _scalar,
    "numpy._core.multiarray.scalar": _scalar,
    "torch._utils._rebuild_parameter": lambda data, requires_grad, hooks: data,
    "torch._utils._rebuild_tensor_v2": lambda storage, offset, shape, stride, *_: StoredTensor(
        storage, offset, shape, stride
    ),
    "torch.nn.modules.container.ModuleDict": lambda: Module("ModuleDict", {}),
    "torch.storage._load_from_bytes": Storage,
    "torch_utils.persistence._reconstruct_persistent_obj": _persistent,
    # What protocols 2 and 3 need for bytes and sets.
    "_codecs.encode": encode,
    "__builtin__.set": plain_set,
    "builtins.set": plain_set,
    "__builtin__.bytes": _no_bytes,
    "builtins.bytes": _no_bytes,
}

#: Names allowed in a storage's own pickles: what its numbers are.
STORAGES = {
    "torch.HalfStorage": torch.float16,
    "torch.BFloat16Storage": torch.bfloat16,
    "torch.FloatStorage": torch.float32,
    "torch.DoubleStorage": torch.float64,
}


@contextmanager
def damage_as_checkpoint_error(where: str) -> Iterator[None]:
    """Report whatever goes wrong while reading untrusted data as CheckpointError; there, any exception is its fault."""
    try:
        yield
    except CheckpointError as error:
        raise CheckpointError(f"'{where}': {error}") from error
    except Exception as error:
        raise CheckpointError(
            f"'{where}' is damaged, or not an EDM network pickle ({type(error).__name__}: {str(error)[:200]!a})."
        ) from error


def read_pickle(path: str | Path) -> Any:
    """The plain values, containers and records that a network pickle holds.

    Raises:
        CheckpointError: for a missing or damaged file, and for one that names anything but `GLOBALS`; nothing was run.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"no network pickle at '{path}': there is no such file.")
    with (
        damage_as_checkpoint_error(str(path)),
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view,
    ):
        return Machine(GLOBALS).run(cast(IO[bytes], view))


def to_tensor(stored: StoredTensor) -> Tensor:
    """The numbers of a stored tensor, contiguous.

    Its storage is five pickles (a magic number, a version, facts about the machine, the reference, the keys), the
    number of elements as int64, and the elements.

    Raises:
        CheckpointError: where they do not fit together.
    """
    with damage_as_checkpoint_error("a stored tensor"):
        stream = io.BytesIO(stored.storage.payload)
        magic, version, machine, reference, keys = (
            Machine(STORAGES, lambda reference: reference).run(stream) for _ in range(5)
        )
        if (magic, version) != (0x1950A86A20F9469CFC6C, 1001) or not machine["little_endian"]:
            raise CheckpointError("it is in a format of another torch or another machine.")
        kind, storage_type, key, _, count, view = reference
        (elements,) = struct.unpack("<q", stream.read(8))
        position, dtype = stream.tell(), STORAGES[storage_type.name]
        expected = position + elements * dtype.itemsize
        whole = isinstance(key, str) and keys == [key] and count == elements and expected == len(stored.storage.payload)
        if kind != "storage" or view is not None or not whole:
            raise CheckpointError("its storage is damaged.")
        last = stored.offset + sum((n - 1) * s for n, s in zip(stored.shape, stored.stride, strict=True))
        size = math.prod(stored.shape)
        if size > elements or last >= elements:
            raise CheckpointError("it reaches beyond its storage.")
        if not size:
            return torch.empty(stored.shape, dtype=dtype)
        numbers = torch.frombuffer(bytearray(memoryview(stored.storage.payload)[position:]), dtype=dtype)
        return numbers.as_strided(stored.shape, stored.stride, stored.offset).contiguous()
