"""What a report says about each answer by itself: what was read in it, and every value that it has in the figures."""

from __future__ import annotations

import math
from typing import Any

from gpt4scene.benchmarks.annotation import Annotation
from gpt4scene.benchmarks.benchmark import Benchmark
from gpt4scene.files.answers import AnswerRow
from gpt4scene.metrics.answer_boxes import AnswerBoxes
from gpt4scene.metrics.scores import Report


def boxes_said(row: AnswerRow, annotation: Annotation | None) -> str | None:
    """Return the boxes that an answer brings itself as a text; ``None`` where answers bring none."""
    boxes = None if annotation is None else annotation.marked
    return boxes.said(row.origin) if isinstance(boxes, AnswerBoxes) else None


def row_details(report: Report, benchmark: Benchmark) -> list[dict[str, Any]]:
    """Return an entry for every answer of ``report``, in the order of the questions.

    It names the question (``index``, ``qid``, ``scene_id``), repeats the answer (``pred``), and holds ``parsed``, what
    the rules took out of it, where they say so. ``values`` are the row's values of the metrics that are means over
    rows; a metric that the row does not count for is left out.
    """
    place = {key: number for number, key in enumerate(report.rows.keys)}
    entries = []
    for number, (row, key) in enumerate(zip(report.answers, benchmark.score_keys(report.answers), strict=True)):
        at = place.get(key)
        values = {} if at is None else {name: float(value_B[at]) for name, value_B in report.rows.values.items()}
        boxes = boxes_said(row, report.annotation)
        pred = row.pred if boxes is None else boxes
        entry = {"index": row.index, "qid": row.qid, "scene_id": row.scene_id, "pred": pred}
        if report.parsed:
            parsed = report.parsed[number]
            odd = isinstance(parsed, float) and not math.isfinite(parsed)
            entry["parsed"] = str(parsed) if odd else parsed  # null would say that nothing was read
        entry["values"] = {name: value for name, value in values.items() if not math.isnan(value)}
        entries.append(entry)
    return entries
