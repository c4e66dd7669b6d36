"""Verdicts on single answers: right, partly right or wrong, and why."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from gpt4scene.benchmarks.annotation import Annotation
from gpt4scene.files.answers import AnswerRow

Verdict = Literal["right", "partly", "wrong", ""]
"""Empty where no rule tells right from wrong, as for most captions."""


@dataclass(frozen=True)
class Judged:
    """One answer with its verdict, the reason for it in a few words, and the references as a reader wants them."""

    row: AnswerRow
    verdict: Verdict
    reason: str
    references: tuple[str, ...]


Judge = Callable[[AnswerRow, Mapping[str, float], Annotation], Judged]
"""Judges an answer by itself, by the values that it has in the figures, and by the annotation folder."""


def judge_by(metric: str) -> Judge:
    """Return the judge that takes 1 in ``metric`` as right, more than 0 as partly right, and no value as no verdict."""

    def judge(row: AnswerRow, figures: Mapping[str, float], annotation: Annotation) -> Judged:
        value = figures.get(metric, math.nan)
        verdict: Verdict = "" if math.isnan(value) else "right" if value >= 1 else "partly" if value > 0 else "wrong"
        return Judged(row, verdict, "" if row.pred.strip() else "empty answer", tuple(row.texts))

    return judge


def judge_short_answer(row: AnswerRow, figures: Mapping[str, float], annotation: Annotation) -> Judged:
    """Return the verdict by exact match: ``EM1`` is right, ``EM1_refined`` alone is partly right.

    A row that the figures leave out, for want of a reference, has no verdict.
    """
    if math.isnan(figures["EM1"]):
        return Judged(row, "", "no reference to compare with", ())
    if figures["EM1"]:
        return Judged(row, "right", "", tuple(row.texts))
    if figures.get("EM1_refined"):  # not all rules have it
        return Judged(row, "partly", "one contains the other", tuple(row.texts))
    return Judged(row, "wrong", "" if row.pred.strip() else "empty answer", tuple(row.texts))
