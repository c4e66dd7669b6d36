"""Where questions begin with the same words: those words are run once, and their keys copied to each question."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LEAST_OF_ONE = 32
"""Tokens that a shared beginning must spare: each costs attention calls of its own."""
LEAST_OF_ALL = 256
"""Tokens that all together must spare: they take a call of the model before that of the rest."""


@dataclass(frozen=True)
class Stem:
    """The first ``length`` tokens of some branches, the same in all ``members``; each has at least one more."""

    length: int
    members: tuple[int, ...]

    @property
    def spared(self) -> int:
        """Tokens that need not be run again."""
        return self.length * (len(self.members) - 1)


def stems_of(branches: Sequence[np.ndarray], least: int = LEAST_OF_ONE, in_all: int = LEAST_OF_ALL) -> list[Stem]:
    """Return the beginnings to run once, no branch in two of them, so that the most tokens are spared.

    Empty where that is less than ``in_all``; no stem spares less than ``least``.
    """
    rows = [branch.tolist() for branch in branches]
    found = _best(rows, sorted(range(len(rows)), key=rows.__getitem__), least)
    return found if sum(stem.spared for stem in found) >= in_all else []


def _best(rows: Sequence[list[int]], members: list[int], least: int) -> list[Stem]:
    """Return the best stems of sorted ``members``: one for all of them, or those of the groups that go on alike."""
    if len(members) < 2:
        return []
    first, last = rows[members[0]], rows[members[-1]]
    shared = 0
    while shared < min(len(first), len(last)) and first[shared] == last[shared]:
        shared += 1
    length = min([shared, *(len(rows[member]) - 1 for member in members)])
    whole = Stem(length, tuple(sorted(members)))
    groups: dict[int, list[int]] = {}
    for member in members:
        if len(rows[member]) > shared:
            groups.setdefault(rows[member][shared], []).append(member)
    apart = [stem for group in groups.values() if len(group) < len(members) for stem in _best(rows, group, least)]
    if whole.spared >= max(least, sum(stem.spared for stem in apart), 1):
        return [whole]
    return apart
