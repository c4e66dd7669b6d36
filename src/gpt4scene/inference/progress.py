"""How far a run is and how long it will take: one line that is rewritten on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from typing import TextIO


def duration(seconds: float) -> str:
    """Return ``"45 s"``, ``"12 min"`` or ``"3.5 h"``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


class Progress:
    """Counts answers and scenes. Plain lines come at most every ten seconds, and at the end."""

    def __init__(self, answers: int, scenes: int, stream: TextIO) -> None:
        self.answers, self.scenes, self.stream = answers, scenes, stream
        self.answered = self.visited = 0
        self._start = self._shown = time.monotonic()
        self._terminal = stream.isatty()

    def answer(self) -> None:
        """Count one answer."""
        self.answered += 1
        if self.answered < self.answers:
            self._show(0.2 if self._terminal else 10)

    def scene(self) -> None:
        """Count one scene."""
        self.visited += 1
        if self.visited == self.scenes:
            self._show(0)
            if self._terminal:
                print(file=self.stream)

    def _show(self, interval: float) -> None:
        now = time.monotonic()
        if now - self._shown < interval:
            return
        self._shown = now
        spent = now - self._start
        left = spent / max(self.answered, 1) * (self.answers - self.answered)
        text = (
            f"scene {min(self.visited + 1, self.scenes)} of {self.scenes}, {self.answered} of {self.answers} answers, "
            + (f"{duration(left)} left" if self.answered < self.answers else f"answered in {duration(spent)}")
        )
        print(f"\r\x1b[K{text}" if self._terminal else text, end="" if self._terminal else "\n", file=self.stream)
        self.stream.flush()
