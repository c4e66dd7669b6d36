"""Scores row by row, and what follows from them: intervals over scenes, breakdowns, paired differences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from gpt4scene.benchmarks.rows import PredictionRow
from gpt4scene.types import DataError, ScoreReport

RESAMPLES = 2000
"""Bootstrap samples behind an interval."""


@dataclass(frozen=True)
class RowScores:
    """Values of every row (or Scan2Cap object) for the metrics that are means over rows.

    ``keys`` tell rows apart across runs, ``scenes`` are their rooms, ``groups`` name the group of each row under the
    name of a breakdown, ``values`` hold float64[B] per metric, NaN where a row does not count for it.
    """

    keys: tuple[object, ...]
    scenes: tuple[str, ...]
    groups: Mapping[str, tuple[str, ...]]
    values: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Report(ScoreReport):
    """A ``ScoreReport`` that also knows its rows."""

    rows: RowScores = field(default_factory=lambda: RowScores((), (), {}, {}))


def row_keys(rows: Sequence[PredictionRow]) -> tuple[object, ...]:
    """Return the identity of each row: its question index, or what it says about the question and how often before."""
    seen: Counter[tuple] = Counter()
    keys: list[object] = []
    for row in rows:
        said = (row.scene_id, row.qid, row.gt_id, row.pred_id, row.prompt)
        keys.append(row.index if row.index is not None else (*said, seen[said]))
        seen[said] += 1
    return tuple(keys)


def intervals(rows: RowScores, seed: int = 0, resamples: int = RESAMPLES) -> dict[str, tuple[float, float]]:
    """Return the 95 % interval of every metric in ``rows``: percentiles over scenes drawn with replacement.

    Questions about one room are not independent, so whole scenes are drawn. The same seed gives the same numbers.
    """
    names, draws_RS = _draws(rows.scenes, seed, resamples)
    return {
        metric: _percentiles(_means(value_B, rows.scenes, names, draws_RS)) for metric, value_B in rows.values.items()
    }


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
    return found


@dataclass(frozen=True)
class Difference:
    """Mean of the second minus mean of the first over the rows that both have, and its 95 % interval."""

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
    scenes = tuple(first.scenes[number] for number in ours)
    names, draws_RS = _draws(scenes, seed, resamples)
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
            interval=_percentiles(_means(gain_B, scenes, names, draws_RS)),
            rows=int(counted_B.sum()),
        )
    return {metric: found[metric] for metric in first.values if metric in found}


def _draws(scenes: Sequence[str], seed: int, resamples: int) -> tuple[list[str], np.ndarray]:
    """Return the scenes in order and how often each occurs in every resample, int[R, S]."""
    names = sorted(set(scenes))
    generator = np.random.default_rng(seed)
    return names, generator.multinomial(len(names), np.full(len(names), 1 / len(names)), size=resamples)


def _means(value_B: np.ndarray, scenes: Sequence[str], names: Sequence[str], draws_RS: np.ndarray) -> np.ndarray:
    place = {name: number for number, name in enumerate(names)}
    scene_B = np.array([place[scene] for scene in scenes])
    counted_B = ~np.isnan(value_B)
    sum_S = np.bincount(scene_B, weights=np.where(counted_B, value_B, 0.0), minlength=len(names))
    count_S = np.bincount(scene_B, weights=counted_B, minlength=len(names))
    sum_R, count_R = draws_RS @ sum_S, draws_RS @ count_S
    return sum_R[count_R > 0] / count_R[count_R > 0]


def _percentiles(mean_R: np.ndarray) -> tuple[float, float]:
    if not len(mean_R):
        return float("nan"), float("nan")
    low, high = np.percentile(mean_R, [2.5, 97.5])
    return float(low), float(high)
