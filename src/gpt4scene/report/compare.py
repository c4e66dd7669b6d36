"""Two runs side by side: figures with paired differences, and what got better and worse, question by question.

The run of the report is "this" one, that of ``--compare`` the "other" one; a difference is this one minus the other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from gpt4scene.benchmarks import tables
from gpt4scene.benchmarks.benchmark import Benchmark
from gpt4scene.benchmarks.chosen import under_rules
from gpt4scene.benchmarks.registry import BENCHMARKS
from gpt4scene.benchmarks.signature import check_comparable
from gpt4scene.metrics.intervals import Difference
from gpt4scene.metrics.scores import Report
from gpt4scene.report.answer_facts import RunFacts, TaskRun, read_run, run_facts
from gpt4scene.report.answer_rows import AnswerLine, answer_lines
from gpt4scene.report.judging import judge_all

Change = Literal["better", "worse", "reworded", "same"]
RANKS = {"wrong": 0, "partly": 1, "right": 2}
NO_CHANGE = 1e-9
"""Figures that differ by less are the same."""
FEWEST = 2
"""Questions from which a group is listed."""


@dataclass(frozen=True)
class Side:
    """One of two runs: the ``name`` of its place, its reports, its answers as lines, and what its files say of it."""

    name: str
    reports: Mapping[str, Report]
    lines: Sequence[AnswerLine]
    runs: Mapping[str, TaskRun]

    @classmethod
    def of(cls, predictions: Path, reports: Mapping[str, Report], rules: str = "") -> Side:
        """Return the run whose answers lie in ``predictions``; ``reports`` are those of ``score_folder``."""
        benchmarks = under_rules(reports, rules)
        judged = {
            task: judge_all(benchmarks[task], found.answers, found, found.annotation) for task, found in reports.items()
        }
        runs = {task: read_run(predictions, task) for task in reports}
        return cls(predictions.name, reports, answer_lines(judged, reports, benchmarks, runs), runs)

    def of_task(self, task: str) -> list[AnswerLine]:
        """Return the answers of one task, by scene."""
        return [line for line in self.lines if line.task == task]


@dataclass(frozen=True)
class Pair:
    """Both answers to one question."""

    other: AnswerLine
    this: AnswerLine

    @cached_property
    def steps(self) -> int:
        """Steps between the verdicts: 2 from wrong to right; 0 where an answer has no verdict."""
        verdicts = self.other.judged.verdict, self.this.judged.verdict
        return RANKS[verdicts[1]] - RANKS[verdicts[0]] if all(verdicts) else 0

    @cached_property
    def gain(self) -> float:
        """The difference of the figures; 0 where they are of two metrics, or one has none."""
        if self.other.figure is None or self.this.figure is None or self.other.metric != self.this.metric:
            return 0.0
        return self.this.figure - self.other.figure

    @property
    def change(self) -> Change:
        """Whether the answer got better: by its verdict, and by its figure where that is the same."""
        value = self.steps or (self.gain if abs(self.gain) > NO_CHANGE else 0)
        if value:
            return "better" if value > 0 else "worse"
        return "same" if self.other.judged.row.pred.strip() == self.this.judged.row.pred.strip() else "reworded"

    @property
    def size(self) -> tuple[int, float]:
        """How much it changed, to sort by."""
        return abs(self.steps), abs(self.gain)


@dataclass(frozen=True)
class GroupGain:
    """Questions of one kind: their number, how many got better and worse, and both means of their main figure.

    Means are ``None`` where no question has the figure in both runs.
    """

    name: str
    count: int
    better: int
    worse: int
    other: float | None
    this: float | None


@dataclass(frozen=True)
class TaskComparison:
    """One task of both runs: ``differences`` by metric, ``warnings``, both answers by question, and what one run lacks.

    ``by_type`` and ``by_label`` are groups of questions, most changed ones first.
    """

    task: str
    differences: Mapping[str, Difference]
    warnings: tuple[str, ...]
    pairs: Sequence[Pair]
    only_other: Sequence[AnswerLine]
    only_this: Sequence[AnswerLine]

    @cached_property
    def changes(self) -> Counter[Change]:
        """How many questions got better, worse, were answered in other words, and in the same ones."""
        return Counter(pair.change for pair in self.pairs)

    def changed(self, change: Change) -> list[Pair]:
        """Return the questions with this change, the largest first."""
        return sorted((pair for pair in self.pairs if pair.change == change), key=lambda pair: pair.size, reverse=True)

    @cached_property
    def verdicts(self) -> Counter[tuple[str, str]]:
        """How many questions went from one verdict (in the other run) to one (in this)."""
        return Counter((pair.other.judged.verdict, pair.this.judged.verdict) for pair in self.pairs)

    @cached_property
    def words(self) -> list[str]:
        """The verdicts that occur in either run, worst first, then none."""
        return [word for word in (*RANKS, "") if any(word in both for both in self.verdicts)]

    @cached_property
    def by_type(self) -> list[GroupGain]:
        """The questions by their type; none where all have one type."""
        groups = _groups(self.pairs, lambda pair: [pair.this.kind])
        return groups if len(groups) > 1 else []

    @cached_property
    def by_label(self) -> list[GroupGain]:
        """The questions by the labels of the objects that are meant, those with several questions."""
        return [one for one in _groups(self.pairs, lambda pair: pair.this.labels) if one.count >= FEWEST]


@dataclass(frozen=True)
class Comparison:
    """Two runs: what their files say differently, and their tasks. ``notes`` are what is not compared, in sentences.

    ``settings`` are ``name -> (other, this)`` for what differs.
    """

    other: Side
    this: Side
    settings: Mapping[str, tuple[str, str]]
    tasks: Sequence[TaskComparison]
    notes: tuple[str, ...]


def compare_runs(other: Side, this: Side, benchmarks: Mapping[str, Benchmark]) -> Comparison:
    """Return what differs between two runs.

    Raises ``DataError`` where they answer no task or no question in common, as ``gpt4scene score --compare`` does.
    """
    found = tables.compare(other.reports, this.reports)
    compared = [_task(task, metrics, other, this, benchmarks[task]) for task, metrics in found.items()]
    notes = []
    for one, two in ((other, this), (this, other)):
        missing = [task for task in one.reports if task not in two.reports]
        notes += [f"{BENCHMARKS[task].title} is answered in {one.name} only and not compared" for task in missing]
    return Comparison(other, this, _settings(run_facts(other.runs), run_facts(this.runs)), compared, tuple(notes))


def _task(
    task: str, metrics: Mapping[str, Difference], other: Side, this: Side, benchmark: Benchmark
) -> TaskComparison:
    one, two = _by_question(other.of_task(task), benchmark), _by_question(this.of_task(task), benchmark)
    warnings = [*check_comparable(other.reports[task], this.reports[task])]
    for side in (other, this):
        warnings += [f"{side.name}: {warning}" for warning in side.reports[task].warnings]
    return TaskComparison(
        task,
        metrics,
        tuple(warnings),
        [Pair(one[key], line) for key, line in two.items() if key in one],
        [line for key, line in one.items() if key not in two],
        [line for key, line in two.items() if key not in one],
    )


def _by_question(lines: Sequence[AnswerLine], benchmark: Benchmark) -> dict[object, AnswerLine]:
    """Return answers by what tells their questions apart in both runs; the same one again is counted."""
    seen: Counter[object] = Counter()
    found = {}
    for line, key in zip(lines, benchmark.score_keys([line.judged.row for line in lines]), strict=True):
        found[key, seen[key]] = line
        seen[key] += 1
    return found


def _settings(other: RunFacts, this: RunFacts) -> dict[str, tuple[str, str]]:
    """Return what the runs' files say differently, ``not said`` where one says nothing of it."""
    one, two = _facts(other), _facts(this)
    names = dict.fromkeys((*one, *two))
    pairs = {name: (one.get(name, "not said"), two.get(name, "not said")) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _facts(run: RunFacts) -> dict[str, str]:
    own = {f"{name} ({BENCHMARKS[task].title})": value for task, one in run.own.items() for name, value in one.items()}
    model = {"model": run.model} if run.model else {}
    return {**model, "answers written": run.written, **run.shared, **own}


def _groups(pairs: Sequence[Pair], names: Callable[[Pair], Iterable[str]]) -> list[GroupGain]:
    members: dict[str, list[Pair]] = {}
    for pair in pairs:
        for name in filter(None, names(pair)):
            members.setdefault(name, []).append(pair)
    found = []
    for name, group in members.items():
        changes = Counter(pair.change for pair in group)
        both = [(pair.other.figure, pair.this.figure) for pair in group if pair.other.metric == pair.this.metric]
        both = [(one, two) for one, two in both if one is not None and two is not None]
        means = (
            (sum(one for one, _ in both) / len(both), sum(two for _, two in both) / len(both)) if both else (None,) * 2
        )
        found.append(GroupGain(name, len(group), changes["better"], changes["worse"], *means))
    return sorted(found, key=lambda group: (-(group.better + group.worse), group.name))
