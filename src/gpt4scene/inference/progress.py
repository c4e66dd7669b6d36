"""How far answering is: a bar on a terminal, elsewhere a line now and then that names scenes and answers."""

from __future__ import annotations

import time

from gpt4scene import progress, talk
from gpt4scene.progress import duration

LINE_EVERY_S = 10.0
"""Seconds between two lines where there is no terminal."""


class Progress:
    """Counts answers and scenes. Plain lines come at most every ten seconds, and at the end."""

    def __init__(self, answers: int, scenes: int) -> None:
        self.answers, self.scenes = answers, scenes
        self.answered = self.visited = 0
        self._start = self._shown = time.monotonic()
        self._bar = progress.Progress("answers", answers) if talk.can_redraw() else None

    def answer(self) -> None:
        """Count one answer."""
        self.answered += 1
        if self._bar is not None:
            self._bar.advance(more=f"scene {min(self.visited + 1, self.scenes)} of {self.scenes}")
        elif self.answered < self.answers and time.monotonic() - self._shown >= LINE_EVERY_S:
            self._line()

    def scene(self) -> None:
        """Count one scene."""
        self.visited += 1
        if self.visited == self.scenes:
            self.close()
            self._line()

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()

    def _line(self) -> None:
        self._shown = now = time.monotonic()
        spent = now - self._start
        left = spent / max(self.answered, 1) * (self.answers - self.answered)
        talk.say(
            f"scene {min(self.visited + 1, self.scenes)} of {self.scenes}, {self.answered} of {self.answers} answers, "
            + (f"{duration(left)} left" if self.answered < self.answers else f"answered in {duration(spent)}")
        )
