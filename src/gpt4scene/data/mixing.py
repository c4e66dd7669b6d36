"""Several datasets become one list of rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

Row = TypeVar("Row")

STRATEGIES = ("concat", "interleave_under", "interleave_over")


def probability_problems(strategy: str, probabilities: Sequence[float] | None, datasets: int) -> list[str]:
    """Return a sentence for each reason why ``interleave_probs`` can't steer the mix of so many datasets."""
    if probabilities is None:
        return []
    found = []
    if strategy == "concat":
        found.append("interleave_probs needs mix_strategy: interleave_under or interleave_over")
    if len(probabilities) != datasets:
        found.append(f"interleave_probs has {len(probabilities)} numbers for {datasets} datasets")
    if any(chance <= 0 for chance in probabilities) or abs(sum(probabilities) - 1) > 1e-6:
        found.append("interleave_probs must be above 0 and add up to 1")
    return found


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
    problems = probability_problems(strategy, probabilities, len(loaded))
    if problems:
        raise ValueError("; ".join(problems))
    if strategy == "concat":
        return [row for rows in loaded for row in rows]
    chances = None if probabilities is None else np.asarray(probabilities, dtype=np.float64)
    weights = None if chances is None else chances / chances.sum()
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
