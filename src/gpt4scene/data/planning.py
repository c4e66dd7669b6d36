"""Which rows share a pack, and which process takes it, in every epoch."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence

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
    groups: dict[Hashable, list[int]] = {}
    for row, key in enumerate(keys):
        groups.setdefault(("alone", row) if key is None else ("scene", key), []).append(row)
    packs: list[list[int]] = []
    for rows in groups.values():
        mixed = random.permutation(rows)
        packs += [part.tolist() for part in np.array_split(mixed, -(-len(mixed) // branches))]
    shuffled = [packs[index] for index in random.permutation(len(packs))]
    shuffled += [[] for _ in range(-len(shuffled) % ranks)]
    return [shuffled[rank::ranks] for rank in range(ranks)]


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
