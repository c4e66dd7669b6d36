"""Figures of a task as lines of a table."""

from __future__ import annotations

import math
from dataclasses import dataclass

from gpt4scene.metrics.intervals import intervals
from gpt4scene.metrics.scores import Report


@dataclass(frozen=True)
class Metric:
    """A line of a score table; ``interval`` is empty where there is none."""

    name: str
    value: float
    interval: str
    main: bool


def score_table(found: Report, main: str) -> list[Metric]:
    """Return the metrics of a report with their intervals; that of the name ``main`` is marked."""
    bounds = intervals(found.rows)
    return [Metric(name, value, _range(bounds.get(name)), name == main) for name, value in found.scores.items()]


def _range(bounds: tuple[float, float] | None) -> str:
    return "" if bounds is None or math.isnan(bounds[0]) else f"{100 * bounds[0]:.1f} – {100 * bounds[1]:.1f}"
