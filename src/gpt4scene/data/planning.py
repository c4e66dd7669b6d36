"""Which rows share a pack, and which step and process takes it, in every epoch.

A training step is a fixed number of rows on each process, cut into as few packs as can be. An evaluation has no steps,
only packs.

How steps are made: every scene's rows are shuffled and cut into full packs; what is left of all scenes fills further
*shares*, which hold as many rows as a full pack, so that any shares make a step. Rows of text go where they fill a
share that would otherwise need the images of one scene more. Shares of equally many packs come into the same step,
since the processes of a step wait for the one with the most.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

import numpy as np

from gpt4scene.data.groups import TEXT, Groups

Rows = list[int]


def even_size(questions: int, branches: int) -> int:
    """Return the size of the packs that ``questions`` rows make: as few packs of ``branches`` as can be, but even."""
    return -(-questions // -(-questions // branches))


def plan_packs(groups: Groups, branches: int, seed: int, epoch: int, ranks: int) -> list[list[Rows]]:
    """Return, for every rank, the packs of an epoch as lists of row indices; an empty list is a filling pack.

    Rows that may share a pack meet anew in every epoch, ``branches`` together as long as they last: no number of packs
    is smaller. Rows of text ride where there is room. Packs of all scenes are shuffled together. All ranks get equally
    many. Deterministic in its arguments.
    """
    random = np.random.default_rng([seed, epoch])
    split = _split(groups, (branches,), random)
    packs = _ride([*split.pieces[branches], *split.rests], split.texts, groups, branches)
    shuffled = [packs[index] for index in random.permutation(len(packs))]
    shuffled += [[] for _ in range(-len(shuffled) % ranks)]
    return [shuffled[rank::ranks] for rank in range(ranks)]


def plan_steps(
    groups: Groups, branches: int, questions: int, seed: int, epoch: int, ranks: int
) -> list[list[list[Rows]]]:
    """Return, for every rank, the steps of an epoch; a step is a list of packs, a pack a list of row indices.

    Every step takes ``questions`` rows on each rank, the last one what is left; so there are as many steps as rows
    divided by ``questions * ranks``, rounded up, whatever the packs. A pack has at most ``branches`` rows, or fewer
    where that makes as many packs of even size. Ranks run equally many packs in a step: empty ones, the filling packs,
    make up for what a rank has less. Where ``branches`` divides ``questions``, a step of all ranks takes the same rows
    however many ranks there are. Deterministic in its arguments.
    """
    size = even_size(questions, branches)
    sizes = _sizes(questions, size)
    shares = _shares(groups, sizes, np.random.default_rng([seed, epoch]), width=questions * ranks // sum(sizes))
    plan: list[list[list[Rows]]] = [[] for _ in range(ranks)]
    for taken in shares:
        ordered = sorted(taken, key=lambda share: -share.passes)
        dealt = [_packs_of(ordered[rank::ranks], groups, size) for rank in range(ranks)]
        passes = max(map(len, dealt))
        for steps, packs in zip(plan, dealt, strict=True):
            steps.append(packs + [[] for _ in range(passes - len(packs))])
    assert sum(len(pack) for steps in plan for packs in steps for pack in packs) == len(groups), "every row once"
    return plan


def _sizes(questions: int, size: int) -> tuple[int, ...]:
    """Return the sizes of the packs of a share: one full pack where those make up a rank's step, else all of it."""
    if questions % size == 0:
        return (size,)
    packs = -(-questions // size)
    larger = questions - packs * (size - 1)
    return (size,) * larger + (size - 1,) * (packs - larger)


@dataclass
class _Split:
    """Rows by what becomes of them: pieces of the sizes wanted, what is left of each scene, texts that may ride."""

    pieces: dict[int, list[Rows]]
    rests: list[Rows] = field(default_factory=list)
    texts: Rows = field(default_factory=list)


@dataclass
class _Share:
    """Rows that a rank takes together: packs with images, or of rows that share nothing, and rows of text."""

    packs: list[Rows] = field(default_factory=list)
    texts: Rows = field(default_factory=list)

    @property
    def rows(self) -> int:
        """Rows in it."""
        return sum(map(len, self.packs)) + len(self.texts)

    @property
    def passes(self) -> int:
        """Passes over images that it needs; texts alone are counted as one, since a rank has to run something."""
        return max(1, len(self.packs))


def _split(groups: Groups, sizes: Sequence[int], random: np.random.Generator) -> _Split:
    """Return all rows, each scene's in random order and cut into pieces of ``sizes``, which differ by one at most.

    What is left of a key joins its parent's rows before these are cut. In packs of single rows nothing is shared.
    """
    split = _Split({size: [] for size in sizes})
    single = max(sizes) == 1
    parents = {} if single else groups.parents
    waiting: dict[tuple[str, int], Rows] = {}
    for row, key in enumerate(groups.keys):
        if key == TEXT and not single:
            split.texts.append(row)
        else:
            waiting.setdefault(("row", row) if key is None or key == TEXT else ("scene", key), []).append(row)
    for place in _children_first(waiting, parents):
        rest = _cut(random.permutation(waiting.get(place, [])).tolist(), sizes, split.pieces)
        if rest and place[0] == "scene" and place[1] in parents:
            waiting.setdefault(("scene", parents[place[1]]), []).extend(rest)
        elif rest:
            split.rests.append(rest)
    if split.texts:
        split.texts = random.permutation(split.texts).tolist()
    return split


def _children_first(places: Iterable[tuple[str, int]], parents: Mapping[int, int]) -> list[tuple[str, int]]:
    """Return the places of all rows, and of parents without rows, each before its parent."""

    def depth(place: tuple[str, int]) -> int:
        kind, key = place
        above = 0
        while kind == "scene" and key in parents:
            key, above = parents[key], above + 1
        return above

    every = dict.fromkeys([*places, *(("scene", key) for key in parents.values())])
    return sorted(every, key=lambda place: -depth(place))


def _cut(rows: Rows, sizes: Sequence[int], pieces: dict[int, list[Rows]]) -> Rows:
    """Cut ``rows`` into ``pieces``, of two sizes in the ratio that they have in ``sizes``; return what is left."""
    larger, smaller = max(sizes), min(sizes)
    start = 0
    while len(rows) - start >= smaller:
        behind = len(pieces[larger]) * sizes.count(smaller) <= len(pieces[smaller]) * sizes.count(larger)
        size = larger if behind and len(rows) - start >= larger else smaller
        pieces[size].append(rows[start : start + size])
        start += size
    return rows[start:]


def _shares(groups: Groups, sizes: tuple[int, ...], random: np.random.Generator, width: int) -> list[list[_Share]]:
    """Return the shares of every step, ``width`` each: one piece of each of ``sizes``, or as many rows from the rest.

    Only the last step has fewer, and only its last share may be smaller.
    """
    split = _split(groups, sizes, random)
    count = min(len(split.pieces[size]) // sizes.count(size) for size in sizes)
    full = [_Share([split.pieces[size].pop() for size in sizes]) for _ in range(count)]
    full.reverse()
    parts = [*chain.from_iterable(split.pieces.values()), *split.rests]
    if parts:
        parts = [parts[index] for index in random.permutation(len(parts))]
    filled = _fill(parts, split.texts, sum(sizes), len(sizes))
    short = [filled.pop()] if filled and filled[-1].rows < sum(sizes) else []
    return _in_steps([*full, *filled], short, width, random)


def _in_steps(full: list[_Share], short: list[_Share], width: int, random: np.random.Generator) -> list[list[_Share]]:
    """Return shares as steps of ``width``: those of equally many passes together, steps in random order."""
    classes: dict[int, list[_Share]] = {}
    for share in full:
        classes.setdefault(share.passes, []).append(share)
    ordered: list[_Share] = []
    for _, members in sorted(classes.items()):
        ordered += [members[index] for index in random.permutation(len(members))]
    whole = len(ordered) - len(ordered) % width
    steps = [ordered[start : start + width] for start in range(0, whole, width)]
    if len(classes) > 1:
        steps = [steps[index] for index in random.permutation(len(steps))]
    last = [*ordered[whole:], *short]
    return [*steps, last] if last else steps


def _fill(parts: list[Rows], texts: Rows, size: int, packs: int) -> list[_Share]:
    """Return shares of ``size`` rows made of ``parts`` and ``texts``; the last may be smaller.

    The longest part that fits goes in first. Once a share has ``packs`` of them, texts fill it if there are enough.
    Where no part fits, the shortest is cut in two: one more pass over its images, instead of a step of another size.
    """
    waiting: dict[int, list[Rows]] = {}
    for part in parts:
        waiting.setdefault(len(part), []).append(part)
    texts = texts[::-1]
    shares: list[_Share] = []
    while texts or any(waiting.values()):
        share, room = _Share(), size
        while room and (texts or any(waiting.values())):
            lengths = [length for length, there in waiting.items() if there]
            if texts and (not lengths or (len(share.packs) >= packs and len(texts) >= room)):
                share.texts = [texts.pop() for _ in range(min(room, len(texts)))]
                room -= len(share.texts)
                continue
            fitting = [length for length in lengths if length <= room]
            part = waiting[max(fitting) if fitting else min(lengths)].pop()
            if len(part) > room:
                waiting.setdefault(len(part) - room, []).append(part[room:])
            share.packs.append(part[:room])
            room -= len(share.packs[-1])
        shares.append(share)
    return shares


def _packs_of(shares: Sequence[_Share], groups: Groups, size: int) -> list[Rows]:
    """Return the packs of a rank's step: parts of one scene that meet again are one, and texts ride."""
    if all(len(share.packs) == 1 and len(share.packs[0]) == share.rows == size for share in shares):  # nearly always
        return [share.packs[0] for share in shares]
    packs: list[Rows] = []
    smaller: dict[int, Rows] = {}
    for pack in chain.from_iterable(share.packs for share in shares):
        key = groups.keys[pack[0]]
        root = None if key is None or len(pack) == size else groups.root(key)
        other = None if root is None else smaller.get(root)
        if other is not None and len(other) + len(pack) <= size:
            other.extend(pack)
            continue
        packs.append(pack)
        if root is not None:
            smaller[root] = pack
    return _ride(packs, list(chain.from_iterable(share.texts for share in shares)), groups, size)


def _ride(packs: list[Rows], texts: Rows, groups: Groups, size: int) -> list[Rows]:
    """Return the packs with ``texts`` where scenes leave room, and packs of what is left of these."""
    taken = 0
    riding: list[Rows] = []
    for pack in packs:
        room = 0 if groups.keys[pack[0]] is None else size - len(pack)
        riding.append([*pack, *texts[taken : taken + room]])
        taken = min(len(texts), taken + room)
    return [*riding, *(texts[start : start + size] for start in range(taken, len(texts), size))]
