"""The scores of a task: its figures, and the values of every row that they come from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Scores = dict[str, float]
"""Metric name -> value, 0 to 1 (CIDEr may pass 1). Names are listed in docs/scores.md."""


@dataclass(frozen=True)
class Pooled:
    """A metric of all rows together, such as BLEU: ``statistics_BS`` of every row, and the ``score`` of their sum.

    ``score`` takes sums float64[..., S] to float64[...].
    """

    statistics_BS: np.ndarray
    score: Callable[[np.ndarray], np.ndarray]

    def total(self) -> float:
        """Return the score of all rows."""
        return float(self.score(self.statistics_BS.sum(axis=0)))


@dataclass(frozen=True)
class RowScores:
    """Values of every scored row, which is an answer or, where captions are scored, an object.

    ``keys`` tell rows apart across runs, ``scenes`` are those asked about, ``groups`` name the group of each row under
    the name of a breakdown. For metrics that are means over rows ``values`` hold float64[B], NaN where a row does not
    count for it; ``pooled`` holds the others.
    """

    keys: tuple[object, ...]
    scenes: tuple[str, ...]
    groups: Mapping[str, tuple[str, ...]]
    values: Mapping[str, np.ndarray]
    pooled: Mapping[str, Pooled] = field(default_factory=dict)


@dataclass(frozen=True)
class Report:
    """Scores of one task and what a reader must know about them.

    ``counts`` are printed under the table: answers, missing questions, unreadable answers and the like. ``notes`` are
    sentences, for example why METEOR is absent; ``warnings`` say why the figures are not what they seem to be.
    ``public`` are the figures under the names and in the units of the public scorer whose rules count, where those
    differ; NaN where it says so, texts, lists and tables where it returns those. ``rules`` names the rules, ``parsed``
    is what they took out of each row's answer. ``answers`` are the rows that were scored. ``signature_parts`` are what
    else two comparable figures must have in common, such as the judge; ``signature`` is the line of all such things,
    where the answers came from files. ``annotation`` holds the boxes and companion files they were scored with.
    """

    task: str
    scores: Scores
    counts: Mapping[str, int]
    notes: tuple[str, ...]
    rows: RowScores
    warnings: tuple[str, ...] = ()
    public: Mapping[str, Any] = field(default_factory=dict)
    rules: str = ""
    parsed: tuple[object, ...] = ()
    answers: tuple[Any, ...] = ()
    signature_parts: Mapping[str, str] = field(default_factory=dict)
    signature: str = ""
    annotation: Any = None

    @property
    def unreadable(self) -> int:
        """The answers that could not be read: empty, or without the identifier that was asked for."""
        return self.counts.get("unreadable answers", self.counts.get("empty answers", 0))

    @property
    def summary(self) -> str:
        """How much the figures stand on: ``1,200 of 2,400 questions answered, 3 answers unreadable``."""
        answers, questions = self.counts["answers"], self.counts.get("questions")
        said = f"{answers:,} answers" if questions is None else f"{answers:,} of {questions:,} questions answered"
        without = self.counts.get("questions without a reference", 0)
        said += f", {without:,} without a reference left out" if without else ""
        return f"{said}, {self.unreadable:,} answers unreadable" if self.unreadable else said

    @property
    def complete(self) -> bool | None:
        """Whether every question has its answer, and its mark where a judge marks; ``None`` where nobody knows."""
        if "missing questions" not in self.counts:
            return None
        return not self.counts["missing questions"] and not self.unmarked

    @property
    def unmarked(self) -> int:
        """The answers that need the mark of a judge and have none."""
        return self.counts.get("answers without a mark", 0)


def breakdown(rows: RowScores, by: str) -> dict[str, dict[str, float]]:
    """Return ``group -> {"rows": count, metric: mean}`` for one of the breakdowns of ``rows`` or for ``scene``.

    Metrics that no row of a group counts for are left out. Raises ``ValueError`` for an unknown breakdown.
    """
    if by not in ("scene", *rows.groups):
        raise ValueError(
            f"there is no breakdown by '{by}' (known: scene{''.join(', ' + name for name in rows.groups)})"
        )
    groups = np.array(rows.scenes if by == "scene" else rows.groups[by], dtype=object)
    found = {}
    for group in sorted(set(groups)):
        members_B = groups == group
        found[group] = {"rows": int(members_B.sum())}
        for metric, value_B in rows.values.items():
            values = value_B[members_B]
            if not np.isnan(values).all():
                found[group][metric] = float(np.nanmean(values))
        for metric, one in rows.pooled.items():
            found[group][metric] = float(one.score(one.statistics_BS[members_B].sum(axis=0)))
    return found
