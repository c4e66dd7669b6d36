"""How far work is and how long it will take: a bar on a terminal, a line now and then elsewhere, nothing if quiet.

All of it goes to stderr. Work that is done within a second or two says nothing.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sized
from types import TracebackType
from typing import Any, TypeVar

from gpt4scene import talk

Item = TypeVar("Item")
FIRST, APART, SHARE = 2.0, 30.0, 0.1
"""Seconds before the first line; seconds after which a line is due; share of the work after which one is due."""
SHOWN = 1.0  # seconds of work before a bar is drawn


def duration(seconds: float) -> str:
    """Return ``"45 s"``, ``"12 min"`` or ``"3.5 h"``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def track(items: Iterable[Item], what: str, total: int | None = None) -> Iterator[Item]:
    """Yield ``items`` and show how many are done. ``what`` says what they are, as in ``"scenes"``.

    ``total`` is their number; that of ``items`` itself where it is left out and ``items`` has a length.
    """
    if total is None and isinstance(items, Sized):
        total = len(items)
    with Progress(what, total) as progress:
        for item in items:
            yield item
            progress.advance()


class Progress:
    """Counts work that is done, and shows it: ``with Progress("scenes", 12) as progress: … progress.advance()``.

    ``total`` None is a number that is not known; then only what is done is shown. ``start`` is what was done before,
    which tells nothing about how fast the work is.
    """

    def __init__(self, what: str, total: int | None = None, start: int = 0) -> None:
        self.what, self.total, self.done = what, total, start
        self._start, self._more = start, ""
        self._began = self._said = time.monotonic()
        self._said_done = start
        self._bar: Any = None

    def __enter__(self) -> Progress:
        self._began = self._said = time.monotonic()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def advance(self, by: int = 1, more: str | None = None) -> None:
        """Count ``by`` as done. ``more`` is a short text that is shown beside it from now on."""
        self.done += by
        self._more = self._more if more is None else more
        if talk.quiet():
            return
        now = time.monotonic()
        if self._bar is not None or talk.can_redraw():  # a bar stands before stderr, which is then no terminal
            self._draw(now)
        elif self._line_is_due(now):
            self._said, self._said_done = now, self.done
            talk.say(self._line(now))

    def close(self) -> None:
        """Take the bar away; what was written as lines stays."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def left(self, now: float) -> float | None:
        """Return the seconds that the rest will take at the pace so far, None where that is not known."""
        if self.total is None or self.done <= self._start:
            return None
        return (now - self._began) / (self.done - self._start) * max(self.total - self.done, 0)

    def _line_is_due(self, now: float) -> bool:
        if now - self._began < FIRST:
            return False
        if now - self._said >= APART:
            return True
        further = self.total is not None and self.done - self._said_done >= SHARE * self.total
        return further and now - self._said >= FIRST

    def _line(self, now: float) -> str:
        of = f" of {self.total:,}" if self.total is not None else ""
        more = f", {self._more}" if self._more else ""
        left = self.left(now)
        time_left = f", {duration(left)} left" if left is not None and self.done < (self.total or 0) else ""
        return f"{self.what}: {self.done:,}{of}{more}{time_left}"

    def _draw(self, now: float) -> None:
        if self._bar is None:
            if now - self._began < SHOWN:
                return
            self._bar = bar()
            self._bar.add_task(self.what, total=self.total, completed=self._start, more="")
            self._bar.start()
        self._bar.update(self._bar.task_ids[0], completed=self.done, more=self._more)


def bar() -> Any:
    """Return rich's progress bar as all commands show it: not yet started, gone when it stops.

    Tasks of it have the field ``more``. What is written to stderr meanwhile stands above the bar; results on stdout
    go where they go.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    return RichProgress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[more]}", markup=False),
        console=Console(stderr=True),
        transient=True,
        redirect_stdout=False,
    )
