"""A question about a room with its known answer, before anything is written: text, options, truth, objects."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

LETTERS = "ABCDEF"


@dataclass(frozen=True)
class GeometryQuestion:
    """One question. ``rules`` names the rules that made it; ``kind`` is the type's public name.

    ``options`` are texts without letters, in the order shown, and ``truth`` is the right one of them. Without options
    ``truth`` is a number as text. ``objects`` are the ids asked about, in the order of the question.
    """

    scene_id: str
    rules: str
    kind: str
    question: str
    truth: str
    options: tuple[str, ...] = ()
    objects: tuple[int, ...] = ()

    @property
    def answer(self) -> str:
        """What a model is to say: the letter of the right option, or the number."""
        return LETTERS[self.options.index(self.truth)] if self.options else self.truth

    @property
    def lettered(self) -> tuple[str, ...]:
        """The options as they are shown: ``A. chair``."""
        return tuple(f"{letter}. {option}" for letter, option in zip(LETTERS, self.options, strict=False))


@dataclass(frozen=True)
class Made:
    """Questions of one or more rooms, and how many candidates were dropped: (``kind``, reason) -> count."""

    questions: tuple[GeometryQuestion, ...] = ()
    dropped: Counter[tuple[str, str]] = field(default_factory=Counter)

    def __add__(self, other: Made) -> Made:
        return Made(self.questions + other.questions, self.dropped + other.dropped)


def together(parts: Iterable[Made]) -> Made:
    """Return all questions of ``parts`` in their order, and the sums of their counts."""
    questions: list[GeometryQuestion] = []
    dropped: Counter[tuple[str, str]] = Counter()
    for part in parts:
        questions += part.questions
        dropped += part.dropped
    return Made(tuple(questions), dropped)
