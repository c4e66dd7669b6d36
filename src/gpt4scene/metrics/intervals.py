"""95 % intervals over scenes, and paired differences of two runs, from their scores row by row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from gpt4scene.errors import DataError
from gpt4scene.metrics.scores import Pooled, RowScores

RESAMPLES = 2000
"""Bootstrap samples behind an interval."""


def intervals(rows: RowScores, seed: int = 0) -> dict[str, tuple[float, float]]:
    """Return the 95 % interval of every metric in ``rows``: percentiles over scenes drawn with replacement.

    Questions about one scene are not independent, so whole scenes are drawn. The same seed gives the same numbers.
    One scene alone says nothing about the spread: NaN, for a metric too whose rows are all of one scene.
    """
    draws = _Draws(rows.scenes, seed)
    found = {metric: draws.of_means(value_B) for metric, value_B in rows.values.items()}
    return found | {metric: draws.interval(draws.pooled(one)) for metric, one in rows.pooled.items()}


@dataclass(frozen=True)
class Difference:
    """The second's score minus the first's over the rows that both have, and its 95 % interval (NaN: none)."""

    first: float
    second: float
    difference: float
    interval: tuple[float, float]
    rows: int


def differences(first: RowScores, second: RowScores) -> dict[str, Difference]:
    """Return the paired difference of every metric that both have, over the rows that both have.

    Raises ``DataError`` when the two share no row.
    """
    place = {key: number for number, key in enumerate(second.keys)}
    pairs = [(number, place[key]) for number, key in enumerate(first.keys) if key in place]
    if not pairs:
        raise DataError("the two runs answer no question in common; were they made from the same question file?")
    ours, theirs = np.array(pairs).T
    draws = _Draws([first.scenes[number] for number in ours])
    found = {}
    for metric in first.values.keys() & second.values.keys():
        one_B, two_B = first.values[metric][ours], second.values[metric][theirs]
        gain_B = two_B - one_B
        if np.isnan(gain_B).all():
            continue
        counted_B = ~np.isnan(gain_B)
        found[metric] = Difference(
            first=float(one_B[counted_B].mean()),
            second=float(two_B[counted_B].mean()),
            difference=float(gain_B[counted_B].mean()),
            interval=draws.of_means(gain_B),
            rows=int(counted_B.sum()),
        )
    for metric in first.pooled.keys() & second.pooled.keys():
        one = replace(first.pooled[metric], statistics_BS=first.pooled[metric].statistics_BS[ours])
        two = replace(second.pooled[metric], statistics_BS=second.pooled[metric].statistics_BS[theirs])
        interval = draws.interval(draws.pooled(two) - draws.pooled(one))
        found[metric] = Difference(one.total(), two.total(), two.total() - one.total(), interval, len(ours))
    return {metric: found[metric] for metric in (*first.values, *first.pooled) if metric in found}


class _Draws:
    """Scenes drawn with replacement, the same for every metric of the same rows."""

    def __init__(self, scenes: Sequence[str], seed: int = 0) -> None:
        names, self._scene_B = np.unique(np.array(scenes, dtype=str), return_inverse=True)
        self._count = len(names)
        generator = np.random.default_rng(seed)
        self._draws_RS = generator.multinomial(self._count, np.full(self._count, 1 / self._count), size=RESAMPLES)

    def means(self, value_B: np.ndarray) -> np.ndarray:
        """Return the mean of every resample in which a row counts."""
        counted_B = ~np.isnan(value_B)
        sum_R = self._draws_RS @ self._by_scene(np.where(counted_B, value_B, 0.0))
        count_R = self._draws_RS @ self._by_scene(counted_B)
        return sum_R[count_R > 0] / count_R[count_R > 0]

    def of_means(self, value_B: np.ndarray) -> tuple[float, float]:
        """Return the interval of the mean of ``value_B``; NaN where the rows that count are all of one scene."""
        if len(set(self._scene_B[~np.isnan(value_B)])) < 2:
            return float("nan"), float("nan")
        return self.interval(self.means(value_B))

    def pooled(self, one: Pooled) -> np.ndarray:
        """Return the score of every resample, float64[R]."""
        sums = [self._draws_RS @ self._by_scene(column_B) for column_B in one.statistics_BS.T]
        return one.score(np.stack(sums, axis=-1))

    def interval(self, score_R: np.ndarray) -> tuple[float, float]:
        """Return the middle 95 % of resampled scores; NaN where there is nothing to draw from."""
        if self._count < 2 or not len(score_R):
            return float("nan"), float("nan")
        low, high = np.percentile(score_R, [2.5, 97.5])
        return float(low), float(high)

    def _by_scene(self, value_B: np.ndarray) -> np.ndarray:
        return np.bincount(self._scene_B, weights=value_B, minlength=self._count)
