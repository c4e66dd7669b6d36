"""The loss of each task: the mean of its rows' losses, weighed as in the loss of the run."""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterable

import torch

from gpt4scene.data.packs import PackDataset
from gpt4scene.files.tokenized import TokenizedRows
from gpt4scene.training.objective import RowLosses
from gpt4scene.types import Origin

MOST_TASKS = 24
"""Tasks that are told apart; rows that say more different ones are counted by their dataset."""


class TaskLosses:
    """Sums the losses of rows by task since they were last taken; all processes use the same ``names``.

    Losses stay on their device until then. The mean of a task is that of all its rows since the last log line, each
    weighed by what it counts for in the loss. With fewer than two names there is nothing to tell apart.
    """

    def __init__(self, names: Iterable[str], device: torch.device) -> None:
        self._names = {name: number for number, name in enumerate(sorted(names))}
        self._spelled = spellings(self._names)
        self._device, self._known = device, []

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the figures: ``loss_<task>``."""
        return tuple(f"loss_{self._spelled[name]}" for name in self._names) if len(self._names) > 1 else ()

    def names_in(self, dataset: PackDataset) -> tuple[str, ...]:
        """Return those of ``names`` that the rows of ``dataset`` give a figure for."""
        rows = dataset.rows
        if isinstance(rows, TokenizedRows):
            there = rows.groups() | rows.datasets()
        else:
            there = {task_of(row.origin, self._names) for row in rows}
        return tuple(f"loss_{self._spelled[name]}" for name in self._names if name in there and len(self._names) > 1)

    def add(self, rows: RowLosses) -> None:
        """Note the losses of a pack. Waits for no device."""
        if len(self._names) > 1:
            self._known.append((rows.losses.detach(), rows.counts.detach(), rows.origins))

    def take(self, reduce: Callable[[torch.Tensor], torch.Tensor]) -> dict[str, float]:
        """Return the loss of each task over all processes, whose sums ``reduce`` gives, and begin anew."""
        if len(self._names) < 2:
            return {}
        tasks = [self._number(origin) for _, _, origins in self._known for origin in origins]
        exact = torch.float32 if self._device.type == "mps" else torch.float64
        sums = torch.zeros(len(self._names) + 1, 2, dtype=exact, device=self._device)
        if tasks:
            losses = torch.cat([losses for losses, _, _ in self._known]).to(exact)
            counts = torch.cat([counts for _, counts, _ in self._known]).to(exact)
            where = torch.tensor(tasks, device=self._device)
            sums.index_add_(0, where, torch.stack([losses * counts, counts], dim=1))
        self._known.clear()
        found = reduce(sums[:-1]).tolist()
        return {name: total / count for name, (total, count) in zip(self.names, found, strict=True) if count}

    def _number(self, origin) -> int:
        """Return the number of a row's task; filling has the last one, which is nobody's."""
        if origin is None:
            return len(self._names)
        return self._names.get(task_of(origin, self._names), len(self._names))


def task_names(*datasets: PackDataset | None) -> list[str]:
    """Return the tasks of all rows, or their datasets where the rows say more than ``MOST_TASKS`` of them."""
    names: set[str] = set()
    plain: set[str] = set()
    for dataset in datasets:
        rows = [] if dataset is None else dataset.rows
        if isinstance(rows, TokenizedRows):
            names |= rows.groups()
            plain |= rows.datasets()
        else:
            origins = [row.origin for row in rows]
            names |= {origin.group for origin in origins}
            plain |= {origin.dataset for origin in origins}
    return sorted(names if len(names) <= MOST_TASKS else plain)


def task_of(origin: Origin, names: Container[str]) -> str:
    """Return the task that a row is counted under: its own where that is among ``names``, else its dataset."""
    return origin.group if origin.group in names else origin.dataset


def spelled(name: str) -> str:
    """Return a task as part of a figure's name: letters, digits, ``_``, ``-`` and ``.``, which all trackers take."""
    return re.sub(r"[^\w.-]+", "_", name)


def spellings(names: Iterable[str]) -> dict[str, str]:
    """Return how each task is ``spelled``; of those that would be spelled alike, the later ones get a number."""
    found: dict[str, str] = {}
    for name in sorted(names):
        plain = spelled(name)
        taken, number, word = set(found.values()), 1, plain
        while word in taken:
            number += 1
            word = f"{plain}.{number}"
        found[name] = word
    return found
