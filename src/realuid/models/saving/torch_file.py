"""Reading torch's own files safely: plain values and dense tensors only.

`torch.load(weights_only=True)` runs no code either, but a few kilobytes can make it crash, hang or take terabytes (keys
of nested tuples, tensors of stride 0, inflating archives), and it does not verify checksums. So the pickle runs on our
own stack machine, and a tensor is never larger than its data in the file. Both formats are read: archives (since torch
1.6), and the older series of pickles followed by the raw data.
"""

from __future__ import annotations

import argparse
import io
import math
import re
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from realuid.errors import CheckpointError
from realuid.models.saving.machine import Machine, RefusedNameError, encode, plain_dict, plain_set
from realuid.reading import open_regular

#: torch.save's magic number and version before it wrote zip archives.
_LEGACY = (0x1950A86A20F9469CFC6C, 1001)
#: Far above any trainer's options and records, which are pickled; tensors are stored beside the pickle.
_MAX_PICKLE = 256 << 20

_DTYPES = {
    "Half": torch.float16,
    "BFloat16": torch.bfloat16,
    "Float": torch.float32,
    "Double": torch.float64,
    "Char": torch.int8,
    "Byte": torch.uint8,
    "Short": torch.int16,
    "Int": torch.int32,
    "Long": torch.int64,
    "Bool": torch.bool,
    "ComplexFloat": torch.complex64,
    "ComplexDouble": torch.complex128,
    "Untyped": torch.uint8,
    "QInt8": torch.int8,  # of quantised tensors, which are refused
    "QUInt8": torch.uint8,
    "QInt32": torch.int32,
}
_NAMED_DTYPES = {
    f"torch.{name}": getattr(torch, name)
    for name in (
        *("float16", "bfloat16", "float32", "float64", "int8", "uint8", "int16", "int32", "int64", "bool"),
        *("complex64", "complex128", "uint16", "uint32", "uint64", "float8_e4m3fn", "float8_e5m2"),
    )
}
#: Tensors that torch can store, and no network here is made of.
_ODD_TENSORS = {
    "_rebuild_sparse_tensor": "sparse",
    "_rebuild_qtensor": "quantised",
    "_rebuild_nested_tensor": "nested",
    "_rebuild_meta_tensor_no_storage": "on the meta device, without numbers",
    "_rebuild_wrapper_subclass": "of a class of its own",
    "_rebuild_device_tensor_from_numpy": "of another device",
    "_rebuild_device_tensor_from_cpu_tensor": "of another device",
}

#: key of a storage, its dtype and number of elements -> its numbers, one-dimensional.
_Numbers = Callable[[str, torch.dtype, int], Tensor]


def read_torch_file(path: str | Path) -> dict[Any, Any]:
    """A dictionary from a file that `torch.save` wrote; nothing in the file can run.

    torch itself does not look at the checksums of its archives, so a flipped bit would pass for a weight: they are
    compared here, where the file has them.

    Raises:
        CheckpointError: where the file is missing or damaged, asks for more than plain data, or is no dictionary.
    """
    if not Path(path).exists():
        raise CheckpointError(f"no checkpoint at '{path}'.")
    with open_regular(path) as file:
        content = read_torch(file, str(path))
    if not isinstance(content, dict):
        raise CheckpointError(f"'{path}' holds a {type(content).__name__}, not a dictionary.")
    return content


def read_torch(file: IO[bytes], where: str) -> Any:
    """What `torch.save` wrote to a file, as `read_torch_file`, of any type.

    Args:
        file: open, seekable.
        where: what it is, for errors.
    """
    try:
        start = file.read(4)
        file.seek(0)
        return _read_archive(file) if start == b"PK\x03\x04" else _read_legacy(file)
    except RefusedNameError as error:
        reason = f"it asks for {ascii(error.name[:100])[1:-1]}, which may run code"
        raise CheckpointError(f"'{where}' cannot be read as a torch file of plain data ({reason}).") from error
    except _DamagedError as error:
        raise CheckpointError(f"'{where}' is damaged: {error}") from error
    except CheckpointError as error:
        raise CheckpointError(f"'{where}' cannot be read as a torch file of plain data ({_line(error)}).") from error
    except Exception as error:  # damage surfaces as nearly any type
        reason = "its contents are damaged, or more than plain data"
        raise CheckpointError(f"'{where}' cannot be read as a torch file of plain data ({reason}).") from error


