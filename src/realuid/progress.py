"""Progress of long work on standard error: a bar in a terminal, a line now and then elsewhere (files, notebooks)."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import TypeVar

from realuid.processes import is_first

T = TypeVar("T")

#: Seconds from one line to the next, and the share of the time so far that it is at least.
_PAUSE, _SHARE = 10.0, 0.02
#: Work that takes fewer seconds than this is not worth a word (`track`).
_SHORT = 2.0
#: Longest title in a bar, which fits into 80 columns with it.
_TITLE = 18


class Progress:
    """Reports how far work of a known length is.

    Args:
        title: what is done.
        total: its length, in updates or samples.
        start: how much of it was done before.
        quiet: report nothing.
    """

    def __init__(self, title: str, total: int, start: int = 0, quiet: bool = False):
        self.title, self.total, self.start, self.quiet = title, total, start, quiet
        self.done, self.note = start, ""
        self.began = time.monotonic()
        self.due = self.began + _PAUSE
        self._said: tuple[int, str] | None = None
        self.bar = None if quiet or not sys.stderr.isatty() else _bar(title, total, start)

    def update(self, done: int, note: str | None = None) -> None:
        """Report how much is done, and what else there is to say."""
        self.done, self.note = done, self.note if note is None else note
        if self.bar:
            self.bar.update(self.bar.task_ids[0], completed=done, note=self.note)
        elif not self.quiet and (now := time.monotonic()) >= self.due:
            self.due = now + max(_PAUSE, _SHARE * (now - self.began))
            self._say()

    def close(self) -> None:
        """End the report: the bar stays as it is; elsewhere the last line is always printed, once."""
        if self.bar:
            self.bar.stop()
        elif not self.quiet and self._said != (self.done, self.note):
            self._say()

    def _say(self) -> None:
        self._said = self.done, self.note
        now, parts = time.monotonic(), [f"{self.title}: {self.done:,} of {self.total:,}"]
        parts += [self.note] if self.note else []
        if self.start < self.done < self.total:
            left = (now - self.began) / (self.done - self.start) * (self.total - self.done)
            parts.append(f"{timedelta(seconds=round(left))} left")
        else:
            parts.append(f"{timedelta(seconds=round(now - self.began))}")
        print(", ".join(parts), file=sys.stderr, flush=True)


def _bar(title: str, total: int, start: int):  # type: ignore[no-untyped-def]  # rich is imported when needed
    """A started bar of rich that fits into 80 columns."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = ("{task.description}", "{task.fields[note]}")
    description, note = (TextColumn(text, markup=False) for text in columns)
    bar = Bar(
        description,
        BarColumn(bar_width=8),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        note,
        console=Console(stderr=True),
    )
    bar.add_task(title if len(title) <= _TITLE else title[: _TITLE - 1] + "…", total=total, completed=start, note="")
    bar.start()
    return bar


def track(items: Iterable[T], title: str, total: int, each: int = 1) -> Iterator[T]:
    """The items, with a report of progress where they take more than a moment.

    Args:
        items: for instance batches.
        title: what is done.
        total: its length.
        each: how much of it an item is.
    """
    began, progress = time.monotonic(), None
    quiet = not is_first()
    try:
        for number, item in enumerate(items, 1):
            yield item
            if progress is None and time.monotonic() - began > _SHORT:
                progress = Progress(title, total, quiet=quiet)
                progress.began = began
            if progress:
                progress.update(min(number * each, total))
    finally:
        if progress:
            progress.close()
