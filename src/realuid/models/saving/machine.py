"""A stack machine for pickles that creates only plain values and allowed stand-ins: nothing is imported or run.

A pickle is a program for a small stack machine. Python's machine imports and calls whatever the program names; this one
creates plain values and containers, and calls stand-ins from a table in place of the named objects. It allocates no
more than the file contains. Opcodes are parsed by the standard library's `pickletools`.

Python's `pickle.Unpickler` with a restricted `find_class` (or torch's `weights_only`) would be shorter, but a short
file can make those hang, crash or exhaust memory (keys of nested tuples, memo indices up to 2^32); here keys are plain
values and the memo is a dictionary. A value may contain itself or share its parts, so values of unknown type are never
printed, compared or traversed.
"""

from __future__ import annotations

import argparse
import pickletools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import IO, Any, Protocol

from realuid.errors import CheckpointError

#: Far above what a network of any published size needs (about 50,000), with its optimizer and its records.
MAX_OPCODES = 2_000_000
#: Keys that are numbers, which can be chosen so that all of them collide in a dictionary.
MAX_NUMERIC_KEYS = 20_000

_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_LITERALS = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
}
_EMPTY = {"EMPTY_TUPLE": tuple, "EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_SET": set}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class RefusedNameError(CheckpointError):
    """A pickle names something that the file needs not and that may run code."""

    def __init__(self, name: str, message: str):
        super().__init__(message)
        self.name = name


class Buildable(Protocol):
    """A stand-in whose state a pickle sets afterwards."""

    def set_state(self, state: Any) -> None: ...


@dataclass(frozen=True)
class Global:
    """A name that a pickle imports: 'module.name'."""

    name: str


class Machine:
    """The stack machine.

    Args:
        allowed: names that a pickle may import, and what is called in their place.
        persistent: what stands for a reference to something outside of the pickle; None: there may be none.
        numeric_keys: whether keys may be numbers, too, and not only strings.
        needs: what the file is, for the refusal of other names.
    """

    def __init__(
        self,
        allowed: Mapping[str, Any],
        persistent: Callable[[Any], Any] | None = None,
        *,
        numeric_keys: bool = False,
        needs: str = "network pickle",
    ):
        self.allowed, self.persistent, self.needs = allowed, persistent, needs
        self.numeric_left = MAX_NUMERIC_KEYS if numeric_keys else 0
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
            case "BINPERSID" if self.persistent is not None:
                push(self.persistent(*self.take(1)))

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
                self.extend(self.stack[-1], items)
            case "APPENDS" | "ADDITEMS":
                items = self.take_marked()
                self.extend(self.stack[-1], items)
            case "SETITEM":
                items = self.take(2)
                self.set_items(self.stack[-1], items)
            case "SETITEMS":
                items = self.take_marked()
                self.set_items(self.stack[-1], items)

            case "GLOBAL":
                push(self.name(*argument.split(" ", 1)))
            case "STACK_GLOBAL":
                push(self.name(*self.take(2)))
            case "INST":
                self.name(*argument.split(" ", 1))
                raise CheckpointError(f"instruction INST has no place in a {self.needs}.")
            case "REDUCE" | "NEWOBJ":
                function, arguments = self.take(2)
                if not isinstance(function, Global) or not isinstance(arguments, tuple):
                    raise CheckpointError("it calls something that is not a name.")
                push(self.allowed[function.name](*arguments))
            case "BUILD":
                (state,) = self.take(1)
                _set_state(self.stack[-1], state)
            case _:
                raise CheckpointError(f"instruction {opcode} has no place in a {self.needs}.")

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
            raise RefusedNameError(
                full,
                f"refused, because it names {full[:100]!a}, which no {self.needs} needs. Nothing was run. "
                f"Allowed: {', '.join(self.allowed)}.",
            )
        return Global(full)

    def plain(self, key: Any) -> Any:
        """A key whose hash is quick and, where there are many, has no collisions."""
        if isinstance(key, str):
            return key
        if isinstance(key, int | float) and abs(key) < 2**60 and self.numeric_left:
            self.numeric_left -= 1
            return key
        raise CheckpointError(f"a key or set element is a {type(key).__name__}, not a string.")

    def extend(self, target: Any, items: list[Any]) -> None:
        """Append to a list, or add to a set."""
        if isinstance(target, list):
            target.extend(items)
        elif isinstance(target, set):
            target.update(map(self.plain, items))
        else:
            raise CheckpointError(f"it appends to a {type(target).__name__}.")

    def set_items(self, target: Any, items: list[Any]) -> None:
        """Set keys and values, in turn, of a dictionary."""
        if not isinstance(target, dict) or len(items) % 2:
            raise CheckpointError(f"it sets items of a {type(target).__name__}.")
        target.update(zip(map(self.plain, items[::2]), items[1::2], strict=True))


def _set_state(target: Any, state: Any) -> None:
    if isinstance(target, argparse.Namespace) and isinstance(state, dict) and all(isinstance(k, str) for k in state):
        vars(target).update(state)
    elif isinstance(target, dict) and isinstance(state, dict):
        pass  # attributes of an OrderedDict, for instance a state dict's metadata
    elif hasattr(target, "set_state"):
        target.set_state(state)
    else:
        raise CheckpointError(f"it sets the state of a {type(target).__name__}.")


def encode(text: str, encoding: str) -> bytes:
    """What stands in for `_codecs.encode`: how protocols below 3 store bytes."""
    if encoding != "latin1" or not isinstance(text, str):
        raise CheckpointError("bytes are stored in an unknown way.")
    return text.encode("latin1")


def plain_set(items: Any = ()) -> set[str]:
    """What stands in for `set`, which protocols below 4 call with a list; of strings only."""
    if not isinstance(items, list | tuple) or not all(isinstance(item, str) for item in items):
        raise CheckpointError("a set holds something else than strings.")
    return set(items)


def plain_dict(items: Any = ()) -> dict[Any, Any]:
    """What stands in for `OrderedDict` and `Counter`, which may be called with a dictionary or pairs."""
    if isinstance(items, dict):
        return dict(items)
    if not isinstance(items, list | tuple) or not all(
        isinstance(pair, list | tuple) and len(pair) == 2 and isinstance(pair[0], str) for pair in items
    ):
        raise CheckpointError("a dictionary is stored in an unknown way.")
    return {pair[0]: pair[1] for pair in items}
