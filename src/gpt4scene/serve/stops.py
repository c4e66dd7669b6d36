"""Texts at which an answer ends: found across pieces, and never shown in part."""

from __future__ import annotations

from collections.abc import Sequence


class StopFinder:
    """Takes an answer piece by piece; ``stopped`` once one of the ``stops`` was found.

    The piece of a stop that may still become one is held back. ``behind`` is what came in one piece with a stop, behind
    it.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self.stops, self.stopped, self.behind, self._held = tuple(stops), False, "", ""

    def feed(self, piece: str) -> str:
        """Return the text that is certain by now: all before a stop, or what can't be the beginning of one."""
        if self.stopped:
            return ""
        text = self._held + piece
        places = [(place, len(stop)) for stop in self.stops if (place := text.find(stop)) >= 0]
        if places:
            place, length = min(places)
            self.stopped, self.behind, self._held = True, text[place + length :], ""
            return text[:place]
        held = max((_overlap(text, stop) for stop in self.stops), default=0)
        self._held = text[len(text) - held :]
        return text[: len(text) - held]

    def rest(self) -> str:
        """Return what was held back, when no further piece comes."""
        text, self._held = self._held, ""
        return text


def _overlap(text: str, stop: str) -> int:
    """Return how many letters at the end of ``text`` are a beginning of ``stop``."""
    longest = min(len(text), len(stop) - 1)
    return next((length for length in range(longest, 0, -1) if text.endswith(stop[:length])), 0)
