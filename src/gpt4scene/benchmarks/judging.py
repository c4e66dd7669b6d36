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
class Pointed:
    """The boxes that an answer is about: the proposals it is taken to name, and the objects that were meant."""

    named: tuple[int, ...]
    meant: tuple[int, ...]


@dataclass(frozen=True)
class Judged:
    """One answer with its verdict, the reason for it in a few words, and the references as a reader wants them.

    ``parsed`` is what the rules took out of the answer, and ``compared`` what they compared it with; either is ``None``
    where that is the text itself. ``details`` are further lines about the reason. ``pointed`` are the boxes to draw.
    """

    row: AnswerRow
    verdict: Verdict
    reason: str
    references: tuple[str, ...]
    parsed: str | None = None
    compared: tuple[str, ...] | None = None
    details: tuple[str, ...] = ()
    pointed: Pointed | None = None


Judge = Callable[[AnswerRow, Mapping[str, float], Annotation], Judged]
"""Judges an answer by itself, by the values that it has in the figures, and by the annotation folder."""


def judge_by(metric: str) -> Judge:
    """Return the judge that takes 1 in ``metric`` as right, more than 0 as partly right, and no value as no verdict."""

    def judge(row: AnswerRow, figures: Mapping[str, float], annotation: Annotation) -> Judged:
        value = figures.get(metric, math.nan)
        verdict: Verdict = "" if math.isnan(value) else "right" if value >= 1 else "partly" if value > 0 else "wrong"
        return Judged(row, verdict, "" if row.pred.strip() else "empty answer", tuple(row.texts))

    return judge


def short_answer_judge(change: Callable[[str], str], change_reference: Callable[[str], str]) -> Judge:
    """Return the judge by exact match of changed texts: ``EM1`` is right, ``EM1_refined`` alone is partly right.

    A row that the figures leave out, for want of a reference, has no verdict. Not all rules have ``EM1_refined``.
    """

    def judge(row: AnswerRow, figures: Mapping[str, float], annotation: Annotation) -> Judged:
        if math.isnan(figures["EM1"]):
            return Judged(row, "", "no reference to compare with", ())
        parsed, compared = change(row.pred), tuple(map(change_reference, row.texts))
        verdict, reason = _by_match(figures, parsed, compared)
        same = compared == tuple(row.texts)
        return Judged(row, verdict, reason, tuple(row.texts), parsed, None if same else compared)

    return judge


def _by_match(figures: Mapping[str, float], parsed: str, compared: tuple[str, ...]) -> tuple[Verdict, str]:
    if figures["EM1"]:
        return "right", "equal to a reference"
    if figures.get("EM1_refined"):
        return "partly", "one contains the other"
    if not parsed.strip():
        return "wrong", "empty answer"
    return "wrong", "equal to no reference" if len(compared) > 1 else "not equal to the reference"
