"""Read what EDM-style network pickles hold, without running them.

A pickle is a program for a small stack machine. Python's machine imports and calls whatever the program names; this one
knows plain values and containers, and the few names that network pickles contain. Those only ever make the records
below: nothing is imported, no stored source is looked at, and nothing is allocated that the file does not contain.
Opcodes are parsed by the standard library's `pickletools`.

Python's `pickle.Unpickler` with a restricted `find_class` would be shorter, but a short file can make it hang, crash or
exhaust memory (keys of nested tuples, memo indices up to 2^32); here keys are strings and the memo is a dictionary.
A value may contain itself or share its parts, so nothing below prints, compares or walks one of unknown kind.
"""

from __future__ import annotations

import io
import math
import mmap
import pickletools
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import torch
from torch import Tensor

from realuid.errors import CheckpointError

#: Far above what a network of any published size needs (about 50,000).
MAX_OPCODES = 1_000_000

_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_LITERALS = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
}
_EMPTY = {"EMPTY_TUPLE": tuple, "EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_SET": set}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}

#: numpy's codes of numbers -> struct's.
_FORMATS = {"f2": "e", "f4": "f", "f8": "d", "i4": "i", "i8": "q", "b1": "?"}


@dataclass(frozen=True)
class Global:
    """A name that a pickle imports: 'module.name'."""

    name: str


@dataclass
class Module:
    """A stored `nn.Module`: the name of its class and its attributes."""

    class_name: str
    state: dict[str, Any]


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


def _ordered_dict() -> dict[str, Any]:
    """Empty: a pickle sets the items afterwards."""
    return {}


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
        return _Machine(GLOBALS).run(cast(IO[bytes], view))


class _Machine:
    """The stack machine. It only ever calls values of `allowed`."""

    def __init__(self, allowed: Mapping[str, Any]):
        self.allowed = allowed
        self.stack: list[Any] = []
        self.marked: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def run(self, stream: IO[bytes]) -> Any:
        """Read one pickle of a stream, up to its STOP."""
        for count, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
            if opcode.name == "STOP":
                return self.stack.pop()
            if count > MAX_OPCODES:
                raise CheckpointError(f"it has more than {MAX_OPCODES:,} instructions.")
            self.step(opcode.name, argument)
        raise CheckpointError("it has no end.")

    def step(self, opcode: str, argument: Any) -> None:
        """One instruction."""
        push = self.stack.append
        match opcode:
            case "PROTO" | "FRAME":
                pass
            case _ if opcode in _CONSTANTS:
                push(_CONSTANTS[opcode])
            case _ if opcode in _LITERALS:
                push(argument)
            case "BINPERSID" if self.allowed is STORAGES:
                pass  # the reference to a storage stays the tuple it is

            case "MEMOIZE":
                self.memo[len(self.memo)] = self.stack[-1]
            case "BINPUT" | "LONG_BINPUT":
                self.memo[argument] = self.stack[-1]
            case "BINGET" | "LONG_BINGET":
                push(self.memo[argument])

            case _ if opcode in _EMPTY:
                push(_EMPTY[opcode]())
            case _ if opcode in _TUPLES:
                push(tuple(self.take(_TUPLES[opcode])))
            case "MARK":
                self.marked.append(self.stack)
                self.stack = []
            case "TUPLE":
                items = self.take_marked()
                self.stack.append(tuple(items))
            case "APPEND":
                items = self.take(1)
                _extend(self.stack[-1], items)
            case "APPENDS" | "ADDITEMS":
                items = self.take_marked()
                _extend(self.stack[-1], items)
            case "SETITEM":
                items = self.take(2)
                _set_items(self.stack[-1], items)
            case "SETITEMS":
                items = self.take_marked()
                _set_items(self.stack[-1], items)

            case "GLOBAL":
                push(self.name(*argument.split(" ", 1)))
            case "STACK_GLOBAL":
                push(self.name(*self.take(2)))
            case "INST":
                self.name(*argument.split(" ", 1))
                raise CheckpointError("instruction INST has no place in a network pickle.")
            case "REDUCE" | "NEWOBJ":
                function, arguments = self.take(2)
                if not isinstance(function, Global) or not isinstance(arguments, tuple):
                    raise CheckpointError("it calls something that is not a name.")
                push(self.allowed[function.name](*arguments))
            case "BUILD":
                (state,) = self.take(1)
                _set_state(self.stack[-1], state)
            case _:
                raise CheckpointError(f"instruction {opcode} has no place in a network pickle.")

    def take(self, count: int) -> list[Any]:
        """Remove the last values from the stack."""
        if len(self.stack) < count:
            raise CheckpointError("it takes more from the stack than there is.")
        items = self.stack[-count:]
        del self.stack[-count:]
        return items

    def take_marked(self) -> list[Any]:
        """Remove the values above the last mark."""
        items, self.stack = self.stack, self.marked.pop()
        return items

    def name(self, module: Any, name: Any) -> Global:
        """A name that the pickle imports, if it is on the list."""
        if not isinstance(module, str) or not isinstance(name, str):
            raise CheckpointError("it imports something that is not a name.")
        if (full := f"{module}.{name}") not in self.allowed:
            raise CheckpointError(
                f"refused, because it names {full[:100]!a}, which no network pickle needs. Nothing was run. "
                f"Allowed: {', '.join(self.allowed)}."
            )
        return Global(full)


def _plain(key: Any) -> Any:
    """A key whose hash is quick and has no collisions."""
    if not isinstance(key, str):
        raise CheckpointError(f"a key or set element is a {type(key).__name__}, not a string.")
    return key


def _extend(target: Any, items: list[Any]) -> None:
    if isinstance(target, list):
        target.extend(items)
    elif isinstance(target, set):
        target.update(map(_plain, items))
    else:
        raise CheckpointError(f"it appends to a {type(target).__name__}.")


def _set_items(target: Any, items: list[Any]) -> None:
    if not isinstance(target, dict) or len(items) % 2:
        raise CheckpointError(f"it sets items of a {type(target).__name__}.")
    target.update(zip(map(_plain, items[::2]), items[1::2], strict=True))


def _set_state(target: Any, state: Any) -> None:
    match target, state:
        case Module(), dict():
            target.state = state
        case NumpyType(), (int(), "<" | ">" | "|" as order, *_):
            target.order = order
        case dict(), dict():
            pass  # attributes of an OrderedDict, for instance a state dict's metadata
        case _:
            raise CheckpointError(f"it sets the state of a {type(target).__name__}.")


def to_tensor(stored: StoredTensor) -> Tensor:
    """The numbers of a stored tensor, contiguous.

    Its storage is five pickles (a magic number, a version, facts about the machine, the reference, the keys), the
    number of elements as int64, and the elements.

    Raises:
        CheckpointError: where they do not fit together.
    """
    with damage_as_checkpoint_error("a stored tensor"):
        stream = io.BytesIO(stored.storage.payload)
        magic, version, machine, reference, keys = (_Machine(STORAGES).run(stream) for _ in range(5))
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
