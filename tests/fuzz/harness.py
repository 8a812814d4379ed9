"""Read a damaged file and see what that does: the library's error or a result, and nothing else.

While it is read, Python's audit events tell of programs, processes, connections and files; the deadline is one of CPU
time, so that a busy machine does not matter, with a long one of wall time for what waits; and the peak of resident
memory is compared with the size of the file. What libraries in C open is not seen.
"""

from __future__ import annotations

import os
import random
import re
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from realuid.errors import RealUIDError

#: Of CPU time, and of wall time in case something waits.
SECONDS, WAITING = 10, 120
#: Beside twice the file.
MEMORY = 500 << 20

_FORBIDDEN = (
    *("os.system", "os.exec", "os.fork", "os.posix_spawn", "subprocess.Popen", "pickle.find_class"),
    *("socket.connect", "os.remove", "os.rename", "os.rmdir", "shutil.rmtree"),
)
#: Where data sets of the Hugging Face hub are kept, unless HF_HOME says otherwise.
_HUB = Path.home() / ".cache" / "huggingface"
#: Files that Python and its libraries open by themselves.
_OWN = re.compile(
    r"(/usr|/lib|/etc/(ld|mime|ssl|localtime)|/proc|/sys|/dev/(null|u?random|shm))\b.*|.*/__pycache__/.*|.*\.(pyc?|so)"
)


class Case(NamedTuple):
    """A damaged file."""

    #: Reads it, and makes use of what was read.
    read: Callable[[], object]
    #: In bytes.
    size: int


Fuzzer = Callable[[Path, random.Random], Iterator[Case]]


class HangError(BaseException):
    """Reading took too long."""


class BreachError(BaseException):
    """Reading did what no reading may do."""


def _place(arguments: tuple) -> str:
    """Which file an event is about, whose name may be one in an open folder."""
    name = os.fsdecode(arguments[0]) if isinstance(arguments[0], str | bytes | os.PathLike) else ""
    folder = arguments[1] if len(arguments) == 2 and isinstance(arguments[1], int) else -1
    return str(Path(f"/proc/self/fd/{folder}").readlink() / name) if folder >= 0 else name


