"""Figures of benchmarks that count right answers: the share of each category, and of all rows alike."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from gpt4scene.benchmarks.spatial import OVERALL, Figures, Official, Reading, column, mean, values_by
from gpt4scene.metrics.option_letters import option_letter

KindOf = Callable[[Official], str]
"""Official row -> its category."""

Means = Mapping[str, float]
"""Category -> mean score of its rows."""


def score_name(category: str) -> str:
    """Return the category as the name of one of our scores: lower case, words joined by ``_``."""
    return re.sub(r"[^0-9a-z]+", "_", category.lower()).strip("_")


def share_by_category(
    rows: Sequence[Official],
    readings: Sequence[Reading],
    kind: KindOf,
    public: Callable[[Means, float], Mapping[str, float | str]],
    notes: tuple[str, ...] = (),
) -> Figures:
    """Return the mean of every category and of all rows; rows without a score count nowhere.

    ``public`` makes the public figures of the categories' means and the mean of all rows.
    """
    values = values_by([kind(row) for row in rows], readings)
    means = {category: mean(value_B) for category, value_B in values.items()}
    all_B = np.array([np.nan if one.score is None else one.score for one in readings], dtype=np.float64)
    overall = mean(all_B)
    return Figures(
        scores={OVERALL: overall} | {score_name(category): value for category, value in means.items()},
        public=public(means, overall),
        values={OVERALL: all_B} | {score_name(category): value_B for category, value_B in values.items()},
        notes=notes,
    )


def read_option(answer: str, truth: str) -> Reading:
    """Return the letter that VLMEvalKit reads in ``answer``, right where it is the one it reads in ``truth``.

    Nothing in both counts as right, as there.
    """
    letter = option_letter(answer)
    return Reading(letter, float(letter == option_letter(truth)))


def option_reader(kind: KindOf) -> Callable[[Official, str], Reading]:
    """Return VLMEvalKit's reader of rows that have their true option under ``answer``, and a category."""

    def read(row: Official, answer: str) -> Reading:
        kind(row)  # a row without one is refused here, where its place is known
        return read_option(answer, column(row, "answer"))

    return read


def percent_by_category(kind: KindOf) -> Callable[[Sequence[Official], Sequence[Reading]], Figures]:
    """Return VLMEvalKit's figures: ``overall`` and ``<category>_accuracy`` of the categories there are, in percent."""

    def public(means: Means, overall: float) -> dict[str, float]:
        return {"overall": 100 * overall} | {f"{name}_accuracy": 100 * value for name, value in means.items()}

    def figures(rows: Sequence[Official], readings: Sequence[Reading]) -> Figures:
        return share_by_category(rows, readings, kind, public)

    return figures
