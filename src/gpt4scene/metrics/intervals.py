"""Scores row by row, and what follows from them: intervals over scenes, breakdowns, paired differences."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from gpt4scene.errors import DataError
from gpt4scene.types import ScoreReport

RESAMPLES = 2000
"""Bootstrap samples behind an interval."""


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
    """Values of every row (or Scan2Cap object).

    ``keys`` tell rows apart across runs, ``scenes`` are their rooms, ``groups`` name the group of each row under the
    name of a breakdown. For metrics that are means over rows ``values`` hold float64[B], NaN where a row does not count
    for it; ``pooled`` holds the others.
    """

    keys: tuple[object, ...]
    scenes: tuple[str, ...]
    groups: Mapping[str, tuple[str, ...]]
    values: Mapping[str, np.ndarray]
    pooled: Mapping[str, Pooled] = field(default_factory=dict)


@dataclass(frozen=True)
class Report(ScoreReport):
    """A ``ScoreReport`` that also knows its rows."""

    rows: RowScores = field(default_factory=lambda: RowScores((), (), {}, {}))


def intervals(rows: RowScores, seed: int = 0, resamples: int = RESAMPLES) -> dict[str, tuple[float, float]]:
    """Return the 95 % interval of every metric in ``rows``: percentiles over scenes drawn with replacement.

    Questions about one room are not independent, so whole scenes are drawn. The same seed gives the same numbers.
    """
    draws = _Draws(rows.scenes, seed, resamples)
    found = {metric: _percentiles(draws.means(value_B)) for metric, value_B in rows.values.items()}
    return found | {metric: _percentiles(draws.pooled(one)) for metric, one in rows.pooled.items()}


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


@dataclass(frozen=True)
class Difference:
    """The second's score minus the first's over the rows that both have, and its 95 % interval."""

    first: float
    second: float
    difference: float
    interval: tuple[float, float]
    rows: int


def differences(
    first: RowScores, second: RowScores, seed: int = 0, resamples: int = RESAMPLES
) -> dict[str, Difference]:
    """Return the paired difference of every metric that both have, over the rows that both have.

    Raises ``DataError`` when the two share no row.
    """
    place = {key: number for number, key in enumerate(second.keys)}
    pairs = [(number, place[key]) for number, key in enumerate(first.keys) if key in place]
    if not pairs:
        raise DataError("the two runs answer no question in common; were they made from the same question file?")
    ours, theirs = np.array(pairs).T
    draws = _Draws([first.scenes[number] for number in ours], seed, resamples)
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
            interval=_percentiles(draws.means(gain_B)),
            rows=int(counted_B.sum()),
        )
    for metric in first.pooled.keys() & second.pooled.keys():
        one = replace(first.pooled[metric], statistics_BS=first.pooled[metric].statistics_BS[ours])
        two = replace(second.pooled[metric], statistics_BS=second.pooled[metric].statistics_BS[theirs])
        interval = _percentiles(draws.pooled(two) - draws.pooled(one))
        found[metric] = Difference(one.total(), two.total(), two.total() - one.total(), interval, len(ours))
    return {metric: found[metric] for metric in (*first.values, *first.pooled) if metric in found}


class _Draws:
    """Scenes drawn with replacement, the same for every metric of the same rows."""

    def __init__(self, scenes: Sequence[str], seed: int, resamples: int) -> None:
        names, self._scene_B = np.unique(np.array(scenes, dtype=str), return_inverse=True)
        self._count = len(names)
        generator = np.random.default_rng(seed)
        self._draws_RS = generator.multinomial(self._count, np.full(self._count, 1 / self._count), size=resamples)

    def means(self, value_B: np.ndarray) -> np.ndarray:
        """Return the mean of every resample in which a row counts."""
        counted_B = ~np.isnan(value_B)
        sum_R = self._draws_RS @ self._by_scene(np.where(counted_B, value_B, 0.0))
        count_R = self._draws_RS @ self._by_scene(counted_B)
        return sum_R[count_R > 0] / count_R[count_R > 0]

    def pooled(self, one: Pooled) -> np.ndarray:
        """Return the score of every resample, float64[R]."""
        sums = [self._draws_RS @ self._by_scene(column_B) for column_B in one.statistics_BS.T]
        return one.score(np.stack(sums, axis=-1))

    def _by_scene(self, value_B: np.ndarray) -> np.ndarray:
        return np.bincount(self._scene_B, weights=value_B, minlength=self._count)


def _percentiles(mean_R: np.ndarray) -> tuple[float, float]:
    if not len(mean_R):
        return float("nan"), float("nan")
    low, high = np.percentile(mean_R, [2.5, 97.5])
    return float(low), float(high)
