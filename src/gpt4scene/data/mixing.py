"""Several datasets become one list of rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

Row = TypeVar("Row")

STRATEGIES = ("concat", "interleave_under", "interleave_over")


def resample(rows: list[Row], count: int, random: np.random.Generator) -> list[Row]:
    """Return ``count`` rows drawn at random; none comes twice before all came once."""
    if not rows:
        return []
    whole, rest = divmod(count, len(rows))
    chosen = [random.permutation(len(rows)) for _ in range(whole)]
    chosen.append(random.permutation(len(rows))[:rest])
    return [rows[index] for index in np.concatenate(chosen)]


def mix(
    loaded: Sequence[list[Row]],
    strategy: str,
    probabilities: Sequence[float] | None,
    random: np.random.Generator,
) -> list[Row]:
    """Return the rows of all datasets in one list.

    ``concat`` puts them one behind the other. ``interleave_under`` and ``interleave_over`` take a row of one
    dataset at a time, by turns or with ``probabilities``, until the first (under) or every (over) dataset has run
    out; a dataset that runs out early starts again. Raises ValueError for an unknown strategy or probabilities that
    don't fit.
    """
    if strategy not in STRATEGIES:
        raise ValueError(f"mix_strategy '{strategy}' is none of {', '.join(STRATEGIES)}")
    if strategy == "concat":
        if probabilities is not None:
            raise ValueError("interleave_probs needs mix_strategy interleave_under or interleave_over")
        return [row for rows in loaded for row in rows]
    weights = _weights(probabilities, len(loaded))
    if not all(loaded):
        raise ValueError("an empty dataset can't be interleaved; remove it from dataset")
    mixed: list[Row] = []
    taken = [0] * len(loaded)
    enough = any if strategy == "interleave_under" else all
    while not enough(count >= len(rows) for count, rows in zip(taken, loaded, strict=True)):
        which = len(mixed) % len(loaded) if weights is None else int(random.choice(len(loaded), p=weights))
        mixed.append(loaded[which][taken[which] % len(loaded[which])])
        taken[which] += 1
    return mixed


def _weights(probabilities: Sequence[float] | None, count: int) -> np.ndarray | None:
    if probabilities is None:
        return None
    weights = np.asarray(probabilities, dtype=np.float64)
    if len(weights) != count or (weights <= 0).any():
        raise ValueError(
            f"interleave_probs {list(probabilities)} must be {count} numbers above 0, one for each dataset"
        )
    return weights / weights.sum()
