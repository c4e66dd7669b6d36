"""Questions for the number of objects: of one kind, or of two kinds together."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from gpt4scene.geometry.asking import Asking
from gpt4scene.geometry.question import Made
from gpt4scene.geometry.room import plain

TOO_FEW = "too few objects of the kind"
NOT_COUNTABLE = "a kind whose number is a matter of opinion"
GUESSABLE = "thinned: a common kind in a usual number"


@dataclass(frozen=True)
class CountOne:
    """How many objects of a kind there are, for kinds with ``least`` or more.

    ``common`` kinds are asked about whatever their number; ``keep`` is the share kept of those with a usual number.
    """

    least: int
    left_out: frozenset[str] = frozenset()
    common: frozenset[str] = frozenset()
    keep: Mapping[int, float] = field(default_factory=dict)

    def reason(self, label: str, number: int, chance: float) -> str | None:
        """Return why a kind is not asked about, or None; ``chance`` is a drawn number from 0 to 1."""
        if plain(label) in self.left_out:
            return NOT_COUNTABLE
        if plain(label) in self.common:
            return GUESSABLE if chance > self.keep.get(number, 1.0) else None
        return TOO_FEW if number < self.least else None

    def made(self, asking: Asking) -> Made:
        """Return the questions, and what was dropped by reason."""
        reasons: Counter[str] = Counter()
        kept = []
        for label, places in asking.labels.items():
            reason = self.reason(label, len(places), asking.generator.random())
            if reason is None:
                kept.append((label, places))
            else:
                reasons[reason] += 1
        questions = [
            asking.question("count", str(len(places)), places, label=label)
            for label, places in asking.drawn(kept, reasons)
        ]
        return asking.made(questions, reasons)


@dataclass(frozen=True)
class CountTwo:
    """How many objects of two kinds there are together; each has ``least`` or more.

    Of two ``common`` kinds that add up to ``usual_sum``, the share ``keep`` is kept.
    """

    least: int
    usual_sum: int
    keep: float
    left_out: frozenset[str] = frozenset()
    common: frozenset[str] = frozenset()

    def made(self, asking: Asking) -> Made:
        """Return the questions, and what was dropped by reason."""
        reasons: Counter[str] = Counter()
        kept = []
        for first, second in itertools.combinations(asking.labels.items(), 2):
            labels, places = (first[0], second[0]), first[1] + second[1]
            chance = asking.generator.random()
            usual = all(plain(label) in self.common for label in labels) and len(places) == self.usual_sum
            if any(plain(label) in self.left_out for label in labels):
                reasons[NOT_COUNTABLE] += 1
            elif min(len(first[1]), len(second[1])) < self.least:
                reasons[TOO_FEW] += 1
            elif usual and chance > self.keep:
                reasons[GUESSABLE] += 1
            else:
                kept.append((labels, places))
        questions = [
            asking.question("count_two", str(len(places)), places, first=labels[0], second=labels[1])
            for labels, places in asking.drawn(kept, reasons)
        ]
        return asking.made(questions, reasons)
