"""All answers of a task judged one by one, as reports and the 3D view show them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from gpt4scene.benchmarks.annotation import Annotation
from gpt4scene.benchmarks.benchmark import Benchmark
from gpt4scene.benchmarks.judging import Judged
from gpt4scene.benchmarks.row_details import boxes_said
from gpt4scene.files.answers import AnswerRow
from gpt4scene.metrics.scores import Report


def judge_all(benchmark: Benchmark, rows: Sequence[AnswerRow], report: Report, annotation: Annotation) -> list[Judged]:
    """Return every row judged; ``report`` is the one of the same rows, of which it may have left some out."""
    judge = benchmark.judge_of_answers()
    place = {key: number for number, key in enumerate(report.rows.keys)}
    judged = []
    for row, key in zip(rows, benchmark.score_keys(rows), strict=True):
        at = place.get(key)
        figures = {
            metric: math.nan if at is None else float(value_B[at]) for metric, value_B in report.rows.values.items()
        }
        judged.append(_as_said(judge(row, figures, annotation), annotation))
    return judged


def _as_said(item: Judged, annotation: Annotation) -> Judged:
    """Return ``item`` with the boxes that its answer brings in place of the names that these have in between."""
    boxes = boxes_said(item.row, annotation)
    return item if boxes is None else replace(item, row=replace(item.row, pred=boxes), parsed=None)
