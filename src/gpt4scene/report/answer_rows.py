"""All answers of all scenes as lines of one table: what is shown, searched, sorted and counted."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from gpt4scene.benchmarks.benchmark import Benchmark
from gpt4scene.benchmarks.judging import Judged, Pointed
from gpt4scene.data.templates import ALL_MARKS
from gpt4scene.metrics.boxes import SceneBoxes, iou
from gpt4scene.metrics.scores import Report
from gpt4scene.report.answer_facts import TaskRun

LABEL = "label"
"""The breakdown by label, which is a column of its own and no type of question."""


@dataclass(frozen=True)
class AnswerLine:
    """One answer as the table has it. ``place`` counts the task's answers about the scene from 0.

    ``kind`` is the type of its question, ``figure`` its value in ``metric``: the main one, or the first that it counts
    for. ``meant`` and ``named`` are objects as (number, label). ``iou`` is that of the one object named with the one
    meant, ``None`` where there are not one and one. ``words`` is the length of the answer.
    """

    task: str
    scene: str
    place: int
    judged: Judged
    question: str
    kind: str = ""
    metric: str = ""
    figure: float | None = None
    meant: tuple[tuple[int, str], ...] = ()
    named: tuple[tuple[int, str], ...] = ()
    iou: float | None = None
    words: int = 0
    cut_off: bool = False

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of the objects that were meant, each once."""
        return tuple(dict.fromkeys(label for _, label in self.meant if label))


def answer_lines(
    judged: Mapping[str, Sequence[Judged]],
    reports: Mapping[str, Report],
    benchmarks: Mapping[str, Benchmark],
    runs: Mapping[str, TaskRun],
) -> list[AnswerLine]:
    """Return a line for every answer, by scene, then in the order of tasks and answers.

    ``judged`` holds the answers of each report, judged, in their order.
    """
    lines: list[AnswerLine] = []
    for task, items in judged.items():
        lines += _of_task(items, reports[task], benchmarks[task], runs[task].cut_off)
    return sorted(lines, key=lambda line: line.scene)


def _of_task(
    items: Sequence[Judged], report: Report, benchmark: Benchmark, cut_off: frozenset[int]
) -> list[AnswerLine]:
    scored = {key: number for number, key in enumerate(report.rows.keys)}
    kinds = next((groups for name, groups in report.rows.groups.items() if name != LABEL), None)
    ious, seen, lines = _overlaps(items, report, benchmark), Counter[str](), []
    for number, (item, key) in enumerate(zip(items, benchmark.score_keys(report.answers), strict=True)):
        row, at = item.row, scored.get(key)
        pointed = item.pointed or Pointed((), ())
        metric, figure = ("", None) if at is None else _figure(report, at, benchmark.main_metric)
        lines.append(
            AnswerLine(
                report.task,
                row.scene_id,
                seen[row.scene_id],
                item,
                ALL_MARKS.question(row.prompt).strip(),
                _type_of(row.type_info) if kinds is None or at is None else str(kinds[at]),
                metric,
                figure,
                _labelled(pointed.meant, report.annotation.ground_truth, row.scene_id) if pointed.meant else (),
                _labelled(pointed.named, report.annotation.proposals, row.scene_id) if pointed.named else (),
                ious.get(number),
                len(row.pred.split()),
                row.index in cut_off,
            )
        )
        seen[row.scene_id] += 1
    return lines


def _type_of(said: object) -> str:
    """Return the type that a row says by itself; 0 stands for none, as in the public form."""
    return "" if said in (None, "", 0) else str(said)


def _figure(report: Report, at: int, main: str) -> tuple[str, float | None]:
    """Return name and value of the main metric for a scored row, else of the first metric that it counts for."""
    values = report.rows.values
    for metric in (main, *values):
        if metric in values and not math.isnan(values[metric][at]):
            return metric, float(values[metric][at])
    return "", None


def _labelled(numbers: Iterable[int], boxes: SceneBoxes, scene: str) -> tuple[tuple[int, str], ...]:
    return tuple((number, boxes.known_label(scene, number)) for number in numbers)


def _overlaps(items: Sequence[Judged], report: Report, benchmark: Benchmark) -> dict[int, float]:
    """Return the IoU of the one box named with the one meant, by the number of the answer, all compared at once."""
    pairs: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    for number, item in enumerate(items if benchmark.names_objects else ()):
        pointed, row = item.pointed, item.row
        if pointed is None or len(pointed.named) != 1 or len(pointed.meant) != 1:
            continue
        found_N6 = report.annotation.proposals.of(row.scene_id, row.origin)
        truth_N6 = report.annotation.ground_truth.of(row.scene_id, row.origin)
        if pointed.named[0] < len(found_N6) and pointed.meant[0] < len(truth_N6):
            pairs[number] = (found_N6[pointed.named[0]], truth_N6[pointed.meant[0]])
    if not pairs:
        return {}
    found_B6, truth_B6 = (np.stack(boxes) for boxes in zip(*pairs.values(), strict=True))
    overlap_B = iou(found_B6, truth_B6)
    return dict(zip(pairs, overlap_B.tolist(), strict=True))
