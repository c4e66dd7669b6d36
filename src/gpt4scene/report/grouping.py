"""Answers counted by what they have in common: where a model fails."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from gpt4scene.benchmarks.judging import Verdict
from gpt4scene.report.answer_rows import AnswerLine

JUDGED: tuple[Verdict, ...] = ("right", "partly", "wrong")


@dataclass(frozen=True)
class Group:
    """Judged answers of one kind: how many got each verdict. ``task`` is empty where all tasks count together."""

    task: str
    name: str
    right: int
    partly: int
    wrong: int

    @property
    def count(self) -> int:
        """All judged answers of the group."""
        return self.right + self.partly + self.wrong

    def share(self, verdict: Verdict) -> float:
        """Return the share of answers that got ``verdict``, 0 to 1."""
        return getattr(self, verdict) / self.count


def by_type(lines: Sequence[AnswerLine]) -> list[Group]:
    """Return the answers of every task by the type of their question, tasks in their order, most answers first."""
    order = {task: number for number, task in enumerate(dict.fromkeys(line.task for line in lines))}
    groups = _grouped(lines, lambda line: [(line.task, line.kind)])
    return sorted(groups, key=lambda group: (order[group.task], -group.count, group.name))


def by_label(lines: Sequence[AnswerLine]) -> list[Group]:
    """Return the answers of all tasks by the labels of the objects that were meant, most wrong ones first."""
    groups = _grouped(lines, lambda line: [("", label) for label in line.labels])
    return sorted(groups, key=lambda group: (-group.wrong, -group.share("wrong"), group.name))


def _grouped(lines: Iterable[AnswerLine], keys: Callable[[AnswerLine], list[tuple[str, str]]]) -> list[Group]:
    counts: Counter[tuple[tuple[str, str], str]] = Counter()
    for line in lines:
        if line.judged.verdict:
            counts.update((key, line.judged.verdict) for key in keys(line))
    found = dict.fromkeys(key for key, _ in counts)
    return [Group(*key, *(counts[key, verdict] for verdict in JUDGED)) for key in found]
