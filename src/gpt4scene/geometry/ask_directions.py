"""Questions for directions: left, right or back, or the quarter around one, from one object facing another."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass
from typing import Literal

import numpy as np

from gpt4scene.geometry.asking import MORE_THAN_ASKED_FOR, Asking
from gpt4scene.geometry.boxes import Boxes
from gpt4scene.geometry.directions import QUARTERS, THIRDS, DirectionRule, Directions, decide_directions
from gpt4scene.geometry.question import GeometryQuestion, Made

TOO_WIDE = "an object too wide to point at"
MEETING = "two of the objects meet"
TOO_CLOSE = "two of the objects too close together"
TOO_FAR = "two of the objects too far apart"
PAIRS = (TOO_WIDE, MEETING, TOO_CLOSE, TOO_FAR)
Triple = tuple[int, int, int]
SPARE = 30
"""How many triples are drawn for each one wanted: six have the same objects, and not all of those may be asked."""


@dataclass(frozen=True)
class Direction:
    """Where an object lies for someone at one object who faces, or turns from, a second one; each alone of its kind.

    ``nearest`` and ``farthest`` limit the distance of any two of them. ``seen_from_above`` asks for ``nearest`` from
    above as well, and that no two meet from above. ``widest`` limits the first two sides of all three. The rest is
    ``DirectionRule``'s.
    """

    sectors: Literal["thirds", "quarters"]
    margin: float
    nearest: float
    farthest: float = float("inf")
    seen_from_above: bool = False
    widest: float = float("inf")
    backward: bool = False
    below_only: bool = False
    without: str | None = None

    @property
    def rule(self) -> DirectionRule:
        """How angles are decided."""
        sectors = THIRDS if self.sectors == "thirds" else QUARTERS
        return DirectionRule(
            sectors, self.margin, below_only=self.below_only, backward=self.backward, without=self.without
        )

    def pairs(self, asking: Asking, places: list[int]) -> np.ndarray:
        """Return int[N, N]: 0 where two objects may stand in one question, else 1 + the place of the reason."""
        grid = np.ix_(places, places)
        measures = asking.measures
        near_NN, meet_NN = measures.distances_NN[grid] < self.nearest, np.zeros((len(places), len(places)), bool)
        if self.seen_from_above:
            near_NN |= measures.flat_NN[grid] < self.nearest
            meet_NN = measures.meet_NN[grid] | measures.sides_meet_NN[grid]
        wide_N = (measures.boxes.sizes_N3[places][:, :2] > self.widest).any(axis=1)
        far_NN = measures.distances_NN[grid] > self.farthest
        found_NN = np.zeros(near_NN.shape, int)
        for reason, where_NN in (
            (TOO_FAR, far_NN),
            (TOO_CLOSE, near_NN),
            (MEETING, meet_NN),
            (TOO_WIDE, np.logical_or.outer(wide_N, wide_N)),
        ):
            found_NN[where_NN] = 1 + PAIRS.index(reason)
        return found_NN

    def decided(self, asking: Asking) -> tuple[list[int], Directions]:
        """Return the places of the objects that may be asked about, and what is decided for all triples of them."""
        places = list(asking.singles.values())
        boxes = asking.measures.boxes
        some = Boxes(boxes.centers_N3[places], boxes.sizes_N3[places], boxes.axes_N33[places])
        return places, decide_directions(some, self.rule, PAIRS, self.pairs(asking, places))

    def made(self, asking: Asking) -> Made:
        """Return the questions, their answers as even as the room allows, and what was dropped by reason."""
        places, found = self.decided(asking)
        counts = np.bincount(found.reasons_NNN[found.reasons_NNN > 0].ravel(), minlength=len(found.reasons))
        reasons = Counter(dict(zip(found.reasons[1:], (int(count) for count in counts[1:]), strict=True)))
        by_answer = {
            name: np.flatnonzero((found.reasons_NNN == 0) & (found.answers_NNN == place))
            for place, name in enumerate(found.names)
        }
        total = sum(map(len, by_answer.values()))
        most = total if asking.most is None else min(asking.most, total)
        ready = {name: _some(flat, most, len(places), asking) for name, flat in by_answer.items() if len(flat)}
        chosen = _evenly(ready, most, asking)
        reasons[MORE_THAN_ASKED_FOR] += total - len(chosen)
        return asking.made([self._question(asking, places, triple, answer) for answer, triple in chosen], reasons)

    def _question(self, asking: Asking, places: list[int], triple: Triple, answer: str) -> GeometryQuestion:
        objects = [places[number] for number in triple]
        stand, face, asked = (asking.room.objects[place].label for place in objects)
        sectors = "halves" if self.without else self.sectors
        wording = f"direction_{sectors}_backward" if self.backward else f"direction_{sectors}"
        return asking.question(wording, answer, objects, self.rule.options, stand=stand, face=face, asked=asked)


def _some(flat_M: np.ndarray, most: int, number: int, asking: Asking) -> list[Triple]:
    """Return triples in a drawn order: all of the M there are, or of very many as many as ``most`` may need."""
    wanted = min(len(flat_M), SPARE * most + SPARE)
    drawn = flat_M[asking.generator.sample(range(len(flat_M)), wanted)]
    return [tuple(triple) for triple in np.stack(np.unravel_index(drawn, (number,) * 3), axis=1).tolist()]


def _evenly(waiting: dict[str, list[Triple]], most: int, asking: Asking) -> list[tuple[str, Triple]]:
    """Return at most ``most`` (answer, triple), answers in turn, and no three objects twice while others are left."""
    waiting = {answer: list(triples) for answer, triples in waiting.items()}
    turns = asking.generator.sample(list(waiting), len(waiting))
    chosen: list[tuple[str, Triple]] = []
    used: set[frozenset[int]] = set()
    for again in (False, True):
        left: dict[str, list[Triple]] = {answer: [] for answer in waiting}
        for answer in itertools.cycle(turns):
            if len(chosen) >= most or not any(waiting.values()):
                break
            while waiting[answer]:
                triple = waiting[answer].pop()
                if again or frozenset(triple) not in used:
                    used.add(frozenset(triple))
                    chosen.append((answer, triple))
                    break
                left[answer].append(triple)
        waiting = {answer: waiting[answer] + left[answer] for answer in waiting}
    return chosen