class _Watch:
    """What happened since `begin`, inside of a folder and outside."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.allowed: tuple[str, ...] = ()

    def begin(self, folder: Path) -> None:
        self.seen.clear()
        caches = (os.environ.get(name, "") for name in ("REALUID_CACHE", "HF_HOME"))
        places = (folder.resolve(), sys.prefix, sys.base_prefix, Path(__file__).parents[2], *filter(None, caches), _HUB)
        self.allowed = tuple(str(place) for place in places)

    def __call__(self, event: str, arguments: tuple) -> None:
        if not self.allowed:
            return
        if event in _FORBIDDEN:
            inside = arguments and _place(arguments).startswith((self.allowed[0], str(_HUB)))
            if not (inside and event.startswith(("os.r", "shutil"))):
                self.seen.append(event)
        elif event == "open" and isinstance(arguments[0], str | bytes | os.PathLike):
            path = os.path.realpath(os.fsdecode(arguments[0]))
            if not path.startswith(self.allowed) and not _OWN.fullmatch(path):
                self.seen.append(f"open {path}")


_watch = _Watch()
sys.addaudithook(_watch)


@contextmanager
def deadline(seconds: int) -> Iterator[None]:
    """Raise HangError in the middle of whatever takes longer, in CPU time."""

    def stop(number, frame):
        raise HangError(f"more than {seconds} s")

    timers = ((signal.ITIMER_PROF, signal.SIGPROF, seconds), (signal.ITIMER_REAL, signal.SIGALRM, WAITING))
    previous = [signal.signal(number, stop) for _, number, _ in timers]
    for timer, _, length in timers:
        signal.setitimer(timer, length)
    try:
        yield
    finally:
        for (timer, number, _), handler in zip(timers, previous, strict=True):
            signal.setitimer(timer, 0)
            signal.signal(number, handler)


def _memory(which: str) -> int:
    """Resident memory in bytes: 'VmRSS', or the peak since the last reset, 'VmHWM'."""
    text = Path("/proc/self/status").read_text()
    return int(re.search(rf"{which}:\s+(\d+) kB", text)[1]) << 10  # type: ignore[index]


def outcome(case: Case, folder: Path) -> str:
    """What reading did: "read", or the name of the library's error.

    Raises:
        BreachError: for code that ran, a file outside of the folder, or too much memory.
        HangError: where it takes too long.
        Exception: of any type that is not the library's.
    """
    measured = Path("/proc/self/clear_refs").exists()
    if measured:
        Path("/proc/self/clear_refs").write_text("5")
        before = _memory("VmRSS")
    _watch.begin(folder)
    try:
        with deadline(SECONDS):
            case.read()
        result = "read"
    except RealUIDError as error:
        result = type(error).__name__
    finally:
        _watch.allowed = ()
    if _watch.seen:
        raise BreachError(f"reading did {_watch.seen[:5]}")
    if measured and (grown := _memory("VmHWM") - before) > 2 * case.size + MEMORY:
        raise BreachError(f"reading {case.size:,} bytes took {grown:,} bytes of memory")
    return result


def outcomes(fuzzer: Fuzzer, count: int, seed: int, folder: Path | None = None) -> Iterator[str]:
    """Outcomes of a number of damaged files; where one is not as it should be, its error says which."""
    folder = folder or Path(tempfile.mkdtemp(prefix="fuzz-"))
    cases = fuzzer(folder, random.Random(seed))
    for number in range(count):
        case = next(cases)
        try:
            yield outcome(case, folder)
        except BaseException as error:
            error.add_note(f"file {number} of seed {seed}, in {folder}")
            raise


#: Pieces of pickles, numbers and JSON that may upset a reader.
# fmt: off
_POISON = [
    b"cposix\nsystem\n(S'touch it-ran'\ntR", b"cos\nsystem\n", b"\x8c\x02os\x8c\x06system\x93", b"cbuiltins\neval\n",
    b"R", b"b", b"\x81", b"(", b"t", b"u", b"s", b"Q", b".", b"q\x00", b"r\xff\xff\xff\xff", b"j\xff\xff\xff\x7f",
    b"\x8a\xff", b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7f", b"\x00", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff",
    b"null", b"true", b"-1", b"1e999", b"NaN", b"99999999999", b"[", b"{", b"}", b'"', b",", b":", b"[1]", b"[]", b"{}",
    b'"x"', b'"I32"', b'"F64"', b'"F8_E4M3"', b'"U8"',
]
# fmt: on


def mutate(content: bytes, chance: random.Random, hot: list[int] | range | None = None) -> bytes:
    """One to three mutations of some bytes, four in five of them at the `hot` positions (structure, not numbers)."""
    mutated, hot = bytearray(content), hot or range(len(content))
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        at = chance.choice(hot) + chance.randrange(3) if chance.random() < 0.8 else chance.randrange(len(mutated))
        at = min(at, len(mutated) - 1)
        length = chance.choice((1, 1, 2, 4, 8, 64, 1000))
        match chance.randrange(12):
            case 0 | 9 | 10:
                mutated[at] ^= 1 << chance.randrange(8)
            case 1 | 11:
                mutated[at] = chance.randrange(256)
            case 2:
                mutated[at : at + length] = chance.randbytes(len(mutated[at : at + length]))
            case 3:
                del mutated[at : at + length]
            case 4:
                mutated[at:at] = mutated[at : at + length]
            case 5:
                mutated[at:at] = chance.choice(_POISON)
            case 6:
                poison = chance.choice(_POISON)
                mutated[at : at + len(poison)] = poison
            case 7:
                other = chance.choice(hot)
                mutated[at : at + length] = content[other : other + length]
            case 8:
                del mutated[at:]
        mutated = mutated or bytearray(b".")
    return bytes(mutated)
