"""Questions that are answered with a letter or a number: their prompts, their reading, and figures made of types.

What VSI-Bench and its kin share. A question has a type; types of one kind make one figure together, and the overall
figure is the plain mean of the figures.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from gpt4scene.benchmarks.official_rows import as_written
from gpt4scene.benchmarks.spatial import (
    OVERALL,
    Asked,
    Figures,
    Official,
    Reading,
    Variant,
    column,
    mean,
    pooled_means,
    values_by,
)
from gpt4scene.errors import DataError
from gpt4scene.files.raw import Record
from gpt4scene.metrics.relative_accuracy import RelativeAccuracy
from gpt4scene.metrics.short_answers import plain_number

LETTER_ENDING = "Answer with the option's letter from the given choices directly."
TYPE, TRUTH = "question_type", "ground_truth"
NO_NUMBER = "no number"
"""Why an answer scores 0 in which there is no number; ``nan`` is one."""

Parts = Mapping[str, tuple[str, ...]]
"""Figure -> the types whose mean it is; a figure of no types is 0."""

Policy = Literal["there", "split", "without", "zero"]
"""What becomes of a figure of which only some types have rows: the mean of those that are ``there``; they ``split``
into figures of their own; the figure is left out (``without``); or it is ``zero``, beside those that are left over."""


@dataclass(frozen=True)
class Types:
    """The types of a benchmark: ``figures`` of one or several types each, and which types are answered by numbers."""

    title: str
    figures: Parts
    numbers: frozenset[str]

    @property
    def known(self) -> list[str]:
        """All types, in the order of the figures."""
        return [kind for kinds in self.figures.values() for kind in kinds]

    def of(self, official: Official) -> str:
        """Return the type of an official row; ``DataError`` for one that the benchmark does not have."""
        kind = column(official, TYPE)
        if any(kind in kinds for kinds in self.figures.values()):
            return kind
        raise DataError(f"'{TYPE}' is '{kind}', which {self.title} does not have (known: {', '.join(self.known)})")

    def asked(self, record: Record, scene: str, number_ending: str) -> Asked:
        """Return an official row as a question; ``scene`` is the column of its scene."""
        try:
            kind = self.of(record.values)
        except DataError as error:
            raise DataError(f"{record.origin}: {error}") from None
        lines = ["These are frames of a video.", as_written(record, "question")]
        if kind in self.numbers:
            lines += [number_ending]
        else:
            lines += ["Options:", *record.texts("options"), LETTER_ENDING]
        truth = record.values.get(TRUTH)
        truth = truth if isinstance(truth, str) else record.name(TRUTH)
        if truth is None:
            raise DataError(f"{record.origin}: '{TRUTH}' is missing (found keys: {', '.join(record.values)})")
        name = record.name("id")
        qid = int(name) if isinstance(name, float) else name
        return Asked(record.text(scene), "\n".join(lines), str(truth), kind, qid)


@dataclass(frozen=True)
class Reader:
    """How a scorer reads: ``letter`` the option and ``number`` the number, each as its parser returns it.

    ``value`` is the number that the parsed text stands for. The letter of the truth is read by ``true_letter`` and
    compared after ``fold``.
    """

    letter: Callable[[str], str | None]
    number: Callable[[str], str | float | None]
    accuracy: RelativeAccuracy
    true_letter: Callable[[str], str | None] = str
    value: Callable[[str], float | None] = plain_number
    fold: Callable[[str], str] = str.lower

    def read(self, official: Official, answer: str, number: bool) -> Reading:
        """Return the reading of one answer, of a ``number`` or else a letter."""
        truth = column(official, TRUTH)
        return self._number(answer, truth) if number else self._letter(answer, truth)

    def _letter(self, answer: str, truth: str) -> Reading:
        parsed, true = self.letter(answer), self.true_letter(truth)
        said, meant = ("" if one is None else self.fold(one) for one in (parsed, true))
        same = said == meant and (parsed is None) == (true is None)
        letter = same or (len(said) == 1 and said.isalpha())
        return Reading(parsed, float(same), unreadable=not letter, why="" if letter else "no letter")

    def _number(self, answer: str, truth: str) -> Reading:
        parsed, true = self.number(answer), self.value(truth)
        guess = self.value(parsed) if isinstance(parsed, str) else parsed
        if guess is None or true is None:
            why = NO_NUMBER if guess is None else f"the true value '{truth}' is no number"
            return Reading(parsed, 0.0, unreadable=guess is None, why=why)
        why = self.accuracy.explain(guess, true)
        return Reading(parsed, self.accuracy.score(guess, true), unreadable=math.isnan(guess), why=why)


@dataclass(frozen=True)
class Averages:
    """Means of readings: of each type that has rows, of each figure, and of the figures; ``rows`` are by type."""

    types: Mapping[str, float]
    figures: Mapping[str, float]
    overall: float
    rows: Mapping[str, np.ndarray]

    def named(self, name: Callable[[str], str], factor: float = 1.0) -> dict[str, float]:
        """Return the figures under other names, times ``factor``."""
        return {name(figure): factor * value for figure, value in self.figures.items()}


Public = Callable[[Averages], Mapping[str, float | str] | None]
"""Makes the figures of a public scorer; ``None`` where that scorer stops with an error."""


def scorer(
    types: Types,
    name: str,
    says: str,
    reader: Reader,
    public: Public,
    policy: Policy | Callable[[set[str]], Policy] = "there",
    zero_stops: bool = False,
) -> Variant:
    """Return the variant that counts as ``reader`` reads; ``policy`` may depend on the types that have rows.

    ``zero_stops`` says that the public code ends with an error at a true value of 0.
    """

    def read(official: Official, answer: str) -> Reading:
        return reader.read(official, answer, types.of(official) in types.numbers)

    def figures(officials: Sequence[Official], readings: Sequence[Reading]) -> Figures:
        values = values_by([types.of(official) for official in officials], readings)
        there = set(values)
        here: Policy = policy(there) if callable(policy) else policy
        parts = parts_there(types, there, here)
        averages, found = _averaged(types, values, parts)
        if not parts:  # a figure that lacks a type is all there is, and left out
            _, found = _averaged(types, values, parts_there(types, there, "there"))
        zeros = _zero_truths(types, officials, readings) if zero_stops else []
        shown = public(averages)
        notes = [*zeros, *_no_numbers(types, officials), *_missing_types(types, there, here)]
        if shown is None:
            notes.append("the public scorer stops where types are missing and has no figures for these rows")
        return replace(found, public={} if zeros or shown is None else shown, notes=tuple(notes))

    return Variant(name, says, read, figures)


def parts_there(types: Types, there: set[str], policy: Policy) -> Parts:
    """Return the figures that rows of the types ``there`` make, in the order of the benchmark."""
    found: dict[str, tuple[str, ...]] = {}
    for figure, kinds in types.figures.items():
        present = tuple(kind for kind in kinds if kind in there)
        if present == kinds or (present and policy == "there"):
            found[figure] = present
        elif policy == "zero" and len(kinds) > 1:
            first = next(place for place, kind in enumerate(kinds) if kind not in there)
            found |= {kind: (kind,) for kind in kinds[first:] if kind in there} | {figure: ()}
        elif policy == "split":
            found |= {kind: (kind,) for kind in present}
    return found


def _averaged(types: Types, values: Mapping[str, np.ndarray], parts: Parts) -> tuple[Averages, Figures]:
    """Return the averages of ``values`` by type, and the same as figures that intervals can be drawn of."""
    means = {kind: mean(value_B) for kind, value_B in values.items()}
    figures = {name: sum(means[kind] for kind in kinds) / max(len(kinds), 1) for name, kinds in parts.items()}
    overall = sum(figures.values()) / len(figures) if figures else math.nan
    single = {name: values[kinds[0]] for name, kinds in parts.items() if len(kinds) == 1}
    pooled = {
        name: pooled_means({kind: values[kind] for kind in kinds}, lambda sums: _mean_there(list(sums.values())))
        for name, kinds in parts.items()
        if len(kinds) > 1
    }
    pooled[OVERALL] = pooled_means(values, lambda sums: _overall(parts, sums))
    scores = {OVERALL: overall} | {name: figures[name] for name in (*types.figures, *figures) if name in figures}
    return Averages(means, figures, overall, values), Figures(scores, {}, single, pooled)


def _zero_truths(types: Types, officials: Sequence[Official], readings: Sequence[Reading]) -> list[str]:
    """Return the sentence about numbers given for a true value of 0, at which the public scorer stops; else none."""
    count = sum(
        reading.why != NO_NUMBER and types.of(official) in types.numbers and plain_number(column(official, TRUTH)) == 0
        for official, reading in zip(officials, readings, strict=True)
    )
    if not count:
        return []
    return [
        f"the public scorer stops at a true value of 0, which {count:,} answered questions have; here an answer of 0 "
        "scores 1 there and any other 0"
    ]


def _no_numbers(types: Types, officials: Sequence[Official]) -> list[str]:
    """Return the sentence about true values that should be numbers and are none, which every scorer gives 0."""
    odd = [
        truth
        for official in officials
        if types.of(official) in types.numbers
        for truth in [column(official, TRUTH)]
        if not math.isfinite(plain_number(truth) or 0.0) or plain_number(truth) is None
    ]
    if not odd:
        return []
    return [
        f"{len(odd):,} questions have a true value that is no number, such as '{odd[0]}'; every answer scores 0 there"
    ]


def _missing_types(types: Types, there: set[str], policy: Policy) -> list[str]:
    """Return a sentence for every figure of which only some types have rows."""
    rule = {
        "there": "it is the mean of the others",
        "split": "the others count as figures of their own",
        "without": "it is left out",
        "zero": "it counts as 0",
    }[policy]
    notes = []
    for figure, kinds in types.figures.items():
        absent = [kind for kind in kinds if kind not in there]
        if absent and (len(absent) < len(kinds) or (policy == "zero" and len(kinds) > 1)):
            notes.append(f"{figure} has no rows of {', '.join(absent)}; {rule}")
    return notes


def _overall(parts: Parts, means: Mapping[str, np.ndarray]) -> np.ndarray:
    like = next(iter(means.values()))
    return _mean_there(
        [_mean_there([means[kind] for kind in kinds]) if kinds else np.zeros_like(like) for kinds in parts.values()]
    )


def _mean_there(values: Sequence[np.ndarray]) -> np.ndarray:
    """Return the mean over ``values`` float64[...], NaN among them left out; NaN where nothing is left."""
    stacked = np.stack(values)
    there = ~np.isnan(stacked)
    with np.errstate(invalid="ignore"):
        return np.where(there, stacked, 0.0).sum(axis=0) / there.sum(axis=0)
