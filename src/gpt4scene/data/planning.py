"""Which rows share a pack, and which step and process takes it, in every epoch.

A training step is a fixed number of rows on each process, cut into as many packs as it takes. An evaluation has no
steps, only packs.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from itertools import chain

import numpy as np

from gpt4scene.data.encoding import Encoder
from gpt4scene.files.tokenized import TokenizedRows
from gpt4scene.types import Conversation


def scene_keys(rows: Iterable[Conversation] | TokenizedRows, encoder: Encoder) -> list[int | None]:
    """Return a number for every row, equal where rows share a prefix; None where a row can share none."""
    if isinstance(rows, TokenizedRows):
        return rows.scene_keys()
    numbers: dict[Hashable, int] = {}
    keys = (encoder.prefix_key(row) for row in rows)
    return [None if key is None else numbers.setdefault(key, len(numbers)) for key in keys]


def plan_packs(
    keys: Sequence[Hashable | None], branches: int, seed: int, epoch: int, ranks: int
) -> list[list[list[int]]]:
    """Return, for every rank, the packs of an epoch as lists of row indices; an empty list is a filling pack.

    Rows of one key meet anew in every epoch, at most ``branches`` together and as evenly as their number allows;
    packs of all scenes are shuffled together. Pack i goes to rank i modulo ``ranks``, so that a step of all ranks
    takes the same rows however many ranks there are. All ranks get equally many packs. Deterministic in its arguments.
    """
    random = np.random.default_rng([seed, epoch])
    packs: list[list[int]] = []
    for rows in _groups(keys):
        mixed = random.permutation(rows)
        packs += [part.tolist() for part in np.array_split(mixed, -(-len(mixed) // branches))]
    shuffled = [packs[index] for index in random.permutation(len(packs))]
    shuffled += [[] for _ in range(-len(shuffled) % ranks)]
    return [shuffled[rank::ranks] for rank in range(ranks)]


def plan_steps(
    keys: Sequence[Hashable | None], branches: int, questions: int, seed: int, epoch: int, ranks: int
) -> list[list[list[list[int]]]]:
    """Return, for every rank, the steps of an epoch; a step is a list of packs, a pack a list of row indices.

    Every step takes ``questions`` rows on each rank, the last one what is left; so there are as many steps as rows
    divided by ``questions * ranks``, rounded up, whatever the packs. Ranks run equally many packs in a step: empty
    ones, the filling packs, make up for what a rank has less. ``branches`` must divide ``questions``. A step of all
    ranks takes the same rows however many ranks there are. Deterministic in its arguments.
    """
    if questions % branches:
        raise ValueError(f"{branches} questions a pack do not divide {questions} questions a step")
    shares = _shares(keys, branches, np.random.default_rng([seed, epoch]))
    width = questions * ranks // branches
    plan: list[list[list[list[int]]]] = [[] for _ in range(ranks)]
    for start in range(0, len(shares), width):
        taken = shares[start : start + width]
        dealt = [list(chain.from_iterable(taken[rank::ranks])) for rank in range(ranks)]
        passes = max(map(len, dealt))
        for steps, packs in zip(plan, dealt, strict=True):
            steps.append(packs + [[] for _ in range(passes - len(packs))])
    return plan


def _groups(keys: Sequence[Hashable | None]) -> Iterable[list[int]]:
    """Return the rows that may share packs, together; a row without a key is alone."""
    groups: dict[Hashable, list[int]] = {}
    for row, key in enumerate(keys):
        groups.setdefault(("alone", row) if key is None else ("scene", key), []).append(row)
    return groups.values()


def _shares(keys: Sequence[Hashable | None], size: int, random: np.random.Generator) -> list[list[list[int]]]:
    """Return all rows in random order as shares of ``size`` rows, each in few packs; only the last may have fewer.

    Rows of one key meet anew in every epoch: in full packs, each a share of its own, as long as they last. What is
    left of all keys fills the other shares.
    """
    full: list[list[list[int]]] = []
    left: dict[int, list[list[int]]] = {}
    for rows in _groups(keys):
        mixed = random.permutation(rows).tolist()
        whole = len(mixed) - len(mixed) % size
        full += [[mixed[start : start + size]] for start in range(0, whole, size)]
        if whole < len(mixed):
            left.setdefault(len(mixed) - whole, []).append(mixed[whole:])
    for parts in left.values():
        parts[:] = [parts[index] for index in random.permutation(len(parts))]
    mended = _fill(left, size)
    short = [mended.pop()] if mended and sum(map(len, mended[-1])) < size else []
    full += mended
    return [full[index] for index in random.permutation(len(full))] + short


def _fill(parts: dict[int, list[list[int]]], size: int) -> list[list[list[int]]]:
    """Return shares of ``size`` rows made of ``parts``, lists of rows by their length; the last may be smaller.

    The longest part that fits goes in first. Where none fits, the shortest is cut in two: one more pass over its
    images, instead of a step of another size. Uses ``parts`` up.
    """
    shares: list[list[list[int]]] = []
    while any(parts.values()):
        share: list[list[int]] = []
        room = size
        while room and (lengths := [length for length, waiting in parts.items() if waiting]):
            fitting = [length for length in lengths if length <= room]
            part = parts[max(fitting) if fitting else min(lengths)].pop()
            if len(part) > room:
                parts.setdefault(len(part) - room, []).append(part[room:])
            share.append(part[:room])
            room -= len(share[-1])
        shares.append(share)
    return shares


class StepSampler:
    """Yields the packs of one rank in an epoch, step by step: ``questions`` keys of ``PackDataset`` for each step.

    A step of fewer packs begins with keys ``None``, which stand for nothing to do. So every step has equally many
    keys, however many packs, and the last of them is a pack. ``set_epoch`` chooses the epoch that the next iteration
    runs through; the first is 0.

    Args:
        keys: of every row, as ``scene_keys`` gives them.
        branches: rows of one key in a pack, at most.
        questions: rows of a step on this rank.
        seed: of all epochs.
        rank: of this process.
        ranks: number of processes.
    """

    def __init__(
        self,
        keys: Sequence[Hashable | None],
        branches: int,
        questions: int,
        *,
        seed: int = 0,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        self._keys, self._branches, self._questions = tuple(keys), branches, questions
        self._seed, self._rank, self._ranks = seed, rank, ranks
        self._epoch = 0

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        return -(-len(self._keys) // (self._questions * self._ranks))

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration runs through."""
        self._epoch = epoch

    def __len__(self) -> int:
        return self.steps * self._questions

    def __iter__(self) -> Iterator[tuple[int, ...] | None]:
        plan = plan_steps(self._keys, self._branches, self._questions, self._seed, self._epoch, self._ranks)
        for packs in plan[self._rank]:
            yield from [None] * (self._questions - len(packs))
            yield from map(tuple, packs)


class PackSampler:
    """Yields the packs of one rank in an epoch as tuples of row indices, the keys that ``PackDataset`` takes.

    Every epoch has equally many. ``set_epoch`` chooses the one that the next iteration runs through; the first is 0.

    Args:
        keys: of every row, as ``scene_keys`` gives them.
        branches: rows of one key in a pack, at most.
        seed: of all epochs.
        rank: of this process.
        ranks: number of processes.
    """

    def __init__(
        self, keys: Sequence[Hashable | None], branches: int, *, seed: int = 0, rank: int = 0, ranks: int = 1
    ) -> None:
        self._keys, self._branches, self._seed, self._rank, self._ranks = tuple(keys), branches, seed, rank, ranks
        self._epoch = 0
        self._length = len(self._packs())

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration runs through."""
        self._epoch = epoch

    def _packs(self) -> list[list[int]]:
        return plan_packs(self._keys, self._branches, self._seed, self._epoch, self._ranks)[self._rank]

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[tuple[int, ...]]:
        return map(tuple, self._packs())
