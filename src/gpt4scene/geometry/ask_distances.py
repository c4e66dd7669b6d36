"""Questions for distances: of two objects in metres, and which of four things is closest to or farthest from one."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass

import numpy as np

from gpt4scene.geometry.asking import MORE_THAN_ASKED_FOR, Asking
from gpt4scene.geometry.nearest import TOO_NEAR, ClearSets
from gpt4scene.geometry.question import GeometryQuestion, Made
from gpt4scene.geometry.room import plain

TOO_CLOSE = "too close together"
GUESSABLE = "thinned: a short distance"
NO_PLACE = "a kind whose box does not say where it is"
NO_SET = "no four options with clearly different distances"
OPTIONS = 4
TRIES = 8
"""How often another set of options is drawn for an object where the one drawn has been asked."""


@dataclass(frozen=True)
class PairDistance:
    """How far apart two objects are, each the only one of its kind: metres with one decimal.

    ``least`` is the smallest distance asked for; ``rounded_first`` compares the rounded one. ``thinned`` has the limits
    of distances of which only a share is kept: (above, below, share).
    """

    least: float
    rounded_first: bool = False
    left_out: frozenset[str] = frozenset()
    thinned: tuple[tuple[float, float, float], ...] = ()

    def reason(self, metres: float, chance: float) -> str | None:
        """Return why a distance is not asked for, or None; ``chance`` is a drawn number from 0 to 1."""
        if (round(metres, 1) if self.rounded_first else metres) < self.least:
            return TOO_CLOSE
        return GUESSABLE if any(low < metres < high and chance >= keep for low, high, keep in self.thinned) else None

    def made(self, asking: Asking) -> Made:
        """Return the questions, and what was dropped by reason."""
        reasons: Counter[str] = Counter()
        kept = []
        for first, second in itertools.combinations(asking.singles.items(), 2):
            metres = float(asking.measures.distances_NN[first[1], second[1]])
            chance = asking.generator.random()
            hollow = plain(first[0]) in self.left_out or plain(second[0]) in self.left_out
            reason = NO_PLACE if hollow else self.reason(metres, chance)
            if reason is None:
                kept.append((first, second, f"{metres:.1f}"))
            else:
                reasons[reason] += 1
        questions = [
            asking.question("distance", truth, (first[1], second[1]), first=first[0], second=second[0])
            for first, second, truth in asking.drawn(kept, reasons)
        ]
        return asking.made(questions, reasons)


@dataclass(frozen=True)
class NearestOfFour:
    """Which of four kinds is closest to (or ``farthest`` from) an object that is the only one of its kind.

    Every option is at least ``least`` metres away and any two differ by more than ``apart``. ``several`` lets in kinds
    with several objects, whose nearest one counts.
    """

    least: float
    apart: float
    farthest: bool = False
    several: bool = False
    left_out: frozenset[str] = frozenset()

    def made(self, asking: Asking) -> Made:
        """Return the questions: one for every object in turn, then further ones, until there are enough."""
        reasons: Counter[str] = Counter()
        names = [label for label in asking.labels if plain(label) not in self.left_out]
        reasons[NO_PLACE] += len(asking.labels) - len(names)
        choices = [name for name in names if self.several or name in asking.singles]
        objects = [name for name in names if name in asking.singles]
        sets = {name: self._sets(asking, name, choices, reasons) for name in objects}
        ready = asking.generator.sample(objects, len(objects))
        ready = [name for name in ready if sets[name][1].number]
        reasons[NO_SET] += len(objects) - len(ready)
        total = sum(sets[name][1].number for name in ready)
        wanted = total if asking.most is None else min(asking.most, total)
        questions: list[GeometryQuestion] = []
        asked: set[tuple[str, ...]] = set()
        while ready and len(questions) < wanted:
            still = []
            for name in ready[: wanted - len(questions)]:
                others = self._drawn(asking, sets[name], name, asked)
                if others:
                    questions.append(self._question(asking, name, others))
                    still.append(name)
            ready = still
        reasons[MORE_THAN_ASKED_FOR] += total - len(questions)
        return asking.made(questions, reasons)

    def _sets(
        self, asking: Asking, name: str, choices: list[str], reasons: Counter[str]
    ) -> tuple[list[str], ClearSets]:
        """Return the options far enough from ``name``, and the clear sets of their distances."""
        order = list(asking.room.by_label)
        row_L = asking.measures.label_distances_LL[order.index(name)]
        others = [other for other in choices if other != name]
        metres = np.array([row_L[order.index(other)] for other in others])
        far = metres >= self.least
        reasons[TOO_NEAR] += int((~far).sum())
        kept = [other for other, good in zip(others, far, strict=True) if good]
        return kept, ClearSets(metres[far].tolist(), self.apart, OPTIONS)

    def _drawn(
        self, asking: Asking, sets: tuple[list[str], ClearSets], name: str, asked: set[tuple[str, ...]]
    ) -> tuple[str, ...]:
        """Return four options, nearest first, that were not asked for ``name`` before; none when draws find no more."""
        for _ in range(TRIES):
            others = tuple(sets[0][place] for place in sets[1].draw(asking.generator))
            if (name, *others) not in asked:
                asked.add((name, *others))
                return others
        return ()

    def _question(self, asking: Asking, name: str, others: tuple[str, ...]) -> GeometryQuestion:
        places = [place for label in (name, *others) for place in asking.labels[label]]
        truth = others[-1 if self.farthest else 0]
        wording = "farthest" if self.farthest else "closest"
        return asking.question(wording, truth, places, others, label=name)