class _DamagedError(CheckpointError):
    """An entry does not match its checksum."""


def _line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")[:300]


def _read_archive(file: IO[bytes]) -> Any:
    size = file.seek(0, io.SEEK_END)
    with zipfile.ZipFile(file) as archive:
        entries = {info.filename: info for info in archive.infolist()}
    (pickle,) = (name for name in entries if re.fullmatch(r"[^/]+/data\.pkl", name))
    prefix = pickle.removesuffix("data.pkl")
    if f"{prefix}byteorder" in entries and _entry(file, entries[f"{prefix}byteorder"], size) != b"little":
        raise CheckpointError("it was written on a big-endian machine.")
    storages: dict[str, bytearray] = {}

    def numbers(key: str, dtype: torch.dtype, count: int) -> Tensor:
        if key not in storages:
            left = size - sum(map(len, storages.values()))  # entries may overlap each other
            storages[key] = _entry(file, entries[f"{prefix}data/{key}"], left)
        if len(storages[key]) != count * dtype.itemsize:
            raise CheckpointError("a storage is not as large as the tensors in it say.")
        return torch.frombuffer(storages[key], dtype=dtype) if count else torch.empty(0, dtype=dtype)

    content = _entry(file, entries[pickle], min(size, _MAX_PICKLE))
    return _machine(numbers).run(io.BytesIO(content))


def _entry(file: IO[bytes], info: zipfile.ZipInfo, most: int) -> bytearray:
    """The content of an entry, which torch never compresses, of at most `most` bytes."""
    if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
        raise CheckpointError("its entries are compressed or encrypted, and torch writes neither.")
    if info.file_size > most:
        raise CheckpointError("its entries claim more than the file holds.")
    file.seek(info.header_offset)
    header = file.read(30)
    name, extra = struct.unpack("<HH", header[26:30])
    if header[:4] != b"PK\x03\x04":
        raise CheckpointError("its directory is damaged.")
    file.seek(info.header_offset + 30 + name + extra)
    content = bytearray(info.file_size)
    if file.readinto(content) != info.file_size:  # type: ignore[attr-defined]
        raise CheckpointError("it is cut short.")
    if info.CRC and zlib.crc32(content) != info.CRC:  # torch can be told to write none, which reads as 0
        raise _DamagedError(f"'{info.filename}' in it does not match its checksum.")
    return content


def _read_legacy(file: IO[bytes]) -> Any:
    """Magic number, version and machine, the content, the keys of the storages; then their numbers, in this order.

    The content is read twice: where the numbers are is known at its end.
    """
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    plain = [Machine({}, needs="torch file").run(file) for _ in range(2)]
    machine = Machine({}, needs="torch file").run(file)
    if tuple(plain) != _LEGACY or not machine["little_endian"]:
        raise CheckpointError("it is no torch file, or of another version or machine.")
    start = file.tell()
    sizes: dict[str, tuple[torch.dtype, int]] = {}

    def note(key: str, dtype: torch.dtype, count: int) -> Tensor:
        if sizes.setdefault(key, (dtype, count)) != (dtype, count):
            raise CheckpointError("a storage has several kinds of numbers.")
        if count * dtype.itemsize > size:
            raise CheckpointError("its storages claim more than the file holds.")
        return torch.empty(count, dtype=dtype, device="meta")

    _machine(note).run(file)
    keys = Machine({}, needs="torch file").run(file)
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise CheckpointError("the keys of its storages are no names.")
    if sum(dtype.itemsize * count for dtype, count in sizes.values()) > size or sorted(keys) != sorted(sizes):
        raise CheckpointError("its storages claim more than the file holds.")
    storages: dict[str, Tensor] = {}
    for key in keys:
        dtype, count = sizes[key]
        content = bytearray(count * dtype.itemsize)
        if file.read(8) != struct.pack("<q", count) or file.readinto(content) != len(content):  # type: ignore[attr-defined]
            raise CheckpointError("it is cut short, or its storages are damaged.")
        storages[key] = torch.frombuffer(content, dtype=dtype) if count else torch.empty(0, dtype=dtype)
    file.seek(start)
    return _machine(lambda key, dtype, count: storages[key]).run(file)


