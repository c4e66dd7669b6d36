"""Thoughts in answers that grow: which of their text is a thought, as it comes and never twice."""

from __future__ import annotations

from gpt4scene.files.thoughts import THINKING, THOUGHT
from gpt4scene.serve.stops import StopFinder


class ThoughtFinder:
    """Takes an answer piece by piece and parts it into what was thought and what is said.

    A thought stands at the beginning of an answer alone. ``opened``: the prompt has begun it already, so that the text
    holds no mark of its beginning.
    """

    def __init__(self, opened: bool = False) -> None:
        self._begun: bool | None = True if opened else None
        self._head, self._end, self._said = "", StopFinder((THOUGHT,)), False
        self._thinks = False

    def feed(self, piece: str, last: bool = False) -> tuple[str, str]:
        """Return what is certain by now of the thought and of the answer; with the ``last`` piece all of it."""
        if self._begun is None:
            self._head += piece
            start = self._head.lstrip()
            if not last and THINKING.startswith(start):
                return "", ""  # it may still become the mark
            self._begun = start.startswith(THINKING)
            piece = start.removeprefix(THINKING) if self._begun else self._head
        if not self._begun:
            return "", piece
        return self._inside(piece, last)

    def _inside(self, piece: str, last: bool) -> tuple[str, str]:
        """Return the parts of a piece of an answer that began with a thought; spaces around both are left out."""
        if self._end.stopped:
            return "", self._answer(piece)
        thought = self._end.feed(piece)
        rest = ""
        if self._end.stopped:
            rest = self._answer(self._end.behind)
        elif last:
            thought += self._end.rest()
        if not self._thinks:
            thought = thought.lstrip()
            self._thinks = bool(thought)
        return thought, rest

    def _answer(self, piece: str) -> str:
        if not self._said:
            piece = piece.lstrip()
            self._said = bool(piece)
        return piece
