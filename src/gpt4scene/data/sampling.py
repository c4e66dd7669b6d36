"""The packs of one process, epoch after epoch, as keys of a ``PackDataset``."""

from __future__ import annotations

from collections.abc import Iterator

from gpt4scene.data.groups import Groups
from gpt4scene.data.planning import plan_packs, plan_steps


class StepSampler:
    """Yields the packs of one rank in an epoch, step by step: ``questions`` keys of ``PackDataset`` for each step.

    A step of fewer packs begins with keys ``None``, which stand for nothing to do. So every step has equally many
    keys, however many packs, and the last of them is a pack. ``set_epoch`` chooses the epoch that the next iteration
    runs through; the first is 0.

    Args:
        groups: of the rows, as ``group_rows`` gives them.
        branches: rows of one key in a pack, at most.
        questions: rows of a step on this rank.
        seed: of all epochs.
        rank: of this process.
        ranks: number of processes.
    """

    def __init__(
        self,
        groups: Groups,
        branches: int,
        questions: int,
        *,
        seed: int = 0,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        self._groups, self._branches, self._questions = groups, branches, questions
        self._seed, self._rank, self._ranks = seed, rank, ranks
        self._epoch = 0

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        return -(-len(self._groups) // (self._questions * self._ranks))

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration runs through."""
        self._epoch = epoch

    def __len__(self) -> int:
        return self.steps * self._questions

    def __iter__(self) -> Iterator[tuple[int, ...] | None]:
        plan = plan_steps(self._groups, self._branches, self._questions, self._seed, self._epoch, self._ranks)
        for packs in plan[self._rank]:
            yield from [None] * (self._questions - len(packs))
            yield from map(tuple, packs)


class PackSampler:
    """Yields the packs of one rank in an epoch as tuples of row indices, the keys that ``PackDataset`` takes.

    Every epoch has equally many. ``set_epoch`` chooses the one that the next iteration runs through; the first is 0.

    Args:
        groups: of the rows, as ``group_rows`` gives them.
        branches: rows of one key in a pack, at most.
        seed: of all epochs.
        rank: of this process.
        ranks: number of processes.
    """

    def __init__(self, groups: Groups, branches: int, *, seed: int = 0, rank: int = 0, ranks: int = 1) -> None:
        self._groups, self._branches, self._seed, self._rank, self._ranks = groups, branches, seed, rank, ranks
        self._epoch = 0
        self._length = len(self._packs())

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration runs through."""
        self._epoch = epoch

    def _packs(self) -> list[list[int]]:
        return plan_packs(self._groups, self._branches, self._seed, self._epoch, self._ranks)[self._rank]

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[tuple[int, ...]]:
        return map(tuple, self._packs())