class _Storage:
    """A reference to a storage: its kind of numbers, its key and how many there are."""

    def __init__(self, dtype: torch.dtype, key: str, count: int):
        if not isinstance(key, str) or type(count) is not int or not 0 <= count < 2**48:
            raise CheckpointError("a storage is described in an unknown way.")
        self.dtype, self.key, self.count = dtype, key, count


class _StorageType:
    """The name of a class of storages, which stands in a reference."""

    def __init__(self, name: str):
        self.dtype = _DTYPES[name]


def _machine(numbers: _Numbers) -> Machine:
    """A machine that makes plain values, and tensors from the numbers of storages."""

    def persistent(reference: Any) -> _Storage:
        kind, storage, key, _, count, *view = reference
        if kind != "storage" or any(part is not None for part in view):
            raise CheckpointError("a storage is described in an unknown way.")
        return _Storage(storages[storage.name].dtype, key, count)

    def tensor(storage: Any, offset: Any, shape: Any, stride: Any, dtype: torch.dtype | None = None) -> Tensor:
        if not isinstance(storage, _Storage) or not isinstance(shape, tuple) or not isinstance(stride, tuple):
            raise CheckpointError("a tensor is stored in an unknown way.")
        if not all(type(n) is int and 0 <= n < 2**48 for n in (offset, *shape, *stride)) or len(shape) != len(stride):
            raise CheckpointError("a tensor has impossible sizes.")
        flat = numbers(storage.key, storage.dtype, storage.count)
        flat = flat if dtype is None else flat.view(dtype)
        last = offset + sum((n - 1) * s for n, s in zip(shape, stride, strict=True))
        if math.prod(shape) > len(flat) or (math.prod(shape) and last >= len(flat)):
            raise CheckpointError(
                f"a tensor of shape {str(shape)[:60]} is stored as {len(flat)} numbers: one that repeats or misses its "
                "numbers cannot be read."
            )
        return flat.as_strided(shape, stride, offset)

    def odd(kind: str) -> Callable[..., Any]:
        def refuse(*_: Any) -> None:
            raise CheckpointError(f"it holds a tensor that is {kind}; needed are dense ones on the CPU.")

        return refuse

    storages = {f"torch.{name}Storage": _StorageType(name) for name in _DTYPES}
    storages |= {f"torch.cuda.{name}Storage": kind for name, kind in zip(_DTYPES, storages.values(), strict=True)}
    storages |= {"torch.storage.UntypedStorage": _StorageType("Untyped")}
    allowed: dict[str, Any] = {
        **storages,
        **{f"torch._utils.{name}": odd(kind) for name, kind in _ODD_TENSORS.items()},
        "_codecs.encode": encode,
        "argparse.Namespace": argparse.Namespace,
        "builtins.set": plain_set,
        "__builtin__.set": plain_set,
        "collections.OrderedDict": plain_dict,
        "collections.Counter": plain_dict,
        "torch.Size": lambda shape=(): shape,
        "torch.device": lambda *_: torch.device("cpu"),
        "torch._utils._rebuild_tensor": tensor,
        "torch._utils._rebuild_tensor_v2": lambda storage, offset, shape, stride, *_: tensor(
            storage, offset, shape, stride
        ),
        "torch._utils._rebuild_tensor_v3": lambda storage, offset, shape, stride, requires_grad, hooks, dtype, *_: (
            tensor(storage, offset, shape, stride, _NAMED_DTYPES[dtype.name])
        ),
        "torch._utils._rebuild_parameter": lambda data, *_: data,
        "torch._utils._rebuild_parameter_with_state": lambda data, *_: data,
        "torch.nn.parameter.Parameter": lambda data, *_: data,
        "torch.serialization._get_layout": lambda name: name,
        **_NAMED_DTYPES,
        **{f"torch.per_{part}_affine": None for part in ("tensor", "channel")},
    }
    return Machine(allowed, persistent, numeric_keys=True, needs="torch file")
