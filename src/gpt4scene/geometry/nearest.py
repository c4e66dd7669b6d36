"""Which of several things is nearest or farthest, and which sets of things are far enough apart to make that clear."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np

TOO_NEAR = "too near to the object asked about"
TOO_ALIKE = "distances too alike"


def nearest_of(distances_K: Sequence[float], least: float, apart: float, farthest: bool = False) -> int | str:
    """Return the place of the smallest (or largest) distance, or the reason why the question is not clear.

    The smallest must be ``least`` metres or more, and any two more than ``apart`` metres apart.
    """
    ordered = np.sort(np.asarray(distances_K, dtype=np.float64))
    if ordered[0] < least:
        return TOO_NEAR
    if (np.diff(ordered) <= apart).any():
        return TOO_ALIKE
    return int(np.argmax(distances_K) if farthest else np.argmin(distances_K))


class ClearSets:
    """All sets of ``size`` of the distances that lie pairwise more than ``apart`` apart: their number, and a fair draw.

    Sorted by distance, a set is clear where its neighbours are far enough apart, so the sets are counted from the far
    end without being listed: 40 things have 91,390 sets of four.
    """

    def __init__(self, distances_K: Sequence[float], apart: float, size: int = 4) -> None:
        values = np.asarray(distances_K, dtype=np.float64)
        self._places = np.argsort(values, kind="stable")
        ordered = values[self._places]
        number = len(ordered)
        self._next = np.searchsorted(ordered, ordered + apart, side="right")
        self._ways = [[1] * (number + 1)]
        for _ in range(size):
            fewer, ways = self._ways[-1], [0] * (number + 1)
            for place in reversed(range(number)):
                ways[place] = ways[place + 1] + fewer[self._next[place]]
            self._ways.append(ways)

    @property
    def number(self) -> int:
        """How many clear sets there are."""
        return self._ways[-1][0]

    def draw(self, generator: random.Random) -> tuple[int, ...]:
        """Return one clear set, each as likely as any other: places in the distances given, nearest first."""
        assert self.number, "there is no clear set to draw"
        chosen, place = [], 0
        for left in reversed(range(len(self._ways) - 1)):
            ticket = generator.randrange(self._ways[left + 1][place])
            while ticket >= (taken := self._ways[left][self._next[place]]):
                ticket -= taken
                place += 1
            chosen.append(int(self._places[place]))
            place = int(self._next[place])
        return tuple(chosen)
